"""Durable processes: rows that a worker advances step by step until they are done or undone.

The row in ``processes`` is the truth: ``kind, id, state, version, due_at, deadline_at, attempts``; what the business
knows stands in the module's own table under the same id. The dispatcher turns due rows into jobs of the job engine
(procrastinate, on the same PostgreSQL); a job carries (kind, id, version) and may be lost, doubled or late without
harm, because the version is the fence:

    read the row ─► look at the facts (chain first) ─► decide ─► one transaction: lock, compare version,
                                                                 write state + effects + outbox, version + 1

A dispatched row gets a lease; when its worker dies, the lease ends and the next dispatch takes the step up again.
Does not know what any kind of process means.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Protocol

import psycopg
import structlog
from procrastinate import App, PsycopgConnector
from procrastinate.exceptions import ConnectorException
from prometheus_client import Counter, Gauge
from psycopg.types.json import Jsonb

from lockstep.kit import crash
from lockstep.kit.clock import Clock, pause
from lockstep.kit.database import Database, Row, UnitOfWork
from lockstep.kit.errors import LockstepError, Refuse, Retry, Stop
from lockstep.kit.ids import AppId

log = structlog.get_logger(__name__)

LEASE = timedelta(seconds=3)
"""How long a dispatched step may stay silent before it is dispatched again."""
WAKE = "lockstep_processes"

_steps = Counter("lockstep_process_steps", "Steps of durable processes by outcome", ["kind", "outcome"])
_late = Gauge(
    "lockstep_process_seconds_to_nearest_deadline", "Seconds until the nearest deadline of an open process", ["kind"]
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessRow:
    """A process as the runner read it, before it decides."""

    kind: str
    id: str
    app_id: AppId | None
    state: str
    version: int
    attempts: int
    deadline_at: datetime | None
    created_at: datetime
    is_leased: bool = False
    """A job holds the step; `wake` takes the lease away."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Advance:
    """What one step decided."""

    state: str
    """The next state; equal to the old one when the process only waits."""
    due_at: datetime | None
    """When to look again; None for a state that ends the process."""
    waiting_for: str | None = None
    """What the process waits for, in one word people filter by: chain, time, another_party, approval, retry, operator."""
    reason: str | None = None
    """One sentence for the timeline."""
    facts: Mapping[str, object] = field(default_factory=dict)
    """What the decision rests on (block, hash, amounts as strings): stored with the step; never a secret."""
    deadline_at: datetime | None = None
    """New deadline; None keeps the old one."""
    has_effects: bool = False
    """The step sets something going although the state may stay: a test that kills workers must not pass it over."""
    apply: Callable[[UnitOfWork], Awaitable[None]] | None = None
    """Writes the effects (rows, events, transaction intents) in the same transaction as the state."""

    def is_due(self, now: datetime) -> bool:
        """Whether the next step needs no waiting: the worker goes on with it in the same job."""
        return self.due_at is not None and self.due_at <= now


class Process(Protocol):
    """A kind of durable process."""

    kind: str
    states: tuple[str, ...]
    """Every state in which `advance` may be called: the registered steps that the kill test visits."""

    async def advance(self, row: ProcessRow) -> Advance:
        """Look at the facts and decide. May read chains and the database; must write nothing. Raising Retry backs off,
        Refuse and Stop park the process for an operator."""
        ...


