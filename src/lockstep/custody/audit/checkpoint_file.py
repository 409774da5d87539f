"""The file of checkpoints, outside the database: one line per checkpoint, only ever appended.

It should live where the database's administrators cannot write. Its tail can be cut off together with the tail of the chains
by somebody who can write to both: keep a copy.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

from lockstep.custody.audit.types import Checkpoint, Head
from lockstep.custody.errors import AuditChainBroken

_CHUNK = 65_536


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

    def last(self) -> Checkpoint | None:
        """The newest checkpoint, without reading the others; None when there is none yet.

        Raises:
            AuditChainBroken: the last line is not a checkpoint.
        """
        try:
            size = self._path.stat().st_size
        except FileNotFoundError:
            return None
        tail = b""
        with self._path.open("rb") as file:
            while size > 0 and b"\n" not in tail.rstrip(b"\n"):
                start = max(0, size - _CHUNK)
                file.seek(start)
                tail, size = file.read(size - start) + tail, start
        line = tail.rstrip(b"\n").rpartition(b"\n")[2]
        if not line:
            return None
        try:
            return _decode(line.decode())
        except (ValueError, KeyError, TypeError) as error:
            raise AuditChainBroken(f"the last line of {self._path.name} is not a checkpoint") from error

    def append(self, checkpoint: Checkpoint) -> None:
        """Add a line and wait until it is on the disk."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with self._path.open("a") as file:
            file.write(_encode(checkpoint) + "\n")
            file.flush()
            os.fsync(file.fileno())


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
