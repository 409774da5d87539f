"""queued → reserved: what a transaction needs to be signed, fixed in one database transaction before anything is signed.

What cannot go now (fee above its ceiling, balance too low) stays queued with its reason and holds up nobody.
"""

from __future__ import annotations

from lockstep.kit import crash
from lockstep.transactions.engine.lane import Lane
from lockstep.transactions.engine.moves import Moves, change, move, write
from lockstep.transactions.engine.rules import unsigned_end
from lockstep.transactions.store import accounts, rows

STEP = "transaction.reserved"


async def reserve(lane: Lane) -> int:
    """Reserve for what is queued and due; returns how many transactions moved.

    Raises:
        NodeUnavailable, NodeError: nothing was written.
    """
    async with lane.database.system("engine") as uow:
        queued = await rows.list_queued(uow, lane.chain, lane.clock.now(), lane.settings.batch)
    if not queued:
        return 0
    plan = await lane.family.plan(queued)
    async with lane.database.system("engine") as uow:
        locked = await accounts.try_lock(uow, lane.chain, sorted({t.sender for t in queued}))
        ours = await rows.lock_queued(uow, lane.chain, [t.id for t in queued], locked)
        if not ours:
            return 0
        now = lane.clock.now()
        ended = Moves()
        for t in ours:
            end = unsigned_end(t, now)
            if end is not None:
                ended.changes.append(change(t, move(t, end[0], now, None, reason=end[1])))
        over = ended.settled
        crash.point(STEP, "before_effect")
        moves = await plan.reserve(uow, [t for t in ours if t.id not in over])
        moves.changes = ended.changes + moves.changes
        await write(uow, moves, lane.clock.now())
        await lane.signer.release_decisions(uow, moves.unsigned_ends)
        crash.point(STEP, "after_effect")
    crash.point(STEP, "after_commit")
    return len(moves.changes)
