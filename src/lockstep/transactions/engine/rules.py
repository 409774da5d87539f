"""Pure decisions about the end of a transaction and what holds up its account: cancellations, deadlines, gaps. No
database, node or clock.

Source: the replacement rule of common nodes (both fees at least 10 % higher), which holds for cancellations as well.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from lockstep.chains.evm import Address, FeeMarket, Fees
from lockstep.kit.money import ceil_div
from lockstep.transactions.errors import FeeCeilingTooLow, NotCancellable, NotReplaceable
from lockstep.transactions.rules import bound_fees, bump_fees
from lockstep.transactions.types import Attempt, Form, State, Transaction


def cancellation_ceiling(chain_ceiling: int) -> int:
    """Highest fee per gas of a cancellation, wei: an eighth above the chain's ceiling, rounded up.

    No transaction pays more than the chain's ceiling, and its cancellation must pay a tenth more than it: so whatever is
    capped can still be cancelled. It takes little gas.
    """
    return ceil_div(chain_ceiling * 9, 8)


def content_of(transaction: Transaction, form: Form) -> Transaction:
    """The transaction with the content of one of its forms."""
    if form is Form.ORIGINAL:
        return transaction
    return replace(transaction, to=transaction.sender, value=0, data=b"")


def live_attempt(transaction: Transaction, attempts: Sequence[Attempt]) -> Attempt:
    """The newest one that is signed or, in `replaced`, about to be: what the next form must outbid. One that custody
    refused never left here, and makes nothing dearer.

    Args:
        attempts: all of the transaction, oldest first.
    """
    if transaction.state is State.REPLACED:
        return attempts[-1]
    return next((attempt for attempt in reversed(attempts) if attempt.raw is not None), attempts[-1])


def is_late(transaction: Transaction, now: datetime) -> bool:
    """Whether its deadline has passed."""
    return transaction.deadline_at is not None and transaction.deadline_at <= now


def wants_cancellation(transaction: Transaction, attempts: Sequence[Attempt], now: datetime) -> bool:
    """Whether a signed transaction is to be cancelled now and is not yet: it was asked for, or the deadline has passed."""
    is_asked = transaction.cancel_requested_at is not None or (transaction.cancels_late and is_late(transaction, now))
    return is_asked and live_attempt(transaction, attempts).form is Form.ORIGINAL


def unsigned_end(transaction: Transaction, now: datetime) -> tuple[State, str] | None:
    """State and reason that end a transaction which is not signed, or None: taken back, or past its deadline."""
    if transaction.cancel_requested_at is not None:
        return State.CANCELLED, "cancelled before it was signed"
    if is_late(transaction, now):
        return State.EXPIRED, "its deadline passed before it was signed"
    return None


def check_cancellable(transaction: Transaction) -> None:
    """Refuse to cancel what is mined or over. What is cancelled already, or was asked to be, may be asked for again.

    Raises:
        NotCancellable: its state says so.
    """
    state = transaction.state
    is_cancelled = state is State.CANCELLED or (state is State.MINED and transaction.succeeded is None)
    if is_cancelled or not (state is State.MINED or state.is_terminal):
        return
    what = "it is mined" if state is State.MINED else f"it has ended as {state.value}"
    raise NotCancellable(f"expected a transaction that is not mined; {what}", state=state.value)


def wants_speed_up(transaction: Transaction) -> bool:
    """Whether a dearer form was asked for that is not made yet."""
    return transaction.attempt < transaction.wanted_attempt and transaction.cancel_requested_at is None


def check_replaceable(transaction: Transaction) -> None:
    """Refuse to make dearer what is not open, is cancelled, or is just being signed for the first time.

    Raises:
        NotReplaceable: its state says so.
    """
    state = transaction.state
    if transaction.cancel_requested_at is not None:
        raise NotReplaceable("it is being cancelled; its self-send gets dearer by itself", state=state.value)
    if state is State.RESERVED:
        raise NotReplaceable("it is being signed; ask again when it is broadcast", state=state.value)
    if state is State.MINED or state.is_terminal:
        raise NotReplaceable(f"expected a transaction that is not mined, was {state.value}", state=state.value)


def sped_up_fees(transaction: Transaction, newest: Attempt | None, market: FeeMarket, chain_ceiling: int) -> Fees:
    """Fees of the next form, wei per gas, under the transaction's ceilings and the chain's.

    Args:
        newest: None while it has no nonce; then the fees that it could go with now.
    Raises:
        FeeCeilingTooLow: with what nodes want.
    """
    own, tip_ceiling = transaction.max_fee_ceiling, transaction.max_priority_fee_ceiling
    ceiling = chain_ceiling if own is None else min(own, chain_ceiling)
    offer, is_legacy = market.offer(transaction.speed, is_legacy=transaction.is_legacy), transaction.is_legacy
    if newest is None:
        fees = bound_fees(market, offer, ceiling, tip_ceiling, is_legacy=is_legacy)
        if fees is None:
            raise FeeCeilingTooLow(
                f"the next block takes {market.least_fee} wei per gas and a tip; the ceiling is {ceiling}"
            )
        return fees
    old = Fees(newest.max_fee_per_gas, newest.max_priority_fee_per_gas)
    fees = bump_fees(old, offer, ceiling, tip_ceiling, is_legacy=is_legacy)
    if fees is None:
        tip = "" if tip_ceiling is None else f" and a tip ceiling of {tip_ceiling}"
        raise FeeCeilingTooLow(
            f"nodes want a tenth more than {old.max_fee_per_gas} and a tip of {old.max_priority_fee_per_gas} wei per gas,"
            f" under a fee ceiling of {ceiling}{tip}"
        )
    return fees


def open_gaps(
    next_nonce: int, highest: int, holders: Mapping[int, datetime | None], now: datetime, grace: timedelta
) -> list[int]:
    """Nonces below something in flight that nobody is going to send, lowest first.

    Args:
        next_nonce: what the chain takes next.
        highest: nonce of the account's last transaction in flight.
        holders: reserved nonces: when one was signed for a caller who sends it, None for transactions of the engine.
        grace: how long a caller may take to send.
    """
    gaps = []
    for nonce in range(next_nonce, highest):
        claimed_at = holders.get(nonce)
        if nonce not in holders or (claimed_at is not None and now - claimed_at >= grace):
            gaps.append(nonce)
    return gaps


def is_jammed(
    head: int, sent_block: int | None, reserved_at: datetime, now: datetime, blocks: int, block_time: timedelta
) -> bool:
    """Whether an account's first unmined transaction is older than so many blocks, sent or not."""
    if sent_block is not None:
        return head - sent_block >= blocks
    return now - reserved_at >= blocks * block_time


def low_accounts(balances: Mapping[Address, int], threshold: int) -> list[Address]:
    """Accounts with less than the threshold, wei; a threshold of 0 finds none."""
    return [address for address, balance in balances.items() if balance < threshold]


def final_state(succeeded: bool | None) -> State:
    """How a mined transaction ends; None: its cancellation was mined."""
    if succeeded is None:
        return State.CANCELLED
    return State.FINAL if succeeded else State.REVERTED_FINAL
