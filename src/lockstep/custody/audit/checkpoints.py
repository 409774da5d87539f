"""Signed statements over all heads, appended to a file outside the database."""

from __future__ import annotations

import asyncio
from typing import Protocol

import structlog

from lockstep.custody.audit import store
from lockstep.custody.audit.checkpoint_file import CheckpointFile
from lockstep.custody.audit.rules import ZERO, checkpoint_hash, checkpoint_payload, root_of
from lockstep.custody.audit.types import Checkpoint
from lockstep.kit.clock import Clock, pause, rfc3339
from lockstep.kit.database import Database
from lockstep.kit.errors import LockstepError

log = structlog.get_logger(__name__)


class CheckpointSigner(Protocol):
    """Signs with the audit key of the transport class."""

    async def __call__(self, payload: bytes) -> bytes: ...


class CheckpointWriter:
    """Writes a checkpoint whenever something was appended since the last one; one process of the deployment at a time."""

    def __init__(self, database: Database, file: CheckpointFile, sign: CheckpointSigner, clock: Clock) -> None:
        self._database = database
        self._file = file
        self._sign = sign
        self._clock = clock

    async def write_checkpoint(self, *, accepts_restore: bool = False) -> Checkpoint | None:
        """Sign the heads as they are now; None when nothing was appended, when the database is older than the last
        checkpoint, or when another process is at it.

        Args:
            accepts_restore: also when it is older: an operator has looked at what was forgotten.
        """
        async with self._database.leadership("audit_checkpoints") as lead:
            return None if lead is None else await self._write(accepts_restore=accepts_restore)

    async def run(self, stop: asyncio.Event, every_seconds: float = 10.0) -> None:
        """Write checkpoints until `stop` is set; what lies behind the last one could be cut off unseen."""
        while not stop.is_set():
            try:
                await self.write_checkpoint()
            except (LockstepError, OSError) as error:
                log.error("audit_checkpoint_failed", reason=type(error).__name__, detail=str(error))
            await pause(stop, every_seconds)

    async def _write(self, *, accepts_restore: bool) -> Checkpoint | None:
        before = await asyncio.to_thread(self._file.last)
        async with self._database.system("audit_checkpoint") as uow:
            heads = await store.list_heads(uow)
            forgotten = await store.list_forgotten(uow, before.heads) if before is not None else []
        if forgotten and not accepts_restore:
            return None  # the restore guard says so
        if (not heads and not forgotten) or (before is not None and root_of(heads) == before.root):
            return None
        unsigned = Checkpoint(
            number=before.number + 1 if before else 1,
            time=rfc3339(self._clock.now()),
            previous=checkpoint_hash(before) if before else ZERO,
            root=root_of(heads),
            heads=tuple(heads),
            signature=b"",
        )
        signature = await self._sign(checkpoint_payload(unsigned))
        checkpoint = Checkpoint(
            number=unsigned.number,
            time=unsigned.time,
            previous=unsigned.previous,
            root=unsigned.root,
            heads=unsigned.heads,
            signature=signature,
        )
        await asyncio.to_thread(self._file.append, checkpoint)
        log.info("audit_checkpoint_written", number=checkpoint.number, chains=len(heads))
        return checkpoint
