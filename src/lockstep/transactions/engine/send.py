"""signed → broadcast: the stored bytes go to a node, in batches and in the order of nonces.

Sending the same bytes twice is harmless, so an unknown outcome is simply sent again.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from lockstep.chains.evm import SendOutcome, SendResult
from lockstep.kit import crash
from lockstep.kit.database import UnitOfWork
from lockstep.transactions.engine.broadcast import broadcast
from lockstep.transactions.engine.context import Lane, change, move, wait, write
from lockstep.transactions.engine.replace import cancel, next_form
from lockstep.transactions.engine.rules import wants_cancellation
from lockstep.transactions.store import attempts as attempt_rows
from lockstep.transactions.store import nonces, rows
from lockstep.transactions.types import Attempt, Change, State, Transaction

STEP = "transaction.broadcast"

_REFUSALS = 3
_FEW = 20

_WAITS: dict[SendOutcome, tuple[str, float | None]] = {
    SendOutcome.NONCE_GAP: ("the node misses an earlier nonce of this account", 0.5),
    SendOutcome.INSUFFICIENT_FUNDS: ("insufficient funds: the node says that the account cannot pay for it", 2.0),
    SendOutcome.UNDERPRICED: ("the node wants a higher fee", None),
    SendOutcome.FEE_TOO_LOW: ("the fee is below the base fee; waits for a lower one", None),
    SendOutcome.UNKNOWN: ("the node did not say what became of it; it is sent again", None),
    SendOutcome.INVALID: ("the node says that it is not valid", None),
}


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
        changes, waits = await _not_to_be_sent(uow, lane, locked, attempts)
        settled = {c.transaction.id for c in changes} | waits.keys()
        due = [t for t in locked if t.id not in settled]
        newest = [attempts[t.id][-1] for t in due]
        head = (await lane.client.heads.newest()).ref
        crash.point(STEP, "before_effect")
        batch = [(t, attempts[t.id]) for t in due]
        results = await broadcast(lane, batch, [_raw(attempt) for attempt in newest], head)
        crash.point(STEP, "after_effect")
        now = lane.clock.now()
        await attempt_rows.record_sends(uow, list(zip(newest, results, strict=True)), head.number, now)
        for t, attempt, result in zip(due, newest, results, strict=True):
            if result.is_in_pool or result.outcome is SendOutcome.NONCE_TOO_LOW or _was_sent_before(t, result):
                # Nonce too low: some form of it was mined, or something else was; its receipts tell.
                after = move(t, State.BROADCAST, now, _next_look(lane, now))
                changes.append(
                    change(
                        t, after, hash=t.hash, attempt=attempt.attempt, outcome=result.outcome.value, head=head.number
                    )
                )
                continue
            refused = await _after_refusals(uow, lane, t, attempts[t.id], result, now)
            if refused is not None:
                changes.append(refused)
            else:
                reason, seconds = _WAITS[result.outcome]
                waits[t.id] = (t, wait(t, reason, now, seconds))
        await write(uow, lane, changes, waits)
    crash.point(STEP, "after_commit")
    if 0 < len(changes) <= _FEW:
        lane.head_seen = None  # a node that mines at once may have done so before this was committed
    return len(changes)


async def _not_to_be_sent(
    uow: UnitOfWork, lane: Lane, locked: list[Transaction], attempts: dict[str, list[Attempt]]
) -> tuple[list[Change], dict[str, tuple[Transaction, Transaction]]]:
    """What is cancelled before it was sent, and what waits because that was refused.

    A node may have the bytes all the same, from a worker that died before it wrote so; then the dearer self-send wins.
    """
    now = lane.clock.now()
    changes: list[Change] = []
    waits: dict[str, tuple[Transaction, Transaction]] = {}
    for t in locked:
        if wants_cancellation(t, attempts[t.id], now):
            made = await cancel(uow, lane, t, attempts[t.id], await lane.client.fee_market(), now)
            if isinstance(made, Change):
                changes.append(made)
            else:
                waits[t.id] = (t, wait(t, made, now))
    return changes, waits


async def _after_refusals(
    uow: UnitOfWork, lane: Lane, t: Transaction, attempts: list[Attempt], result: SendResult, now: datetime
) -> Change | None:
    """What follows when nodes refused the bytes several times: a dearer form, or the end; None: wait."""
    if t.failures < _REFUSALS:
        return None
    if result.outcome in (SendOutcome.UNDERPRICED, SendOutcome.FEE_TOO_LOW):
        return await next_form(uow, lane, t, attempts, await lane.client.fee_market(), now)
    if result.outcome is SendOutcome.INVALID:
        # No pool has the bytes and none will take them; the next transaction gets the nonce, which ends them for good.
        await nonces.release(uow, [t.id])
        after = move(t, State.DROPPED, now, None, reason=f"no node takes it: {result.message or 'invalid'}")
        return change(t, after, nonce=t.nonce, hash=t.hash)
    return None


def _raw(attempt: Attempt) -> bytes:
    if attempt.raw is None:
        raise LookupError("a signed transaction has no bytes")
    return attempt.raw


def _was_sent_before(t: Transaction, result: SendResult) -> bool:
    """A dearer form that nodes do not take leaves the older one in the pool: go on watching that one."""
    return t.attempt > 1 and result.outcome in (SendOutcome.UNDERPRICED, SendOutcome.INVALID)


def _next_look(lane: Lane, now: datetime) -> datetime:
    """New heads make it looked at earlier; this is for what stays unmined."""
    return now + max(lane.block_time, timedelta(seconds=0.25))
