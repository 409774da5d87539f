"""broadcast → replaced: the same transaction with higher fees, fixed and entered in the ledger before its signature.

Only the first unmined transaction of an account is replaced: the others wait for it, not for fees.
"""

from __future__ import annotations

from datetime import datetime

from lockstep.chains.evm import FeeMarket, Fees
from lockstep.kit import crash
from lockstep.kit.database import UnitOfWork
from lockstep.transactions.engine.context import Lane, build, change, move
from lockstep.transactions.rules import bump_fees, content_hash
from lockstep.transactions.store import attempts as attempt_rows
from lockstep.transactions.store import nonces
from lockstep.transactions.types import Attempt, Change, State, Transaction

STEP = "transaction.replaced"


async def replace_fees(
    uow: UnitOfWork, lane: Lane, t: Transaction, newest: Attempt, market: FeeMarket, now: datetime
) -> Change | None:
    """Fix a dearer form of a transaction; None when its ceilings leave no room.

    The caller writes the change and marks the crash points after the effect.
    """
    old = Fees(newest.max_fee_per_gas, newest.max_priority_fee_per_gas)
    offer = market.offer(t.speed, is_legacy=t.is_legacy)
    fees = bump_fees(old, offer, lane.fee_ceiling(t), t.max_priority_fee_ceiling, is_legacy=t.is_legacy)
    if fees is None:
        return None
    tx = build(lane, t, nonce=newest.nonce, gas_limit=newest.gas_limit, fees=fees)
    attempt = Attempt(
        transaction_id=t.id,
        attempt=newest.attempt + 1,
        app_id=t.app_id,
        nonce=newest.nonce,
        gas_limit=newest.gas_limit,
        max_fee_per_gas=fees.max_fee_per_gas,
        max_priority_fee_per_gas=fees.max_priority_fee_per_gas,
        digest=tx.digest(),
        created_at=now,
    )
    crash.point(STEP, "before_effect")
    await nonces.enter_digests(
        uow,
        [
            nonces.LedgerEntry(
                chain=t.chain,
                address=t.sender,
                nonce=newest.nonce,
                digest=attempt.digest,
                app_id=t.app_id,
                content=content_hash(t.to, t.value, t.data),
                fees=fees,
            )
        ],
        now,
    )
    await attempt_rows.insert_attempts(uow, [attempt])
    crash.point(STEP, "after_effect")
    after = move(
        t,
        State.REPLACED,
        now,
        now,
        attempt=attempt.attempt,
        max_fee_per_gas=fees.max_fee_per_gas,
        max_priority_fee_per_gas=fees.max_priority_fee_per_gas,
    )
    return change(
        t,
        after,
        attempt=attempt.attempt,
        max_fee_per_gas=str(fees.max_fee_per_gas),
        max_priority_fee_per_gas=str(fees.max_priority_fee_per_gas),
    )
