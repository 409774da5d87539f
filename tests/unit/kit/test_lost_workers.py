"""A worker that dies or stands still in the middle of a step: another one finishes it, soon and once."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import psycopg
import pytest
from tests.support import process_worker

from lockstep.kit import database as kit
from lockstep.kit.clock import SystemClock
from lockstep.kit.database import Database
from lockstep.kit.ids import new_id
from lockstep.kit.processes import (
    Advance,
    Dispatcher,
    Processes,
    ProcessRow,
    list_steps,
    make_job_app,
    run_jobs,
    start,
)

SECONDS = 5.0
"""Within which a lost worker's step is done by another one."""


class Quick(process_worker.Slow):
    """The same process without waiting."""

    async def advance(self, row: ProcessRow) -> Advance:
        return Advance(state="done", due_at=None, facts={"by": "successor"})


@asynccontextmanager
async def successor(database: Database, dsn: str) -> AsyncIterator[None]:
    """A second worker, in this process, that stands by."""
    clock, stop = SystemClock(), asyncio.Event()
    processes = Processes(database, clock)
    processes.register(Quick())
    running = asyncio.gather(
        Dispatcher(database, make_job_app(dsn), clock).run(stop), run_jobs(make_job_app(dsn, processes), stop)
    )
    await asyncio.sleep(0.5)
    try:
        yield
    finally:
        stop.set()
        await running


async def said(worker: Process) -> str:
    assert worker.stdout is not None
    return (await asyncio.wait_for(worker.stdout.readline(), 20)).decode().strip()


@pytest.fixture
async def worker(dsn: str) -> AsyncIterator[Process]:
    """The first worker, which leads the dispatcher."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.support.process_worker", dsn, stdin=PIPE, stdout=PIPE
    )
    yield process
    if process.returncode is None:
        process.kill()
    await process.wait()


async def begin(database: Database) -> str:
    process_id = new_id()
    async with database.system("test") as uow:
        await start(uow, kind="slow", process_id=process_id, state="first", app_id=None, due_at=SystemClock().now())
    return process_id


async def who_finished(database: Database, process_id: str) -> list[str]:
    async with database.system("test") as uow:
        return [step["facts"]["by"] for step in await list_steps(uow, "slow", process_id)]


async def seconds_until_done(database: Database, process_id: str) -> float:
    begun = time.monotonic()
    while not await who_finished(database, process_id):
        assert time.monotonic() - begun < 20, "nobody took the step up"
        await asyncio.sleep(0.02)
    return time.monotonic() - begun


async def test_worker__killed_in_a_step__another_has_done_it_within_five_seconds(
    database: Database, dsn: str, worker: Process
) -> None:
    process_id = await begin(database)
    assert await said(worker) == "looking"
    async with successor(database, dsn):
        worker.kill()
        assert await seconds_until_done(database, process_id) <= SECONDS
    assert await who_finished(database, process_id) == ["successor"]


async def test_worker__paused_in_a_step__cannot_commit_when_it_goes_on(
    database: Database, dsn: str, worker: Process
) -> None:
    process_id = await begin(database)
    assert await said(worker) == "looking"
    async with successor(database, dsn):
        os.kill(worker.pid, signal.SIGSTOP)
        assert await seconds_until_done(database, process_id) <= SECONDS + 1
        os.kill(worker.pid, signal.SIGCONT)
        assert worker.stdin is not None
        worker.stdin.write(b"\n")
        assert await said(worker) == "stale"
    assert await who_finished(database, process_id) == ["successor"]


async def test_leadership__leader_says_nothing__another_leads_and_the_first_is_cut(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kit, "LEADER_SILENCE", 1)
    with pytest.raises(psycopg.errors.IdleSessionTimeout):
        async with database.leadership("test") as first:
            assert first is not None
            async with database.leadership("test") as second:
                assert second is None
            await asyncio.sleep(1.5)
            async with database.leadership("test") as second:
                assert second is not None
            await first.execute("select 1")


async def test_leadership__given_up__its_connection_is_like_any_other(database: Database) -> None:
    async with database.leadership("test") as lead:
        assert lead is not None
        row = await (await lead.execute("show idle_session_timeout")).fetchone()
        assert row == {"idle_session_timeout": f"{kit.LEADER_SILENCE}s"}
    async with database.connection() as connection:
        row = await (await connection.execute("show idle_session_timeout")).fetchone()
        assert row == {"idle_session_timeout": "0"}
