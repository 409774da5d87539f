"""A worker with one kind of process, for tests that kill or pause it in the middle of a step: `… <dsn>`.

Says ``looking`` when a step begins and goes on at the next line of standard input; then says ``committed`` or ``stale``.
"""

from __future__ import annotations

import asyncio
import sys

import structlog

from lockstep.kit import database
from lockstep.kit.clock import SystemClock
from lockstep.kit.processes import Advance, Dispatcher, Processes, ProcessRow, make_job_app, run_jobs

database.LEADER_SILENCE = 1
structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))


class Told(Processes):
    """Says how each step ended."""

    async def run_step(self, kind: str, process_id: str, version: int) -> Advance | None:
        moved = await super().run_step(kind, process_id, version)
        print("stale" if moved is None else "committed", flush=True)
        return moved


class Slow:
    """A process of one step, which waits for the test."""

    kind = "slow"
    states = ("first",)

    async def advance(self, row: ProcessRow) -> Advance:
        print("looking", flush=True)
        await asyncio.to_thread(sys.stdin.readline)
        return Advance(state="done", due_at=None, facts={"by": "lost"})


async def main(dsn: str) -> None:
    pool, clock, stop = database.Database(dsn, name="slow worker"), SystemClock(), asyncio.Event()
    await pool.open()
    processes = Told(pool, clock)
    processes.register(Slow())
    jobs = make_job_app(dsn, processes)
    await asyncio.gather(Dispatcher(pool, make_job_app(dsn), clock).run(stop), run_jobs(jobs, stop))


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
