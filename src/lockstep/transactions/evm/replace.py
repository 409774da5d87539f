"""broadcast | signed | replaced → replaced: another form of a transaction, fixed and entered in the ledger before its
signature: the same with higher fees, or the self-send that cancels it.

For fees alone only the first unmined transaction of an account is replaced: the others wait for it, not for fees.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

import structlog
from prometheus_client import Counter

from lockstep.chains.evm import FeeMarket, Fees, RpcFault, Speed
from lockstep.kit import crash
from lockstep.kit.database import UnitOfWork
from lockstep.kit.errors import Refuse, Retry
from lockstep.transactions.engine.moves import change, move
from lockstep.transactions.engine.rules import is_late, live_attempt
from lockstep.transactions.evm import nonces
from lockstep.transactions.evm.build import build, decide_cancellation
from lockstep.transactions.evm.lane import EvmLane
from lockstep.transactions.evm.rules import bump_fees, cancellation_ceiling, content_hash, content_of, with_headroom
from lockstep.transactions.store import attempts as attempt_rows
from lockstep.transactions.types import Attempt, Change, Form, State, Transaction

STEP = "transaction.replaced"
TRANSFER_GAS = 21_000

log = structlog.get_logger(__name__)

_bumps = Counter("lockstep_transaction_bumps", "Dearer forms of transactions that were made", ["chain"])
_cancels = Counter("lockstep_transaction_cancels", "Self-sends that were made to cancel a transaction", ["chain"])


async def cancel(
    uow: UnitOfWork,
    lane: EvmLane,
    t: Transaction,
    attempts: Sequence[Attempt],
    market: FeeMarket,
    now: datetime,
    *,
    reason: str | None = None,
) -> Change | str:
    """Fix the self-send that cancels a signed transaction, or why it cannot be at the moment.

    What callers ask for once it is signed was decided on for them; everything else is decided on here, for the engine itself.

    Args:
        reason: why; None: as it was asked, or its deadline.
    """
    if reason is None:
        asked = t.cancel_requested_at is not None
        reason = "cancelled as it was asked" if asked else "its deadline passed before it was mined; cancelled"
    if t.cancel_decision_id is None:
        try:
            decision_id = await decide_cancellation(uow, lane, t)
        except (Refuse, Retry) as refusal:
            return f"it is to be cancelled, which was refused: {refusal.detail}"
        t = replace(t, cancel_requested_at=t.cancel_requested_at or now, cancel_decision_id=decision_id)
    made = await next_form(uow, lane, t, attempts, market, now, reason=reason)
    return made if made is not None else "it is to be cancelled, and the ceiling of fees leaves no room"


async def next_form(
    uow: UnitOfWork,
    lane: EvmLane,
    t: Transaction,
    attempts: Sequence[Attempt],
    market: FeeMarket,
    now: datetime,
    *,
    reason: str | None = None,
) -> Change | None:
    """Fix the next form of a transaction: dearer, and a self-send from when it is to be cancelled; None when the ceilings
    leave no room.

    The caller writes the change and marks the crash point after the commit.

    Args:
        attempts: all of the transaction, oldest first.
    Raises:
        NodeUnavailable, NodeError: nothing was written.
    """
    newest, live = attempts[-1], live_attempt(t, attempts)
    form = Form.ORIGINAL if t.cancel_requested_at is None else Form.CANCELLATION
    ceiling, tip_ceiling = _ceilings(lane, t, form)
    old = Fees(live.max_fee_per_gas, live.max_priority_fee_per_gas)
    speed = t.speed if form is Form.ORIGINAL else Speed.FAST
    fees = bump_fees(old, market.offer(speed, is_legacy=t.is_legacy), ceiling, tip_ceiling, is_legacy=t.is_legacy)
    if fees is None:
        return None
    attempt = Attempt(
        transaction_id=t.id,
        attempt=newest.attempt + 1,
        form=form,
        app_id=t.app_id,
        nonce=newest.nonce,
        gas_limit=await _gas_limit(lane, t, attempts, form),
        max_fee_per_gas=fees.max_fee_per_gas,
        max_priority_fee_per_gas=fees.max_priority_fee_per_gas,
        digest=b"",
        created_at=now,
    )
    content = content_of(t, form)
    tx = build(lane, content, nonce=attempt.nonce, gas_limit=attempt.gas_limit, fees=fees)
    attempt = replace(attempt, digest=tx.digest())
    crash.point(STEP, "before_effect")
    await nonces.enter_digests(
        uow,
        [
            nonces.LedgerEntry(
                chain=t.chain,
                address=t.sender,
                nonce=attempt.nonce,
                digest=attempt.digest,
                app_id=t.app_id,
                content=content_hash(content.to, content.value, content.data),
                fees=fees,
            )
        ],
        now,
    )
    await attempt_rows.insert_attempts(uow, [attempt])
    crash.point(STEP, "after_effect")
    (_bumps if form is Form.ORIGINAL else _cancels).labels(lane.chain).inc()
    log.info(
        "transaction_replaced", transaction_id=t.id, attempt=attempt.attempt, form=form.value, is_late=is_late(t, now)
    )
    after = move(
        t,
        State.REPLACED,
        now,
        now,
        reason=reason,
        attempt=attempt.attempt,
        max_fee_per_gas=fees.max_fee_per_gas,
        max_priority_fee_per_gas=fees.max_priority_fee_per_gas,
    )
    return change(
        t,
        after,
        attempt=attempt.attempt,
        form=form.value,
        max_fee_per_gas=str(fees.max_fee_per_gas),
        max_priority_fee_per_gas=str(fees.max_priority_fee_per_gas),
    )


def _ceilings(lane: EvmLane, t: Transaction, form: Form) -> tuple[int, int | None]:
    """Ceilings of both fees, wei per gas."""
    if form is Form.CANCELLATION:
        return cancellation_ceiling(lane.client.config.max_fee_per_gas), None
    return lane.fee_ceiling(t), t.max_priority_fee_ceiling


async def _gas_limit(lane: EvmLane, t: Transaction, attempts: Sequence[Attempt], form: Form) -> int:
    """The gas limit of an earlier attempt in this form; for the first cancellation what the node thinks."""
    earlier = next((a.gas_limit for a in reversed(attempts) if a.form is form), None)
    return await transfer_gas(lane, t) if earlier is None else earlier


async def transfer_gas(lane: EvmLane, t: Transaction) -> int:
    """Gas limit of a self-send: 21,000, and more where a roll-up counts the costs of its base chain in gas."""
    call = {"from": t.sender, "to": t.sender, "value": "0x0", "data": "0x"}
    (answer,) = await lane.client.batch([("eth_estimateGas", [call])])
    gas = TRANSFER_GAS if isinstance(answer, RpcFault) else int(answer, 16)
    return TRANSFER_GAS if gas <= TRANSFER_GAS else with_headroom(gas, lane.client.config.transaction_gas_cap)
