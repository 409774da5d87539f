"""Verifies the log of a database or of an export file, and writes such exports. Needs no running service."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

from lockstep.custody.audit import store
from lockstep.custody.audit.checkpoint_file import CheckpointFile
from lockstep.custody.audit.rules import Verification, verify
from lockstep.custody.audit.types import Entry, Report
from lockstep.custody.errors import AuditChainBroken
from lockstep.custody.execution import verify_transport
from lockstep.kit.database import Database


class AuditVerifier:
    """Compares entries with the checkpoints that were signed over them."""

    def __init__(self, checkpoints: CheckpointFile, public_key: bytes, mac_key: bytes | None = None) -> None:
        """
        Args:
            public_key: Ed25519 key of the purpose audit_checkpoint, 32 bytes, from somewhere other than the database.
            mac_key: key of the codes; None leaves them unchecked, as an outside auditor does.
        """
        self._checkpoints = checkpoints
        self._public_key = public_key
        self._mac_key = mac_key

    async def verify_database(self, database: Database, app_id: str | None = None) -> Report:
        """Check what the database holds, of one app or of all, as of one moment.

        Raises:
            AuditChainBroken: the checkpoint file cannot be read.
        """
        checkpoints = self._checkpoints.read()  # before the snapshot: a checkpoint never names what is not there yet
        verification = Verification(checkpoints, self._is_signed, mac_key=self._mac_key, app_id=app_id)
        async with database.system("audit_verify") as uow:
            await uow.execute("set transaction isolation level repeatable read")
            async for entry in store.iterate_entries(uow, app_id):
                verification.add(entry)
            heads = await store.list_heads(uow)
        return verification.finish([head for head in heads if app_id in (None, head.app_id)])

    def verify_export(self, path: Path, app_id: str | None = None) -> Report:
        """Check an export file.

        Raises:
            AuditChainBroken: it, or the checkpoint file, cannot be read.
        """
        return verify(
            _read_export(path), self._checkpoints.read(), self._is_signed, mac_key=self._mac_key, app_id=app_id
        )

    def _is_signed(self, payload: bytes, signature: bytes) -> bool:
        return verify_transport(self._public_key, "audit_checkpoint", payload, signature)


async def export_entries(database: Database, path: Path, app_id: str | None = None) -> int:
    """Write all entries, of one app or of all, as JSON lines; returns their number."""
    count = 0
    async with database.system("audit_export") as uow:
        await uow.execute("set transaction isolation level repeatable read")
        with path.open("w") as file:
            async for entry in store.iterate_entries(uow, app_id):
                file.write(json.dumps(_wire(entry), separators=(",", ":")) + "\n")
                count += 1
    return count


def _wire(entry: Entry) -> dict[str, object]:
    return {
        "app_id": entry.app_id,
        "shard": entry.shard,
        "seq": entry.seq,
        "prev_hash": entry.prev_hash.hex(),
        "entry_hash": entry.entry_hash.hex(),
        "mac": entry.mac.hex(),
        "record": entry.record,
    }


def _read_export(path: Path) -> Iterator[Entry]:
    with path.open() as file:
        for number, line in enumerate(file, start=1):
            try:
                members = json.loads(line)
                yield Entry(
                    app_id=str(members["app_id"]),
                    shard=int(members["shard"]),
                    seq=int(members["seq"]),
                    prev_hash=bytes.fromhex(members["prev_hash"]),
                    entry_hash=bytes.fromhex(members["entry_hash"]),
                    mac=bytes.fromhex(members["mac"]),
                    record=str(members["record"]),
                )
            except (ValueError, KeyError, TypeError) as error:
                raise AuditChainBroken(f"line {number} of {path.name} is not an audit entry") from error
