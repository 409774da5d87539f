"""What is not mined for long: sent again, made dearer, cancelled, or found to be overtaken by something else.

For fees alone only the first unmined transaction of an account gets dearer: the others wait for it, not for fees.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from lockstep.chains.evm import Address, BlockRef, Fees
from lockstep.kit.database import UnitOfWork
from lockstep.transactions.engine.family import Chased
from lockstep.transactions.engine.inclusion import mined
from lockstep.transactions.engine.moves import change, move, wait
from lockstep.transactions.engine.rules import live_attempt, wants_cancellation, wants_speed_up
from lockstep.transactions.evm import nonces
from lockstep.transactions.evm.broadcast import submit
from lockstep.transactions.evm.inclusions import look_up_as_of
from lockstep.transactions.evm.lane import EvmLane
from lockstep.transactions.evm.replace import cancel, next_form
from lockstep.transactions.evm.rules import helps_to_pay_more
from lockstep.transactions.store import attempts as attempt_rows
from lockstep.transactions.types import Attempt, Change, State, Transaction

_SPED_UP = "made dearer as it was asked"


@dataclass(frozen=True, slots=True)
class _Chain:
    """What the chain says about the accounts."""

    head: BlockRef
    next_nonce: Mapping[Address, int]
    final: BlockRef | None
    """The newest final block; None while there is none."""
    final_nonce: Mapping[Address, int]
    """Next nonce there."""
    reserved: Mapping[Address, Collection[int]]
    """Nonces that somebody has, from the next one upwards."""


async def chase(
    uow: UnitOfWork,
    lane: EvmLane,
    overdue: Sequence[Transaction],
    attempts: Mapping[str, list[Attempt]],
    head: BlockRef,
) -> Chased:
    """See `Family.chase`."""
    now = lane.clock.now()
    chain = await _look_at_chain(uow, lane, sorted({t.sender for t in overdue}), head)
    chased = Chased()
    again: list[Transaction] = []
    for t in sorted(overdue, key=lambda one: (one.sender, one.nonce or 0)):
        if await _is_to_be_sent_again(uow, lane, t, attempts[t.id], chain, chased, now):
            again.append(t)
    if again:
        submissions = await submit(lane, [(t, attempts[t.id]) for t in again], head)
        sent = [(_newest_signed(attempts[t.id]), one) for t, one in zip(again, submissions, strict=True)]
        await attempt_rows.record_sends(uow, [(a, one) for a, one in sent if a is not None], head.number, now)
        for t in again:
            if t.id not in chased.moves.waits:
                chased.moves.wait(t, wait(t, "waits for a block", now, _later(lane)))
    return chased


async def _look_at_chain(uow: UnitOfWork, lane: EvmLane, addresses: list[Address], head: BlockRef) -> _Chain:
    next_nonce = dict(zip(addresses, await lane.client.nonces(addresses, head), strict=True))
    number = await lane.client.final_number(head)
    final, final_nonce = None, dict.fromkeys(addresses, 0)
    if number >= 0:
        final = await lane.client.block(number)
        final_nonce = dict(zip(addresses, await lane.client.nonces(addresses, final), strict=True))
    reserved = await nonces.list_reserved(uow, lane.chain, next_nonce)
    return _Chain(head, next_nonce, final, final_nonce, reserved)


async def _is_to_be_sent_again(
    uow: UnitOfWork,
    lane: EvmLane,
    t: Transaction,
    attempts: list[Attempt],
    chain: _Chain,
    chased: Chased,
    now: datetime,
) -> bool:
    """Decide on one transaction; what is decided goes to `chased`."""
    moves, nonce, next_nonce = chased.moves, t.nonce or 0, chain.next_nonce[t.sender]
    newest = _newest_signed(attempts)
    if newest is None:
        return False
    if chain.final is not None and nonce < chain.final_nonce[t.sender]:
        moves.changes.append(await _used(lane, t, attempts, chain.final, now))
        return False
    if nonce < next_nonce:
        moves.wait(t, wait(t, "its nonce is used; waits for a receipt", now, lane.block_seconds))
        return False
    if wants_cancellation(t, attempts, now):
        cancelled = await cancel(uow, lane, t, attempts, await lane.fee_market(chain.head), now)
        if isinstance(cancelled, Change):
            _replaced(chased, cancelled)
        else:
            moves.wait(t, wait(t, cancelled, now, _later(lane)))
        return False
    if wants_speed_up(t):
        dearer = await next_form(uow, lane, t, attempts, await lane.fee_market(chain.head), now, reason=_SPED_UP)
        if dearer is not None:
            _replaced(chased, dearer)
            return False
    if newest.sent_at is not None and now - newest.sent_at < timedelta(seconds=lane.settings.resend_seconds):
        moves.wait(t, replace(t, due_at=now + max(lane.block_time, timedelta(seconds=0.25))))
        return False
    gap = next((n for n in range(next_nonce, nonce) if n not in chain.reserved[t.sender]), None)
    if gap is not None:
        reason = f"the nonce {gap} before it was given back; the account's next transaction or a self-send takes it"
        moves.wait(t, wait(t, reason, now, _later(lane)))
        return True  # so that a node that lost it has it when the gap closes
    first_block = newest.sent_block if newest.sent_block is not None else chain.head.number
    if nonce == next_nonce and chain.head.number - first_block >= lane.settings.replace_after_blocks:
        market, live = await lane.fee_market(chain.head), live_attempt(t, attempts)
        paid = Fees(live.max_fee_per_gas, live.max_priority_fee_per_gas)
        if helps_to_pay_more(paid, market, has_fee_auction=lane.client.config.has_fee_auction):
            replaced = await next_form(uow, lane, t, attempts, market, now)
            if replaced is not None:
                _replaced(chased, replaced)
                return False
            reason = "unmined, and its fee ceiling leaves no room for more"
            moves.wait(t, wait(t, reason, now, _later(lane)))
    return True


def _replaced(chased: Chased, made: Change) -> None:
    chased.moves.changes.append(made)
    chased.has_replaced = True


async def _used(lane: EvmLane, t: Transaction, attempts: list[Attempt], final: BlockRef, now: datetime) -> Change:
    """What has used its nonce for good: one of its own forms, or none. This ends it, so it is asked of a node that has the
    final block: the node that gave no receipts may only have been behind."""
    inclusion = await look_up_as_of(lane, t, attempts, final)
    if inclusion is not None:
        return mined(t, inclusion, now, lane.block_time)
    reason = "another transaction, not made here, has used its nonce"
    after = move(t, State.REPLACED_EXTERNALLY, now, None, reason=reason)
    return change(t, after, nonce=t.nonce, final=final.number)


def _newest_signed(attempts: Sequence[Attempt]) -> Attempt | None:
    return next((attempt for attempt in reversed(attempts) if attempt.raw is not None), None)


def _later(lane: EvmLane) -> float:
    return max(lane.settings.resend_seconds, 2 * lane.block_seconds)
