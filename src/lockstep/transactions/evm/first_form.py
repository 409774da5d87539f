"""The first form of a transaction: the nonce that it gets, the bytes that follow from it, and the rows that say so."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from lockstep.chains.evm import Fees
from lockstep.transactions.engine.moves import move
from lockstep.transactions.evm.build import build
from lockstep.transactions.evm.lane import EvmLane
from lockstep.transactions.evm.nonces import LedgerEntry, Reservation
from lockstep.transactions.evm.rules import content_hash
from lockstep.transactions.types import Attempt, State, Transaction


@dataclass(frozen=True, slots=True, kw_only=True)
class FirstForm:
    """What is written together before the first signature."""

    transaction: Transaction
    """Reserved."""
    reservation: Reservation
    entry: LedgerEntry
    attempt: Attempt


def first_form(
    lane: EvmLane,
    t: Transaction,
    *,
    nonce: int,
    gas_limit: int,
    fees: Fees,
    now: datetime,
    data_fee: int = 0,
    reason: str | None = None,
) -> FirstForm:
    """Fix a queued transaction's first form; writes nothing.

    Raises:
        MalformedTransaction: no node would take it.
    """
    digest = build(lane, t, nonce=nonce, gas_limit=gas_limit, fees=fees).digest()
    return FirstForm(
        transaction=move(
            t,
            State.RESERVED,
            now,
            now,
            reason=reason,
            nonce=nonce,
            attempt=1,
            gas_limit=gas_limit,
            max_fee_per_gas=fees.max_fee_per_gas,
            max_priority_fee_per_gas=fees.max_priority_fee_per_gas,
            data_fee=data_fee,
        ),
        reservation=Reservation(chain=lane.chain, address=t.sender, nonce=nonce, app_id=t.app_id, transaction_id=t.id),
        entry=LedgerEntry(
            chain=lane.chain,
            address=t.sender,
            nonce=nonce,
            digest=digest,
            app_id=t.app_id,
            content=content_hash(t.to, t.value, t.data),
            fees=fees,
        ),
        attempt=Attempt(
            transaction_id=t.id,
            attempt=1,
            app_id=t.app_id,
            nonce=nonce,
            gas_limit=gas_limit,
            max_fee_per_gas=fees.max_fee_per_gas,
            max_priority_fee_per_gas=fees.max_priority_fee_per_gas,
            digest=digest,
            created_at=now,
        ),
    )
