"""Signed statements over all heads, appended to a file outside the database.

The file should live where the database's administrators cannot write. One line per checkpoint; lines are only ever
appended. Its tail can be cut off together with the tail of the chains by somebody who can write to both: keep a copy.
"""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import structlog

from lockstep.custody.audit import store
from lockstep.custody.audit.rules import ZERO, checkpoint_hash, checkpoint_payload, root_of
from lockstep.custody.audit.types import Checkpoint, Head
from lockstep.custody.errors import AuditChainBroken
from lockstep.kit.clock import Clock, pause, rfc3339
from lockstep.kit.database import Database
from lockstep.kit.errors import LockstepError

log = structlog.get_logger(__name__)


class CheckpointSigner(Protocol):
    """Signs with the audit key of the transport class."""

    async def __call__(self, payload: bytes) -> bytes: ...


class CheckpointFile:
    """The file of checkpoints."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def read(self) -> list[Checkpoint]:
        """All checkpoints in the order of the file; none when there is no file yet.

        Raises:
            AuditChainBroken: a line that is not a checkpoint.
        """
        if not self._path.exists():
            return []
        checkpoints = []
        for number, line in enumerate(self._path.read_text().splitlines(), start=1):
            try:
                checkpoints.append(_decode(line))
            except (ValueError, KeyError, TypeError) as error:
                raise AuditChainBroken(f"line {number} of {self._path.name} is not a checkpoint") from error
        return checkpoints

    def append(self, checkpoint: Checkpoint) -> None:
        """Add a line and wait until it is on the disk."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with self._path.open("a") as file:
            file.write(_encode(checkpoint) + "\n")
            file.flush()
            os.fsync(file.fileno())


class CheckpointWriter:
    """Writes a checkpoint whenever something was appended since the last one; one process of the deployment at a time."""

    def __init__(self, database: Database, file: CheckpointFile, sign: CheckpointSigner, clock: Clock) -> None:
        self._database = database
        self._file = file
        self._sign = sign
        self._clock = clock

    async def write_checkpoint(self) -> Checkpoint | None:
        """Sign the heads as they are now; None when nothing was appended, or when another process is at it."""
        async with self._database.leadership("audit_checkpoints") as lead:
            return None if lead is None else await self._write()

    async def run(self, stop: asyncio.Event, every_seconds: float = 10.0) -> None:
        """Write checkpoints until `stop` is set; what lies behind the last one could be cut off unseen."""
        while not stop.is_set():
            try:
                await self.write_checkpoint()
            except (LockstepError, OSError) as error:
                log.error("audit_checkpoint_failed", reason=type(error).__name__, detail=str(error))
            await pause(stop, every_seconds)

    async def _write(self) -> Checkpoint | None:
        async with self._database.system("audit_checkpoint") as uow:
            heads = await store.list_heads(uow)
        before = _last(await asyncio.to_thread(self._file.read))
        if not heads or (before is not None and root_of(heads) == before.root):
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


def _last(checkpoints: Sequence[Checkpoint]) -> Checkpoint | None:
    return checkpoints[-1] if checkpoints else None


def _encode(checkpoint: Checkpoint) -> str:
    return json.dumps(
        {
            "number": checkpoint.number,
            "time": checkpoint.time,
            "previous": checkpoint.previous.hex(),
            "root": checkpoint.root.hex(),
            "heads": [[head.app_id, head.shard, head.seq, head.entry_hash.hex()] for head in checkpoint.heads],
            "signature": checkpoint.signature.hex(),
        },
        separators=(",", ":"),
    )


def _decode(line: str) -> Checkpoint:
    members = json.loads(line)
    return Checkpoint(
        number=int(members["number"]),
        time=str(members["time"]),
        previous=bytes.fromhex(members["previous"]),
        root=bytes.fromhex(members["root"]),
        heads=tuple(
            Head(app_id=str(app_id), shard=int(shard), seq=int(seq), entry_hash=bytes.fromhex(digest))
            for app_id, shard, seq, digest in members["heads"]
        ),
        signature=bytes.fromhex(members["signature"]),
    )
