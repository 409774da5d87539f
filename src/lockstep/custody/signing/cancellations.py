"""Cancellations: the one signature about which no policy is asked, because it can move nothing. Pure.

A cancellation is a transaction of no value and without data that an account sends to itself, so that a nonce is used up
by it instead of by something else. Whoever may send from the wallet may always ask for one, inside fee ceilings; the
engine may, too, for deadlines and for nonces that nobody uses. Freezing stops it like every other signature.
"""

from __future__ import annotations

from datetime import datetime
from typing import Final

from lockstep.chains.evm import Address, UnsignedTransaction
from lockstep.custody.errors import (
    CallerNotAllowed,
    DecisionMismatch,
    FeeAboveCeiling,
    SessionMethodDenied,
)
from lockstep.custody.signing.rules import authorisation_of, check_caller, check_proof, check_standing, check_wallet
from lockstep.custody.signing.types import Authority, Ruling
from lockstep.custody.types import Principal, TransactionIntent
from lockstep.custody.view import Method
from lockstep.kit.errors import Forbidden, LockstepError, Refuse

CANCELLATION: Final = "cancel_transaction"
"""Method of the decisions that stand for cancellations."""
ENGINE: Final = "engine"
"""Name of the module that cancels by itself."""
MAX_GAS: Final = 2_000_000
"""A self-send takes 21,000; roll-ups count the costs of their base chain in gas, too."""


def check_self_send(intent: TransactionIntent, address: str) -> None:
    """Refuse what could move anything.

    Raises:
        DecisionMismatch: it has value or data, another recipient than the wallet itself, or open fee ceilings.
    """
    if (intent.to, intent.value, intent.data) != (address, 0, b""):
        raise DecisionMismatch("a cancellation sends nothing, without data, to the wallet itself")
    if intent.max_fee_per_gas is None or intent.max_priority_fee_per_gas is None:
        raise DecisionMismatch("a cancellation has ceilings of both fees")


def check_cancellation(transaction: UnsignedTransaction, address: Address) -> None:
    """The same look at the very bytes that are to be signed.

    Raises:
        DecisionMismatch: they could move something. FeeAboveCeiling: they could burn more than a cancellation needs.
    """
    nothing = (transaction.to, transaction.value, transaction.data, transaction.access_list) == (address, 0, b"", ())
    if not nothing or transaction.type not in (0, 2):
        raise DecisionMismatch("a cancellation sends nothing, without data, to the wallet itself")
    if transaction.gas_limit > MAX_GAS:
        raise FeeAboveCeiling(f"expected gas_limit of at most {MAX_GAS}, was {transaction.gas_limit}")


def refuse_cancellation(principal: Principal, authority: Authority, now: datetime) -> LockstepError | None:
    """Why this caller may have no cancellation signed for the wallet; None when it may."""
    if principal.kind != "module":
        return check_standing(principal, authority, now) or _check_session(principal, authority)
    if principal.name != ENGINE:
        return CallerNotAllowed("of the modules only the engine cancels")
    return check_wallet(authority)


def refuse_withdrawal(
    principal: Principal, authority: Authority, decided_for: str | None, now: datetime
) -> Refuse | None:
    """Why this caller may not take a transaction back; None when it may. Asks for no signature, so frozen is no reason.

    Args:
        decided_for: session signer that the transaction was decided for; None: owner or app.
    """
    refusal: Refuse | None = (
        check_caller(principal, authority, now)
        or check_proof(principal, authority)
        or _check_session(principal, authority)
    )
    if refusal is None and principal.kind == "session" and principal.session_id != decided_for:
        return CallerNotAllowed("a session signer takes back only what it sent itself")
    return refusal


def ruling_on_cancellation(principal: Principal, authority: Authority) -> Ruling:
    """The ruling that allows one."""
    authorisation = authorisation_of(principal, authority)
    return Ruling(
        allowed=True,
        reason_code="cancellation",
        reason="It sends nothing to the wallet itself, so that a nonce is used up.",
        authorized_by=() if authorisation is None else authorisation.by,
        revisions=authority.revisions,
    )


def _check_session(principal: Principal, authority: Authority) -> Forbidden | None:
    if principal.kind != "session" or authority.session is None:
        return None
    if Method.SEND_TRANSACTION in authority.session.allowed_methods:
        return None
    return SessionMethodDenied("this session signer may not send transactions, so it may not cancel them")