class Processes:
    """Registry, store and runner of durable processes."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock
        self._kinds: dict[str, Process] = {}

    def register(self, process: Process) -> None:
        self._kinds[process.kind] = process

    @property
    def steps(self) -> list[str]:
        """Every registered step as ``kind.state``."""
        return [f"{kind}.{state}" for kind, process in self._kinds.items() for state in process.states]

    async def run(self, kind: str, process_id: str, version: int) -> None:
        """Advance one process from this version on, step by step, until it has to wait."""
        while (moved := await self.run_step(kind, process_id, version)) is not None and moved.is_due(self._clock.now()):
            version += 1

    async def run_step(self, kind: str, process_id: str, version: int) -> Advance | None:
        """Advance one process by one step if it still has this version; returns what was committed, None if nothing."""
        process = self._kinds[kind]
        async with self._database.system("processes") as uow:
            row = await _find(uow, kind, process_id)
        if row is None or row.version != version:
            _steps.labels(kind, "stale").inc()
            return None
        try:
            advance = await process.advance(row)
        except LockstepError as error:
            advance = self._advance_after(error, row)
        _crash_point(row, advance, "before_effect")
        try:
            is_current = await self._commit(row, advance)
        except LockstepError as error:
            # The effects could not be written, so nothing was; a fault that passes must not look like a lost worker.
            advance = self._advance_after(error, row)
            is_current = await self._commit(row, advance)
        if not is_current:
            _steps.labels(kind, "stale").inc()
            return None
        _crash_point(row, advance, "after_commit")
        _steps.labels(kind, "retry" if advance.waiting_for == "retry" else "advanced").inc()
        return advance

    async def _commit(self, row: ProcessRow, advance: Advance) -> bool:
        """Write effects and state in one transaction; False when another worker has moved the process."""
        async with self._database.system("processes") as uow:
            locked = await _lock_version(uow, row.kind, row.id, row.version)
            if locked is None:
                return False
            # Woken since it was read: what the step looked at may be old already, so it must look again at once.
            is_woken = row.is_leased and locked["lease_until"] is None
            if advance.apply is not None:
                await advance.apply(uow)
            _crash_point(row, advance, "after_effect")
            await _write(uow, row, advance, self._clock.now(), is_woken)
        return True

    def _advance_after(self, error: LockstepError, row: ProcessRow) -> Advance:
        """A passing fault backs off (0.2 s doubling to 30 s); anything else waits for an operator, and says why."""
        if isinstance(error, Retry):
            delay = timedelta(seconds=min(30.0, 0.2 * 2 ** min(row.attempts, 8)))
            return Advance(
                state=row.state,
                due_at=self._clock.now() + delay,
                waiting_for="retry",
                reason=error.detail,
                facts={"error": error.code},
            )
        if not isinstance(error, Refuse | Stop):
            raise error
        log.error("process_parked", kind=row.kind, process_id=row.id, state=row.state, code=error.code)
        return Advance(
            state=row.state,
            due_at=self._clock.now() + timedelta(seconds=30),
            waiting_for="operator",
            reason=error.detail,
            facts={"error": error.code},
        )


async def start(
    uow: UnitOfWork,
    *,
    kind: str,
    process_id: str,
    state: str,
    app_id: AppId | None,
    due_at: datetime,
    deadline_at: datetime | None = None,
) -> None:
    """Create a process in the business transaction that needs it. The same (kind, id) twice is one process."""
    await uow.execute(
        "insert into processes (kind, id, app_id, state, due_at, deadline_at) values (%s, %s, %s, %s, %s, %s)"
        " on conflict (kind, id) do nothing",
        (kind, process_id, app_id, state, due_at, deadline_at),
    )
    await uow.execute("select pg_notify('lockstep_processes', '')")


async def wake(uow: UnitOfWork, kind: str, process_ids: list[str], now: datetime) -> None:
    """Make open processes due now because a fact they wait for has changed (a new head, an event, a secret)."""
    if process_ids:
        await uow.execute(
            "update processes set due_at = least(due_at, %s), lease_until = null"
            " where kind = %s and id = any(%s) and due_at is not null",
            (now, kind, process_ids),
        )
        await uow.execute("select pg_notify('lockstep_processes', '')")


async def list_steps(uow: UnitOfWork, kind: str, process_id: str) -> list[Row]:
    """The stored timeline of a process, oldest first."""
    return await uow.fetch(
        "select version, from_state, to_state, waiting_for, reason, facts, created_at from process_steps"
        " where kind = %s and process_id = %s order by version",
        (kind, process_id),
    )


async def find_process(uow: UnitOfWork, kind: str, process_id: str) -> Row | None:
    """State, version, due time, deadline and what it waits for."""
    return await uow.find("select * from processes where kind = %s and id = %s", (kind, process_id))


# --- dispatching ------------------------------------------------------------------------------------------------------


def make_job_app(dsn: str, processes: Processes | None = None) -> App:
    """The job engine on our PostgreSQL, with the one task that advances processes.

    `processes` is needed where jobs run (workers), not where they are only deferred.
    """
    app = App(
        connector=PsycopgConnector(conninfo=dsn, kwargs={"application_name": "lockstep jobs"}, min_size=1, max_size=8)
    )

    @app.task(name="lockstep.advance", queue="processes", pass_context=False)
    async def advance(kind: str, process_id: str, version: int) -> None:
        if processes is None:
            raise RuntimeError("this process dispatches jobs but does not run them")
        await processes.run(kind, process_id, version)

    return app


class Dispatcher:
    """Turns due rows into jobs, nearest deadline first. Runs in every worker process; one of them leads."""

    def __init__(self, database: Database, jobs: App, clock: Clock, batch: int = 200) -> None:
        self._database, self._jobs, self._clock, self._batch = database, jobs, clock, batch

    async def dispatch_once(self) -> int:
        """Lease the due rows and defer their jobs in the same transaction; returns how many."""
        now = self._clock.now()
        async with self._database.system("dispatcher") as uow:
            rows = await uow.fetch(
                "update processes p set lease_until = %(lease)s from ("
                " select kind, id from processes where due_at <= %(now)s and (lease_until is null or lease_until <= %(now)s)"
                " order by deadline_at nulls last, due_at limit %(batch)s for update skip locked) due"
                " where p.kind = due.kind and p.id = due.id returning p.kind, p.id, p.version",
                {"now": now, "lease": now + LEASE, "batch": self._batch},
            )
            if rows:
                task = self._jobs.configure_task("lockstep.advance", connection=uow.connection, queue="processes")
                await task.batch_defer_async(
                    *({"kind": row["kind"], "process_id": row["id"], "version": row["version"]} for row in rows)
                )
        return len(rows)

    async def run(self, stop: asyncio.Event) -> None:
        """Dispatch while leading; wait to lead otherwise. Database faults are waited out."""
        while not stop.is_set():
            try:
                async with self._database.leadership("dispatcher") as lead:
                    if lead is not None:
                        await lead.execute(f"listen {WAKE}")
                        await self._lead(lead, stop)
                await pause(stop, 0.5)
            except (Retry, psycopg.Error, ConnectorException) as error:
                log.warning("dispatcher_waits", reason=type(error).__name__)
                await pause(stop, 0.3)

    async def _lead(self, connection: psycopg.AsyncConnection[Any], stop: asyncio.Event) -> None:
        swept = self._clock.now()
        while not stop.is_set():
            await connection.execute("select 1")  # the lock lives and dies with this connection
            if await self.dispatch_once() >= self._batch:
                continue
            if self._clock.now() - swept > timedelta(seconds=5):
                swept = self._clock.now()
                await self._sweep()
            async for _ in connection.notifies(timeout=0.1, stop_after=1):
                pass

    async def _sweep(self) -> None:
        """Throw finished and abandoned jobs away (the rows carry the truth) and publish the nearest deadlines."""
        async with self._database.system("dispatcher") as uow:
            await uow.execute(
                "delete from procrastinate_jobs where queue_name = 'processes' and (status in ('succeeded', 'failed', 'cancelled', 'aborted')"
                " or (status = 'doing' and id in (select job_id from procrastinate_events where type = 'started' and at < now() - interval '60 seconds')))"
            )
            rows = await uow.fetch(
                "select kind, extract(epoch from min(deadline_at) - %s)::bigint as seconds from processes"
                " where due_at is not null and deadline_at is not null group by kind",
                (self._clock.now(),),
            )
        for row in rows:
            _late.labels(row["kind"]).set(row["seconds"])


async def run_jobs(jobs: App, stop: asyncio.Event, concurrency: int = 8) -> None:
    """Run jobs until `stop` is set; a lost database is waited out."""
    while not stop.is_set():
        try:
            async with jobs.open_async():
                worker = asyncio.create_task(
                    jobs.run_worker_async(
                        queues=["processes"],
                        concurrency=concurrency,
                        wait=True,
                        fetch_job_polling_interval=0.25,
                        install_signal_handlers=False,
                        listen_notify=True,
                        delete_jobs="always",
                        update_heartbeat_interval=0.5,
                        stalled_worker_timeout=2.0,
                    )
                )
                stopping = asyncio.create_task(stop.wait())
                await asyncio.wait({worker, stopping}, return_when=asyncio.FIRST_COMPLETED)
                stopping.cancel()
                worker.cancel()  # the engine lets running jobs end
                await asyncio.gather(worker, return_exceptions=True)
        except Exception as error:  # the job engine raises its own and psycopg's errors; the rows stay due
            log.warning("jobs_wait", reason=type(error).__name__)
        if not stop.is_set():
            await pause(stop, 0.5)


def _crash_point(row: ProcessRow, advance: Advance, moment: crash.Moment) -> None:
    """Only steps that do something are worth dying in; one that waits on would use its point up."""
    if advance.state != row.state or advance.has_effects:
        crash.point(f"{row.kind}.{row.state}", moment)


async def _find(uow: UnitOfWork, kind: str, process_id: str) -> ProcessRow | None:
    row = await find_process(uow, kind, process_id)
    if row is None or row["due_at"] is None:
        return None
    return ProcessRow(
        kind=row["kind"],
        id=row["id"],
        app_id=row["app_id"],
        state=row["state"],
        version=row["version"],
        attempts=row["attempts"],
        deadline_at=row["deadline_at"],
        created_at=row["created_at"],
        is_leased=row["lease_until"] is not None,
    )


async def _lock_version(uow: UnitOfWork, kind: str, process_id: str, version: int) -> Row | None:
    """The locked row, if it still has this version."""
    row = await uow.find(
        "select version, lease_until from processes where kind = %s and id = %s for update", (kind, process_id)
    )
    return row if row is not None and row["version"] == version else None


async def _write(uow: UnitOfWork, row: ProcessRow, advance: Advance, now: datetime, is_woken: bool) -> None:
    moved = advance.state != row.state
    due_at = min(advance.due_at, now) if is_woken and advance.due_at is not None else advance.due_at
    await uow.execute(
        "update processes set state = %s, version = version + 1, due_at = %s, lease_until = %s, waiting_for = %s,"
        " reason = %s, deadline_at = coalesce(%s, deadline_at), attempts = case when %s then attempts + 1 else 0 end,"
        " updated_at = now() where kind = %s and id = %s",
        (
            advance.state,
            due_at,
            now + LEASE if advance.is_due(now) else None,
            advance.waiting_for,
            advance.reason,
            advance.deadline_at,
            advance.waiting_for in ("retry", "operator"),
            row.kind,
            row.id,
        ),
    )
    if moved or advance.waiting_for in ("retry", "operator"):
        await uow.execute(
            "insert into process_steps (kind, process_id, version, app_id, from_state, to_state, waiting_for, reason, facts)"
            " values (%s, %s, %s, %s, %s, %s, %s, %s, %s)",
            (
                row.kind,
                row.id,
                row.version + 1,
                row.app_id,
                row.state,
                advance.state,
                advance.waiting_for,
                advance.reason,
                Jsonb(dict(advance.facts)),
            ),
        )
