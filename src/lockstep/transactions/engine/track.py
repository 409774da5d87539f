"""broadcast → mined → final: which form is on the chain, confirmation by block hash, and what to do when none is.

A new head makes everything in flight looked at, in one batch. Success and failure count only when their block is canonical
and deep enough; a block that is gone sends its transactions back to broadcast, with the same bytes.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

import structlog

from lockstep.chains.evm import BlockRef, Hash32
from lockstep.kit import crash
from lockstep.kit.database import UnitOfWork
from lockstep.transactions.engine.family import Inclusion
from lockstep.transactions.engine.finality import check_final, remember_final
from lockstep.transactions.engine.inclusion import mined
from lockstep.transactions.engine.lane import Lane
from lockstep.transactions.engine.moves import Moves, change, move, write
from lockstep.transactions.engine.rules import final_state, wants_cancellation, wants_speed_up
from lockstep.transactions.store import attempts as attempt_rows
from lockstep.transactions.store import rows
from lockstep.transactions.types import REPLACEMENT_STEPS, Attempt, State, Transaction

log = structlog.get_logger(__name__)

STEP = "transaction.mined"
FINAL_STEP = "transaction.final"
(REPLACE_STEP,) = REPLACEMENT_STEPS


async def track(lane: Lane) -> int:
    """Look at what is in flight; returns how many transactions moved.

    Raises:
        NodeUnavailable, NodeError: what was not written is looked at again.
    """
    head = await lane.family.newest_head()
    is_new = head.hash != lane.head_seen
    moved = await _track_unmined(lane, head, everything=is_new)
    if is_new or moved:
        moved += await _track_mined(lane, head)
    if is_new:
        await check_final(lane)
    lane.head_seen = head.hash
    return moved


# --- broadcast → mined ------------------------------------------------------------------------------------------------


async def _track_unmined(lane: Lane, head: BlockRef, *, everything: bool) -> int:
    moved, after = 0, ""
    while True:
        async with lane.database.system("engine") as uow:
            page = await rows.lock_in_flight(
                uow,
                lane.chain,
                due_at=None if everything else lane.clock.now(),
                after=after,
                limit=lane.settings.batch,
            )
            if not page:
                return moved
            attempts = await attempt_rows.list_attempts(uow, [t.id for t in page])
            found = await lane.family.look_up(page, attempts)
            if found:
                crash.point(STEP, "before_effect")
            moves, has_replaced = await _look_at_unmined(uow, lane, page, attempts, found, head)
            if moves.settled:
                await write(uow, moves, lane.clock.now())
            if found:
                crash.point(STEP, "after_effect")
        if found:
            crash.point(STEP, "after_commit")
        if has_replaced:
            crash.point(REPLACE_STEP, "after_commit")
        moved += len(moves.changes)
        after = page[-1].id


async def _look_at_unmined(
    uow: UnitOfWork,
    lane: Lane,
    page: list[Transaction],
    attempts: dict[str, list[Attempt]],
    found: Mapping[str, Inclusion],
    head: BlockRef,
) -> tuple[Moves, bool]:
    """What is decided about a page, and whether one of it got another form."""
    now = lane.clock.now()
    moves = Moves()
    overdue: list[Transaction] = []
    for t in page:
        inclusion = found.get(t.id)
        if inclusion is not None:
            moves.changes.append(mined(t, inclusion, now, lane.block_time))
        elif t.state is State.BROADCAST and _is_overdue(t, attempts[t.id], now):
            overdue.append(t)
    if not overdue:
        return moves, False
    chased = await lane.family.chase(uow, overdue, attempts, head)
    moves.changes += chased.moves.changes
    moves.waits |= chased.moves.waits
    return moves, chased.has_replaced


def _is_overdue(t: Transaction, attempts: list[Attempt], now: datetime) -> bool:
    is_due = t.due_at is not None and t.due_at <= now
    return is_due or wants_speed_up(t) or wants_cancellation(t, attempts, now)


# --- mined → final ----------------------------------------------------------------------------------------------------


async def _track_mined(lane: Lane, head: BlockRef) -> int:
    """Confirm what is deep enough; send back what is on no branch any more."""
    async with lane.database.system("engine") as uow:
        blocks = await rows.list_mined_blocks(uow, lane.chain)
    if not blocks:
        return 0
    canonical = await _canonical(lane, blocks)
    final_number = await lane.family.final_number(head)
    # A node that has no block at this height yet is behind; only another block there says that ours is gone.
    gone = [block_hash for number, block_hash in blocks if canonical.get(number, block_hash) != block_hash]
    deep = [
        (number, block_hash)
        for number, block_hash in blocks
        if canonical.get(number) == block_hash and number <= final_number
    ]
    moved = 0
    if gone:
        moved += await _reinclude(lane, gone)
    if deep and lane.family.has_quorum:
        agreed = await _canonical(lane, deep, agreed=True)
        deep = [(number, block_hash) for number, block_hash in deep if agreed.get(number) == block_hash]
    remember_final(lane, deep)
    while deep:
        count = await _finalise(lane, [block_hash for _, block_hash in deep], head)
        moved += count
        if count < lane.settings.batch:
            break
    return moved


async def _canonical(lane: Lane, blocks: list[tuple[int, Hash32]], *, agreed: bool = False) -> dict[int, Hash32]:
    """Hashes of the canonical blocks by number, where there are any."""
    found = await lane.family.blocks(sorted({number for number, _ in blocks}), agreed=agreed)
    return {block.number: block.hash for block in found if block is not None}


async def _finalise(lane: Lane, blocks: list[Hash32], head: BlockRef) -> int:
    async with lane.database.system("engine") as uow:
        page = await rows.lock_mined(uow, lane.chain, blocks, lane.settings.batch)
        if not page:
            return 0
        crash.point(FINAL_STEP, "before_effect")
        now = lane.clock.now()
        moves = Moves()
        for t in page:
            reason = t.revert_reason if t.succeeded is not None else "its cancellation is final"
            after = move(t, final_state(t.succeeded), now, None, reason=reason)
            moves.changes.append(change(t, after, block=t.block_number, head=head.number))
        await write(uow, moves, now)
        crash.point(FINAL_STEP, "after_effect")
    crash.point(FINAL_STEP, "after_commit")
    return len(page)


async def _reinclude(lane: Lane, blocks: list[Hash32]) -> int:
    """The block of these was dropped: they are in another one, or go back to broadcast with the same bytes."""
    async with lane.database.system("engine") as uow:
        page = await rows.lock_mined(uow, lane.chain, blocks, lane.settings.batch)
        if not page:
            return 0
        attempts = await attempt_rows.list_attempts(uow, [t.id for t in page])
        found = await lane.family.look_up(page, attempts)
        now = lane.clock.now()
        moves = Moves()
        for t in page:
            inclusion = found.get(t.id)
            if inclusion is not None and inclusion.block_hash == t.block_hash:
                continue  # the node has changed its mind again; the next head tells
            if inclusion is not None:
                moves.changes.append(mined(t, inclusion, now, lane.block_time))
                continue
            back = move(
                t,
                State.BROADCAST,
                now,
                now,
                reason="its block was dropped by a reorganisation; the same bytes are sent again",
                block_number=None,
                block_hash=None,
                succeeded=None,
                gas_used=None,
                effective_gas_price=None,
                contract_address=None,
                revert_reason=None,
            )
            moves.changes.append(change(t, back, dropped_block=t.block_number, dropped_hash=t.block_hash))
        log.warning("transactions_reorganised", chain=lane.chain, count=len(moves.changes))
        await write(uow, moves, now)
    return len(moves.changes)
