"""Durable processes: each step once, stale workers fenced off, lost jobs harmless."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta

import pytest

from lockstep.kit.clock import ManualClock, SystemClock
from lockstep.kit.database import Database, UnitOfWork
from lockstep.kit.errors import Retry, Stop
from lockstep.kit.ids import new_id
from lockstep.kit.processes import (
    LEASE,
    Advance,
    Dispatcher,
    Processes,
    ProcessRow,
    find_process,
    list_steps,
    make_job_app,
    run_jobs,
    start,
    wake,
)

Decide = Callable[[ProcessRow], Awaitable[Advance]]


class Scripted:
    """A process whose decisions the test writes."""

    kind = "scripted"
    states = ("first", "second")

    def __init__(self, decide: Decide) -> None:
        self.advance = decide


async def _begin(database: Database, at: datetime) -> str:
    process_id = new_id()
    async with database.system("test") as uow:
        await start(uow, kind="scripted", process_id=process_id, state="first", app_id=None, due_at=at)
    return process_id


async def test_run_step__two_workers_same_version__one_commits(database: Database) -> None:
    clock = ManualClock(datetime(2026, 1, 1, tzinfo=UTC))
    together = asyncio.Barrier(2)
    effects: list[int] = []

    async def decide(row: ProcessRow) -> Advance:
        await together.wait()

        async def apply(_: UnitOfWork) -> None:
            effects.append(row.version)

        return Advance(state="second", due_at=None, apply=apply)

    processes = Processes(database, clock)
    processes.register(Scripted(decide))
    process_id = await _begin(database, clock.now())
    outcomes = await asyncio.gather(*(processes.run_step("scripted", process_id, 0) for _ in range(2)))
    assert sorted(outcome is None for outcome in outcomes) == [False, True]
    assert effects == [0]


async def test_run_step__effect_fails__nothing_is_written(database: Database) -> None:
    clock = ManualClock(datetime(2026, 1, 1, tzinfo=UTC))

    async def decide(_: ProcessRow) -> Advance:
        async def apply(uow: UnitOfWork) -> None:
            await start(uow, kind="scripted", process_id="other", state="first", app_id=None, due_at=clock.now())
            raise KeyError("the effect fails")

        return Advance(state="second", due_at=None, apply=apply)

    processes = Processes(database, clock)
    processes.register(Scripted(decide))
    process_id = await _begin(database, clock.now())
    with pytest.raises(KeyError):
        await processes.run_step("scripted", process_id, 0)
    async with database.system("test") as uow:
        row = await find_process(uow, "scripted", process_id)
        assert row is not None
        assert (row["state"], row["version"]) == ("first", 0)
        assert await find_process(uow, "scripted", "other") is None


class NodeAway(Retry):
    """The node is away."""

    code = "node_away"


class Impossible(Stop):
    """This must not happen."""

    code = "impossible"


async def test_run_step__passing_fault__backs_off_and_counts(database: Database) -> None:
    clock = ManualClock(datetime(2026, 1, 1, tzinfo=UTC))

    async def decide(_: ProcessRow) -> Advance:
        raise NodeAway

    processes = Processes(database, clock)
    processes.register(Scripted(decide))
    process_id = await _begin(database, clock.now())
    delays = []
    for version in range(12):
        await processes.run_step("scripted", process_id, version)
        async with database.system("test") as uow:
            row = await find_process(uow, "scripted", process_id)
        assert row is not None
        delays.append((row["due_at"] - clock.now()).total_seconds())
    assert delays[:3] == [0.2, 0.4, 0.8]
    assert max(delays) <= 60
    assert row["waiting_for"] == "retry"
    assert row["attempts"] == 12


async def test_run_step__stop_error__parks_for_an_operator_with_the_reason(database: Database) -> None:
    clock = ManualClock(datetime(2026, 1, 1, tzinfo=UTC))

    async def decide(_: ProcessRow) -> Advance:
        raise Impossible

    processes = Processes(database, clock)
    processes.register(Scripted(decide))
    process_id = await _begin(database, clock.now())
    await processes.run_step("scripted", process_id, 0)
    async with database.system("test") as uow:
        steps = await list_steps(uow, "scripted", process_id)
    assert [(step["waiting_for"], step["reason"]) for step in steps] == [("operator", "This must not happen.")]


async def test_dispatch__worker_lost_the_job__leases_again_after_the_lease(database: Database, dsn: str) -> None:
    clock = ManualClock(datetime(2026, 1, 1, tzinfo=UTC))
    jobs = make_job_app(dsn)
    process_id = await _begin(database, clock.now())
    dispatcher = Dispatcher(database, jobs, clock)
    assert await dispatcher.dispatch_once() == 1
    assert await dispatcher.dispatch_once() == 0
    clock.advance(LEASE + timedelta(milliseconds=1))
    assert await dispatcher.dispatch_once() == 1
    async with database.system("test") as uow:
        await wake(uow, "scripted", [process_id], clock.now())
    assert await dispatcher.dispatch_once() == 1


async def test_dispatch__many_due__nearest_deadline_first(database: Database, dsn: str) -> None:
    clock = ManualClock(datetime(2026, 1, 1, tzinfo=UTC))
    async with database.system("test") as uow:
        for name, hours in (("late", 5), ("soon", 1), ("never", None)):
            await start(
                uow,
                kind="scripted",
                process_id=name,
                state="first",
                app_id=None,
                due_at=clock.now(),
                deadline_at=None if hours is None else clock.now() + timedelta(hours=hours),
            )
    dispatcher = Dispatcher(database, make_job_app(dsn), clock, batch=2)
    assert await dispatcher.dispatch_once() == 2
    async with database.system("test") as uow:
        leased = await uow.fetch("select id from processes where lease_until is not null")
    assert {row["id"] for row in leased} == {"late", "soon"}


async def test_run_jobs__a_hundred_processes__all_end_with_every_step_once(database: Database, dsn: str) -> None:
    clock = SystemClock()

    async def decide(row: ProcessRow) -> Advance:
        if row.state == "first":
            return Advance(state="second", due_at=clock.now())
        return Advance(state="done", due_at=None)

    processes = Processes(database, clock)
    processes.register(Scripted(decide))
    for _ in range(100):
        await _begin(database, clock.now())
    stop = asyncio.Event()
    running = [
        asyncio.create_task(Dispatcher(database, make_job_app(dsn), clock).run(stop)),
        asyncio.create_task(run_jobs(make_job_app(dsn, processes), stop)),
    ]
    while True:
        async with database.system("test") as uow:
            row = await uow.get("select count(*) as open from processes where due_at is not null")
        if row["open"] == 0:
            break
        await asyncio.sleep(0.02)
    stop.set()
    await asyncio.gather(*running)
    async with database.system("test") as uow:
        row = await uow.get("select count(*) as steps, min(version) as low, max(version) as high from process_steps")
    assert (row["steps"], row["low"], row["high"]) == (200, 1, 2)


async def test_run_step__woken_while_it_looks__is_due_again_at_once(database: Database) -> None:
    clock = ManualClock(datetime(2026, 1, 1, tzinfo=UTC))

    async def decide(row: ProcessRow) -> Advance:
        if row.version == 0:
            async with database.system("test") as uow:
                await wake(uow, "scripted", [row.id], clock.now())
        return Advance(state="first", due_at=clock.now() + timedelta(seconds=60), waiting_for="chain")

    processes = Processes(database, clock)
    processes.register(Scripted(decide))
    process_id = await _begin(database, clock.now())
    async with database.system("test") as uow:
        await uow.execute("update processes set lease_until = %s where id = %s", (clock.now() + LEASE, process_id))
    await processes.run_step("scripted", process_id, 0)
    async with database.system("test") as uow:
        row = await find_process(uow, "scripted", process_id)
    assert row is not None
    assert row["due_at"] == clock.now()
    await processes.run_step("scripted", process_id, 1)
    async with database.system("test") as uow:
        row = await find_process(uow, "scripted", process_id)
    assert row is not None
    assert row["due_at"] > clock.now()
