"""The engine: one lane per chain, four loops per lane (prepare, send, track, mend), any number of worker processes.

Each step locks the rows it works on (`for update skip locked`) for the length of its database transaction, effect
included, so two workers never work on the same transaction and a killed one leaves its rows free at once. Whatever a
step does outside is harmless when it is done again: the same digest, the same bytes, the same receipt.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack

import psycopg
import structlog
from prometheus_client import Counter

from lockstep.kit.clock import Clock, pause
from lockstep.kit.database import Database
from lockstep.kit.errors import Retry
from lockstep.transactions.engine.family import Family
from lockstep.transactions.engine.lane import Lane
from lockstep.transactions.engine.reserve import reserve
from lockstep.transactions.engine.send import send
from lockstep.transactions.engine.sign import sign
from lockstep.transactions.engine.track import track
from lockstep.transactions.store import rows
from lockstep.transactions.types import EngineSettings, State, TransactionSigner

_IDLE_LOOKS = 100

log = structlog.get_logger(__name__)

_moved = Counter("lockstep_transaction_steps", "Transactions moved by the engine", ["chain", "loop"])


class TransactionEngine:
    """Brings queued transactions to their final state."""

    def __init__(
        self,
        families: Sequence[Family],
        database: Database,
        signer: TransactionSigner,
        clock: Clock,
        settings: EngineSettings | None = None,
    ) -> None:
        """
        Args:
            families: one for each chain.
            database: needs up to five connections per chain while it works.
        """
        settings = settings or EngineSettings()
        self._lanes = [Lane(family, database, clock, signer, settings) for family in families]

    async def run(self, stop: asyncio.Event) -> None:
        """Work until `stop` is set. Faults of nodes, signer and database are waited out."""
        async with AsyncExitStack() as stack:
            for lane in self._lanes:
                await stack.enter_async_context(lane.family.watching())
            await asyncio.gather(*(self._loop(lane, name, look, stop) for lane in self._lanes for name, look in _LOOPS))

    async def step(self) -> int:
        """One look of every loop on every chain, for tests and for draining; faults are raised."""
        moved = 0
        for lane in self._lanes:
            for _, look in _LOOPS:
                moved += await look(lane)
        return moved

    async def _loop(self, lane: Lane, name: str, look: Callable[[Lane], Awaitable[int]], stop: asyncio.Event) -> None:
        moved_here = _moved.labels(lane.chain, name)
        idle = 0
        while not stop.is_set():
            try:
                moved = await look(lane)
            except (Retry, psycopg.OperationalError, psycopg.InterfaceError) as error:
                log.warning("engine_waits", chain=lane.chain, loop=name, reason=type(error).__name__)
                await pause(stop, 0.3)
                continue
            except (psycopg.errors.UniqueViolation, psycopg.errors.DeadlockDetected):
                # A caller claimed the nonce at the same moment; the next look sees it.
                await pause(stop, 0.02)
                continue
            except Exception:
                # One faulty row must not end the work on all others; the alert is the log and the counter of steps.
                log.exception("engine_failed", chain=lane.chain, loop=name)
                await pause(stop, 2.0)
                continue
            moved_here.inc(moved)
            idle = 0 if moved else idle + 1
            if idle:
                await pause(stop, _idle_seconds(lane, name, idle))


async def prepare(lane: Lane) -> int:
    """Reserve for what is queued and sign what is reserved; returns how many transactions moved."""
    async with lane.database.system("engine") as uow:
        states = await rows.list_due_states(uow, lane.chain, lane.clock.now())
    moved = await reserve(lane) if State.QUEUED in states else 0
    if moved or states & {State.RESERVED, State.REPLACED}:
        moved += await sign(lane)
    return moved


async def mend(lane: Lane) -> int:
    """What the family looks after by itself; returns how much was mended."""
    return await lane.family.mend()


def _idle_seconds(lane: Lane, name: str, idle: int) -> float:
    """Looking for new heads is paced by the chain, looking for new rows by how lately there were some."""
    seconds = lane.block_time.total_seconds()
    if name == "mend":
        return min(max(seconds / 2, 0.1), 5.0)
    if name == "track":
        return min(max(seconds / 8, 0.04), 0.5)
    return lane.settings.poll_seconds * (1 if idle < _IDLE_LOOKS else 10)


_LOOPS = (("prepare", prepare), ("send", send), ("track", track), ("mend", mend))

__all__ = ["TransactionEngine"]
