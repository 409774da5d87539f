"""Whether the database is at least as new as the newest mark outside it: the last checkpoint.

A database that was restored from a backup has forgotten signatures, nonces and what was used of limits. Until an operator
has compared it with the chains and accepted it, nothing is signed. What it has forgotten stands in the checkpoints.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import psycopg
import structlog
from prometheus_client import Gauge

from lockstep.custody.audit import store
from lockstep.custody.audit.checkpoint_file import CheckpointFile
from lockstep.custody.audit.types import Head
from lockstep.kit.clock import pause
from lockstep.kit.database import Database
from lockstep.kit.errors import LockstepError

log = structlog.get_logger(__name__)

_closed = Gauge(
    "lockstep_restore_guard_closed", "1 while nothing is signed because the database is older than its mark"
)


async def compare_with_mark(database: Database, file: CheckpointFile) -> tuple[int, list[Head]]:
    """Number of the last checkpoint (0: there is none), and those of its marks that the database has forgotten."""
    last = await asyncio.to_thread(file.last)
    if last is None:
        return 0, []
    async with database.system("restore_guard") as uow:
        return last.number, await store.list_forgotten(uow, last.heads)


class RestoreGuard:
    """Compares the database with the last checkpoint."""

    def __init__(self, database: Database, file: CheckpointFile, hold: Callable[[str | None], None]) -> None:
        """
        Args:
            hold: told why nothing may be signed; None: it may.
        """
        self._database, self._file, self._hold = database, file, hold

    async def look(self) -> list[Head]:
        """Compare now, and hold or let go accordingly; the marks that the database has forgotten."""
        number, forgotten = await compare_with_mark(self._database, self._file)
        _closed.set(1 if forgotten else 0)
        self._hold(f"the database is older than checkpoint {number}: was it restored?" if forgotten else None)
        if forgotten:
            hint = "lockstep audit accept-restore compares it with the chains and opens"
            log.error("restore_guard_closed", checkpoint=number, chains=len(forgotten), hint=hint)
        return forgotten

    async def run(self, stop: asyncio.Event, every_seconds: float = 10.0) -> None:
        """Look until `stop` is set; what cannot be compared stays as it was found last."""
        while not stop.is_set():
            try:
                await self.look()
            except (LockstepError, psycopg.Error, OSError) as error:
                log.warning("restore_guard_waits", reason=type(error).__name__)
            await pause(stop, every_seconds)
