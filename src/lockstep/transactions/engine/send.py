"""signed → broadcast: the stored bytes go to the network, in batches and in the order of each account.

Sending the same bytes twice is harmless, so an unknown outcome is simply sent again.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from lockstep.kit import crash
from lockstep.kit.database import UnitOfWork
from lockstep.transactions.engine.lane import Lane
from lockstep.transactions.engine.moves import Moves, change, move, wait, write
from lockstep.transactions.engine.rules import wants_cancellation
from lockstep.transactions.store import attempts as attempt_rows
from lockstep.transactions.store import rows
from lockstep.transactions.types import Attempt, Change, State, Transaction

STEP = "transaction.broadcast"

_REFUSALS = 3
_FEW = 20


async def send(lane: Lane) -> int:
    """Send what is signed and due; returns how many transactions moved.

    Raises:
        NodeUnavailable: nothing was written; the same bytes go out again at the next look.
    """
    async with lane.database.system("engine") as uow:
        locked = await rows.lock_sendable(uow, lane.chain, lane.clock.now(), lane.settings.batch)
        if not locked:
            return 0
        attempts = await attempt_rows.list_attempts(uow, [t.id for t in locked])
        moves = await _not_to_be_sent(uow, lane, locked, attempts)
        settled = moves.settled
        due = [t for t in locked if t.id not in settled]
        head = await lane.family.newest_head()
        crash.point(STEP, "before_effect")
        submissions = await lane.family.submit([(t, attempts[t.id]) for t in due], head)
        crash.point(STEP, "after_effect")
        now = lane.clock.now()
        newest = [attempts[t.id][-1] for t in due]
        await attempt_rows.record_sends(uow, list(zip(newest, submissions, strict=True)), head.number, now)
        for t, attempt, submission in zip(due, newest, submissions, strict=True):
            if submission.is_out:
                after = move(t, State.BROADCAST, now, _next_look(lane, now))
                facts = {"attempt": attempt.attempt, "outcome": submission.outcome, "head": head.number}
                moves.changes.append(change(t, after, hash=t.hash, **facts))
                continue
            refused = None
            if t.failures >= _REFUSALS:
                refused = await lane.family.after_refusals(uow, t, attempts[t.id], submission)
            if refused is not None:
                moves.changes.append(refused)
            else:
                moves.wait(t, wait(t, submission.reason, now, submission.pause))
        await write(uow, moves, now)
    crash.point(STEP, "after_commit")
    if 0 < len(moves.changes) <= _FEW:
        lane.head_seen = None  # a node that mines at once may have done so before this was committed
    return len(moves.changes)


async def _not_to_be_sent(
    uow: UnitOfWork, lane: Lane, locked: list[Transaction], attempts: dict[str, list[Attempt]]
) -> Moves:
    """What is cancelled before it was sent, and what waits because that was refused.

    A node may have the bytes all the same, from a worker that died before it wrote so; then the dearer form wins.
    """
    now = lane.clock.now()
    moves = Moves()
    for t in locked:
        if wants_cancellation(t, attempts[t.id], now):
            made = await lane.family.cancel(uow, t, attempts[t.id])
            if isinstance(made, Change):
                moves.changes.append(made)
            else:
                moves.wait(t, wait(t, made, now))
    return moves


def _next_look(lane: Lane, now: datetime) -> datetime:
    """New heads make it looked at earlier; this is for what stays unmined."""
    return now + max(lane.block_time, timedelta(seconds=0.25))
