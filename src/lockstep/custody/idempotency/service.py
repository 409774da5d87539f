"""The life of an idempotency key: claimed before the work, completed in the work's own transaction, replayed after it.

    (none) ─claim─► in_progress ─answer─► done ─► replayed until it expires
                      │    └─passing fault─► retryable ─claim─► in_progress
                      └─the attempt died, locked_until passed─claim─► in_progress

Only terminal answers are kept: 2xx, and refusals that the same request would meet again. Callers are authenticated
before a replay is served; the scope holds the caller, so nobody reads another caller's answer.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from datetime import datetime, timedelta
from typing import Final, TypeVar

from lockstep.custody.errors import IdempotencyInProgress, IdempotencyKeyReused
from lockstep.custody.idempotency import store
from lockstep.custody.idempotency.box import ResponseBox
from lockstep.custody.idempotency.store import StoredKey
from lockstep.custody.idempotency.types import Claim, Outcome, terminal_outcome
from lockstep.kit.clock import Clock
from lockstep.kit.database import Row, UnitOfWork
from lockstep.kit.errors import LockstepError, Refuse
from lockstep.kit.ids import new_id

T = TypeVar("T")
U = TypeVar("U")

KEEP: Final = timedelta(hours=24)
"""How long an answer is replayed; published in the API's documentation."""
LOCK: Final = timedelta(seconds=30)
"""An attempt that has not answered by then has died: longer than every deadline within an attempt together."""


