"""Durable steps per second through dispatcher, job engine and fence, against bare transactions that write the same rows."""

from __future__ import annotations

import asyncio
import time

from benchmarks.figures import Figure, fresh_database
from lockstep.kit.clock import SystemClock
from lockstep.kit.database import Database
from lockstep.kit.ids import new_id
from lockstep.kit.processes import Advance, Dispatcher, Processes, ProcessRow, make_job_app, run_jobs, start

PROCESSES = 600
STEPS_EACH = 3
CONCURRENCY = 8


class _Walk:
    """A process that goes from state to state and does nothing else."""

    kind = "walk"
    states = tuple(f"at_{number}" for number in range(STEPS_EACH))

    async def advance(self, row: ProcessRow) -> Advance:
        number = int(row.state.removeprefix("at_")) + 1
        ends = number == STEPS_EACH
        return Advance(state="ended" if ends else f"at_{number}", due_at=None if ends else SystemClock().now())


async def run() -> list[Figure]:
    async with fresh_database() as dsn:
        database = Database(dsn, name="bench", max_size=CONCURRENCY + 4)
        await database.open()
        try:
            baseline = await _bare_steps(database)
            value = await _durable_steps(database, dsn)
        finally:
            await database.close()
    return [
        Figure(
            name="steps", value=value, unit="steps/s", baseline=baseline, ratio=value / baseline, wanted={"value": 300}
        )
    ]


async def _bare_steps(database: Database) -> float:
    """The same two writes per step in one transaction, without queue, lease and fence."""
    names = [new_id() for _ in range(CONCURRENCY)]
    async with database.system("bench") as uow:
        for name in names:
            await start(uow, kind="bare", process_id=name, state="x", app_id=None, due_at=SystemClock().now())

    async def writer(name: str) -> None:
        for version in range(1, PROCESSES * STEPS_EACH // CONCURRENCY + 1):
            async with database.system("bench") as uow:
                await uow.execute("update processes set version = %s where kind = 'bare' and id = %s", (version, name))
                await uow.execute(
                    "insert into process_steps (kind, process_id, version, from_state, to_state, facts)"
                    " values ('bare', %s, %s, 'x', 'x', '{}')",
                    (name, version),
                )

    began = time.perf_counter()
    await asyncio.gather(*(writer(name) for name in names))
    async with database.system("bench") as uow:
        await uow.execute("update processes set due_at = null where kind = 'bare'")
    return PROCESSES * STEPS_EACH / (time.perf_counter() - began)


async def _durable_steps(database: Database, dsn: str) -> float:
    clock = SystemClock()
    processes = Processes(database, clock)
    processes.register(_Walk())
    async with database.system("bench") as uow:
        for _ in range(PROCESSES):
            await start(uow, kind="walk", process_id=new_id(), state="at_0", app_id=None, due_at=clock.now())
    stop = asyncio.Event()
    began = time.perf_counter()
    running = [
        asyncio.create_task(Dispatcher(database, make_job_app(dsn), clock).run(stop)),
        asyncio.create_task(run_jobs(make_job_app(dsn, processes), stop, CONCURRENCY)),
    ]
    while True:
        async with database.system("bench") as uow:
            row = await uow.get("select count(*) as open from processes where due_at is not null")
        if row["open"] == 0:
            break
        await asyncio.sleep(0.02)
    seconds = time.perf_counter() - began
    stop.set()
    await asyncio.gather(*running)
    return PROCESSES * STEPS_EACH / seconds
