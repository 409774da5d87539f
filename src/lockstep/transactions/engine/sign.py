"""reserved | replaced → signed: many signatures at once, over exactly the bytes that were fixed at the reservation.

What was taken back or is too late before its signature ends here, and gives back what was reserved for it: unless custody has
released the signature, to a worker that died before it wrote so. Then its resources are spoken for, and it is cancelled as
what is signed is.

The digest stands in the ledger before it gets here, so a worker that dies between the signature and the commit leaves a
step that gives the same bytes again. Signs nothing itself.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

import structlog

from lockstep.custody import SignedTransaction
from lockstep.kit import crash
from lockstep.kit.database import UnitOfWork
from lockstep.kit.errors import LockstepError, Retry, Stop
from lockstep.transactions.engine.lane import Lane
from lockstep.transactions.engine.moves import Moves, change, move, wait, write
from lockstep.transactions.engine.rules import unsigned_end, wants_cancellation
from lockstep.transactions.store import attempts as attempt_rows
from lockstep.transactions.store import rows
from lockstep.transactions.types import Attempt, Change, Form, State, Transaction

log = structlog.get_logger(__name__)

STEP = "transaction.signed"
_LATER = 30.0  # house: float-near-money, because these are seconds


async def sign(lane: Lane) -> int:
    """Sign what is due; returns how many transactions moved."""
    async with lane.database.system("engine") as uow:
        locked = await rows.lock_due(
            uow, lane.chain, (State.RESERVED, State.REPLACED), lane.clock.now(), lane.settings.batch
        )
        if not locked:
            return 0
        attempts = await attempt_rows.list_attempts(uow, [t.id for t in locked])
        moves, given_back = await _not_to_be_signed(uow, lane, locked, attempts)
        settled = moves.settled
        due = [t for t in locked if t.id not in settled]
        newest = [attempts[t.id][-1] for t in due]
        crash.point(STEP, "before_effect")
        answers = await _ask(lane, due, newest) if due else []
        crash.point(STEP, "after_effect")
        now = lane.clock.now()
        signed: list[tuple[Attempt, bytes, bytes]] = []
        refused: list[tuple[Transaction, LockstepError]] = []
        for t, attempt, answer in zip(due, newest, answers, strict=True):
            if isinstance(answer, SignedTransaction):
                signed.append((attempt, answer.hash, answer.raw))
                after = move(t, State.SIGNED, now, now, hash=answer.hash)
                facts = {"attempt": attempt.attempt, "digest": attempt.digest}
                moves.changes.append(change(t, after, hash=answer.hash, **facts))
            elif isinstance(answer, Retry):
                moves.wait(t, wait(t, f"not signed for now: {answer.detail}", now))
            elif isinstance(answer, Stop):
                log.error("signing_stopped", transaction_id=t.id, code=answer.code)
                moves.wait(t, wait(t, f"an operator is needed: {answer.detail}", now, _LATER))
            elif t.state is State.RESERVED:
                refused.append((t, answer))
            elif (older := _older_form(attempts[t.id])) is None:
                moves.wait(t, wait(t, f"its cancellation was refused: {answer.detail}", now, _LATER))
            else:
                moves.changes.append(_keep_older_form(lane, t, attempts[t.id], older, answer, now))
                await lane.family.forget(uow, t, attempt)
        given_back += await _refused_at_first(uow, lane, moves, refused, attempts, now)
        await attempt_rows.record_signatures(uow, signed)
        if given_back:
            await lane.family.give_back(uow, given_back)
        await write(uow, moves, now)
        await lane.signer.release_decisions(uow, moves.unsigned_ends)
    crash.point(STEP, "after_commit")
    return len(moves.changes)


async def _not_to_be_signed(
    uow: UnitOfWork, lane: Lane, locked: list[Transaction], attempts: dict[str, list[Attempt]]
) -> tuple[Moves, list[str]]:
    """What ends before its signature or is to be cancelled instead, and ids of those that give back what they had.

    The row is locked until the end of the step, so nobody else is asking for the signature of what ends here.
    """
    now = lane.clock.now()
    moves = Moves()
    given_back: list[str] = []
    ends = {t.id: unsigned_end(t, now) for t in locked if t.state is State.RESERVED}
    released = await _released(uow, lane, [t for t in locked if ends.get(t.id) is not None], attempts)
    for t in locked:
        end = ends.get(t.id)
        if t.id in released:
            continue  # the same bytes once more; what is signed can be cancelled
        if end is not None:
            given_back.append(t.id)
            moves.changes.append(change(t, move(t, end[0], now, None, reason=end[1]), nonce=t.nonce))
        elif t.state is State.REPLACED and wants_cancellation(t, attempts[t.id], now):
            made = await lane.family.cancel(uow, t, attempts[t.id])
            if isinstance(made, Change):
                moves.changes.append(made)
    return moves, given_back


async def _refused_at_first(
    uow: UnitOfWork,
    lane: Lane,
    moves: Moves,
    refused: list[tuple[Transaction, LockstepError]],
    attempts: dict[str, list[Attempt]],
    now: datetime,
) -> list[str]:
    """What custody refuses before anything of it is signed ends, and gives back what it had: ids of these. What it signed
    for a worker that died is cancelled."""
    given_back: list[str] = []
    released = await _released(uow, lane, [t for t, _ in refused], attempts)
    for t, refusal in refused:
        if t.id not in released:
            given_back.append(t.id)
            after = move(t, State.DROPPED, now, None, reason=f"signing was refused: {refusal.detail}")
            moves.changes.append(change(t, after, code=refusal.code, nonce=t.nonce))
            continue
        reason = f"it was signed before and is refused now: {refusal.detail}; cancelled"
        made = await lane.family.cancel(uow, t, attempts[t.id], reason)
        if isinstance(made, Change):
            moves.changes.append(made)
        else:
            moves.wait(t, wait(t, made, now, _LATER))
    return given_back


async def _released(
    uow: UnitOfWork, lane: Lane, reserved: list[Transaction], attempts: dict[str, list[Attempt]]
) -> set[str]:
    """Ids of those whose signature has left custody, though no row here says so."""
    if not reserved:
        return set()
    newest = {t.id: attempts[t.id][-1] for t in reserved}
    known = await lane.signer.list_released(
        uow, [(t.app_id, _decision_of(t, newest[t.id]), newest[t.id].digest) for t in reserved]
    )
    return {t.id for t in reserved if newest[t.id].digest in known}


async def _ask(lane: Lane, due: list[Transaction], attempts: list[Attempt]) -> list[SignedTransaction | LockstepError]:
    """Ask custody for the signatures and check what comes back against what was asked for."""
    wanted = [
        (_decision_of(t, attempt), lane.family.request(t, attempt)) for t, attempt in zip(due, attempts, strict=True)
    ]
    try:
        answers = await lane.signer.sign_transactions(wanted)
    except Retry as error:
        return [error] * len(due)
    except LockstepError as error:
        # Refusals concern one item and come in its place; one for all of them is a fault that must drop nothing.
        return [Stop(f"custody refused the whole batch: {error.detail}")] * len(due)
    checked: list[SignedTransaction | LockstepError] = []
    for t, attempt, answer in zip(due, attempts, answers, strict=True):
        if isinstance(answer, SignedTransaction):
            try:
                answer = lane.family.check_signed(t, attempt, answer)
            except Stop as fault:
                checked.append(fault)
                continue
        checked.append(answer)
    return checked


def _decision_of(t: Transaction, attempt: Attempt) -> str:
    if attempt.form is Form.ORIGINAL:
        return t.decision_id
    if t.cancel_decision_id is None:
        raise Stop(f"the cancellation of {t.id} was not decided on")
    return t.cancel_decision_id


def _older_form(attempts: list[Attempt]) -> Attempt | None:
    """The newest that is signed. None: the first was signed for a worker that died, and is being cancelled."""
    return next((attempt for attempt in reversed(attempts) if attempt.hash is not None), None)


def _keep_older_form(
    lane: Lane, t: Transaction, attempts: list[Attempt], older: Attempt, refusal: LockstepError, now: datetime
) -> Change:
    """A replacement was refused: the older form stays in the pool and is waited for. A cancellation can be asked for again."""
    was_cancelled = attempts[-1].form is Form.CANCELLATION
    after = move(
        replace(t, cancel_requested_at=None, cancel_decision_id=None) if was_cancelled else t,
        State.BROADCAST,
        now,
        now + lane.block_time * lane.settings.replace_after_blocks,
        reason=f"{'its cancellation' if was_cancelled else 'a dearer form'} was refused: {refusal.detail}",
        hash=older.hash,
        max_fee_per_gas=older.max_fee_per_gas,
        max_priority_fee_per_gas=older.max_priority_fee_per_gas,
    )
    return change(t, after, code=refusal.code)