class IdempotencyStore:
    """Claims and completes keys inside the caller's transactions."""

    def __init__(self, box: ResponseBox, clock: Clock) -> None:
        self._box = box
        self._clock = clock

    async def once(
        self,
        transaction: Callable[[], AbstractAsyncContextManager[UnitOfWork]],
        claim: Claim,
        prepare: Callable[[UnitOfWork], Awaitable[T]],
        act: Callable[[T], Awaitable[U]],
        complete: Callable[[UnitOfWork, U], Awaitable[Outcome]],
    ) -> Outcome:
        """Do work that waits for something outside between two database transactions, once per key.

        No connection is held while `act` runs. Until the answer is kept, the key is seen in progress; an attempt that
        dies is taken over once `LOCK` is over, so `act` must end before that and do no harm when it is repeated. A
        terminal refusal is kept as the answer, too.

        Args:
            transaction: opens the unit of work, for example ``lambda: database.tenant(app_id)``.
            prepare: in the first transaction, with the claim: looks whether the work can be done.
            act: outside; takes what `prepare` returned.
            complete: in the second transaction, with the answer; takes what `act` returned.

        Raises:
            IdempotencyKeyReused: the key stands for another request.
            IdempotencyInProgress: an attempt of the same key is under way.
            LockstepError: what the work raises; a refusal that is kept is raised the first time and replayed later.
        """
        try:
            async with transaction() as uow:
                operation_id, replay = await self.begin(uow, claim)
                if replay is not None:
                    return replay
                prepared = await prepare(uow)
        except Refuse as error:
            replay = await self._keep_refusal(transaction, claim, error)
            if replay is not None:
                return replay
            raise
        try:
            done = await act(prepared)
            async with transaction() as uow:
                outcome = await complete(uow, done)
                await self.finish(uow, claim, operation_id, outcome)
                return outcome
        except Exception as error:
            kept = terminal_outcome(error) if isinstance(error, LockstepError) else None
            async with transaction() as uow:
                await self.finish_many(uow, claim.app_id, [(claim, operation_id, kept)])
            raise

    async def _keep_refusal(
        self,
        transaction: Callable[[], AbstractAsyncContextManager[UnitOfWork]],
        claim: Claim,
        error: Refuse,
    ) -> Outcome | None:
        """Keep a refusal that the same request would meet again; the answer of another attempt, if that was faster."""
        outcome = terminal_outcome(error)
        if outcome is None or isinstance(error, IdempotencyKeyReused):
            return None
        async with transaction() as uow:
            operation_id, replay = await self.begin(uow, claim)
            if replay is None:
                await self.finish(uow, claim, operation_id, outcome)
            return replay

    async def begin(self, uow: UnitOfWork, claim: Claim, operation_id: str | None = None) -> tuple[str, Outcome | None]:
        """Claim a key; returns the id of this attempt, and the answer when there is one already.

        Raises:
            IdempotencyKeyReused, IdempotencyInProgress: see `once`.
        """
        attempt = operation_id or new_id()
        (found,) = await self.begin_many(uow, claim.app_id, [claim], [attempt])
        if isinstance(found, LockstepError):
            raise found
        return attempt, found

    async def begin_many(
        self, uow: UnitOfWork, app_id: str, claims: Sequence[Claim], operation_ids: Sequence[str]
    ) -> list[Outcome | LockstepError | None]:
        """Claim many keys of one app: per claim None (go on), the kept answer, or why it may not go on."""
        rows = await uow.fetch(store.INSERT_KEYS, self.insert_params(app_id, claims, operation_ids))
        return await self.sort_out(uow, app_id, claims, operation_ids, rows)

    def insert_params(self, app_id: str, claims: Sequence[Claim], operation_ids: Sequence[str]) -> tuple[object, ...]:
        """Parameters of `store.INSERT_KEYS`, for callers that send it together with other statements."""
        now = self._clock.now()
        return store.insert_params(app_id, claims, operation_ids, now, now + LOCK, now + KEEP)

    async def sort_out(
        self,
        uow: UnitOfWork,
        app_id: str,
        claims: Sequence[Claim],
        operation_ids: Sequence[str],
        inserted: Sequence[Row],
    ) -> list[Outcome | LockstepError | None]:
        """What each claim may do, after the insertion of all of them returned these rows."""
        won = {row["operation_id"] for row in inserted}
        lost = [claim for claim, attempt in zip(claims, operation_ids, strict=True) if attempt not in won]
        if not lost:
            return [None] * len(claims)
        stored = await store.find_keys(uow, app_id, lost)
        answers: list[Outcome | LockstepError | None] = []
        for claim, attempt in zip(claims, operation_ids, strict=True):
            if attempt in won:
                answers.append(None)
                continue
            row = stored.get((claim.scope, claim.key))
            answer = IdempotencyInProgress() if row is None else self._answer(claim, row)
            if answer is None:
                now = self._clock.now()
                await store.take_over(uow, claim, attempt, now, now + LOCK, now + KEEP)
                stored.pop((claim.scope, claim.key))  # a second claim of this key must wait for this one
            answers.append(answer)
        return answers

    def _answer(self, claim: Claim, row: StoredKey) -> Outcome | LockstepError | None:
        """None: the row may be taken over.

        A signature that a dead attempt may have left behind was never released, and signing the same bytes again gives
        the same signature; a transaction is queued in the transaction that completes its key. So to begin again is
        safe, and policy decides anew.
        """
        now = self._clock.now()
        if now >= row.expires_at:
            return None
        if row.fingerprint != claim.fingerprint:
            return IdempotencyKeyReused()
        if row.state == "done" and row.status_code is not None and row.response is not None:
            return Outcome(row.status_code, self._box.open(claim, row.response), replayed=True)
        if row.state == "in_progress" and now < row.locked_until:
            return IdempotencyInProgress()
        return None

    async def finish(self, uow: UnitOfWork, claim: Claim, operation_id: str, outcome: Outcome) -> None:
        """Keep the answer in the transaction of the work.

        Raises:
            IdempotencyInProgress: another attempt has taken the key over; nothing of this one may commit.
        """
        if not await self.finish_many(uow, claim.app_id, [(claim, operation_id, outcome)]):
            raise IdempotencyInProgress

    async def finish_many(
        self, uow: UnitOfWork, app_id: str, finished: Sequence[tuple[Claim, str, Outcome | None]]
    ) -> set[str]:
        """Keep many answers of one app; None frees the key for the next attempt.

        Returns the ids of the attempts that still held their key; the others were taken over and kept nothing.
        """
        if not finished:
            return set()
        return await store.finish_keys(
            uow,
            app_id,
            [
                (claim, attempt, outcome.status, self._box.seal(claim, outcome.body))
                if outcome is not None
                else (claim, attempt, None, None)
                for claim, attempt, outcome in finished
            ],
        )

    async def find(self, uow: UnitOfWork, claim: Claim) -> Outcome | None:
        """The kept answer of a key, if there is one; claims nothing.

        Raises:
            IdempotencyKeyReused, IdempotencyInProgress: see `once`.
        """
        row = await store.find_key(uow, claim)
        answer = None if row is None else self._answer(claim, row)
        if isinstance(answer, LockstepError):
            raise answer
        return answer

    async def purge(self, uow: UnitOfWork, now: datetime) -> int:
        """Forget keys that have expired; returns how many."""
        return await store.delete_expired(uow, now)
