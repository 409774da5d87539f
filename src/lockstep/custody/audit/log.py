"""Appending to the audit log in the business transaction: collected while it runs, written as its last work.

The head of a chain is a contended row. Locked by every append at once, it would order whole business transactions one
behind the other, and two of them that touch two wallets each could wait for each other. So appends are collected on
the unit of work; before it commits, all heads are locked in one order and all entries written in one statement. If
that fails, the business transaction fails with it: nothing happens without its entry.
"""

from __future__ import annotations

from weakref import WeakKeyDictionary

from lockstep.custody.audit import store
from lockstep.custody.audit.rules import entry_hash, entry_mac, shard_of
from lockstep.custody.audit.types import AuditEvent, Entry, Head
from lockstep.kit.canonical import canonical
from lockstep.kit.clock import Clock, rfc3339
from lockstep.kit.database import UnitOfWork


class AuditLog:
    """Appends entries; knows the key of their codes."""

    def __init__(self, mac_key: bytes, clock: Clock) -> None:
        if len(mac_key) != 32:
            raise ValueError(f"expected an audit key of 32 bytes, was {len(mac_key)}")
        self._mac_key = mac_key
        self._clock = clock
        self._pending: WeakKeyDictionary[UnitOfWork, list[tuple[str, AuditEvent]]] = WeakKeyDictionary()

    def append(self, uow: UnitOfWork, *events: AuditEvent) -> None:
        """Have these written with the transaction: in this order within a chain, and all or none of them."""
        pending = self._pending.get(uow)
        if pending is None:
            pending = self._pending[uow] = []
        now = rfc3339(self._clock.now())
        for event in events:
            if uow.app_id is not None and event.app_id != uow.app_id:
                raise ValueError("an audit event of another tenant")
            pending.append((now, event))
        uow.before_commit(self, self._write)

    async def _write(self, uow: UnitOfWork) -> None:
        pending = self._pending.pop(uow, [])
        chains = sorted({(event.app_id, shard_of(event.subject)) for _, event in pending})
        heads = {(head.app_id, head.shard): head for head in await store.lock_heads(uow, chains)}
        entries: list[Entry] = []
        for time, event in pending:
            chain = (event.app_id, shard_of(event.subject))
            entry = self._link(heads[chain], event, time)
            entries.append(entry)
            heads[chain] = Head(app_id=entry.app_id, shard=entry.shard, seq=entry.seq, entry_hash=entry.entry_hash)
        await store.append_entries(uow, entries, list(heads.values()))

    def _link(self, head: Head, event: AuditEvent, time: str) -> Entry:
        record = {
            **event.facts,
            "app_id": event.app_id,
            "shard": head.shard,
            "seq": head.seq + 1,
            "time": time,
            "actor": event.actor,
            "action": event.action,
            "resource": event.resource,
            "result": event.result,
        }
        if event.correlation_id is not None:
            record["correlation_id"] = event.correlation_id
        text = canonical(record)
        digest = entry_hash(head.entry_hash, text)
        return Entry(
            app_id=event.app_id,
            shard=head.shard,
            seq=head.seq + 1,
            prev_hash=head.entry_hash,
            entry_hash=digest,
            mac=entry_mac(self._mac_key, digest),
            record=text.decode(),
        )
