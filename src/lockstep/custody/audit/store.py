"""SQL of the audit log."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence

from lockstep.custody.audit.types import Entry, Head
from lockstep.kit.database import Row, UnitOfWork

_LOCK = """
select h.app_id, h.shard, h.seq, h.entry_hash
from audit_heads h join unnest(%b::text[], %b::smallint[]) as wanted (app_id, shard) using (app_id, shard)
order by h.app_id, h.shard for update of h
"""

# Arrays go in binary form (%b): the text form of an array escapes every quote of every record.
_APPEND = """
with added as (
    insert into audit_entries (app_id, shard, seq, prev_hash, entry_hash, mac, record)
    select * from unnest(%b::text[], %b::smallint[], %b::bigint[], %b::bytea[], %b::bytea[], %b::bytea[], %b::text[])
)
update audit_heads h set seq = n.seq, entry_hash = n.entry_hash
from unnest(%b::text[], %b::smallint[], %b::bigint[], %b::bytea[]) as n (app_id, shard, seq, entry_hash)
where h.app_id = n.app_id and h.shard = n.shard
"""


async def lock_heads(uow: UnitOfWork, chains: Sequence[tuple[str, int]]) -> list[Head]:
    """Lock the heads of these chains in the order of (app, shard), making those that do not exist yet."""
    params = ([app_id for app_id, _ in chains], [shard for _, shard in chains])
    rows = await uow.fetch(_LOCK, params)
    if len(rows) < len(chains):
        await uow.execute(
            "insert into audit_heads (app_id, shard, seq, entry_hash)"
            " select app_id, shard, 0, decode(repeat('00', 32), 'hex')"
            " from unnest(%b::text[], %b::smallint[]) as wanted (app_id, shard) order by app_id, shard"
            " on conflict (app_id, shard) do nothing",
            params,
        )
        rows = await uow.fetch(_LOCK, params)
    return [_head(row) for row in rows]


async def append_entries(uow: UnitOfWork, entries: Sequence[Entry], heads: Sequence[Head]) -> None:
    """Write entries and the heads that they lead to, in one statement."""
    await uow.execute(
        _APPEND,
        (
            [entry.app_id for entry in entries],
            [entry.shard for entry in entries],
            [entry.seq for entry in entries],
            [entry.prev_hash for entry in entries],
            [entry.entry_hash for entry in entries],
            [entry.mac for entry in entries],
            [entry.record for entry in entries],
            [head.app_id for head in heads],
            [head.shard for head in heads],
            [head.seq for head in heads],
            [head.entry_hash for head in heads],
        ),
    )


async def list_heads(uow: UnitOfWork) -> list[Head]:
    """Heads of all chains that have entries."""
    rows = await uow.fetch(
        "select app_id, shard, seq, entry_hash from audit_heads where seq > 0 order by app_id, shard"
    )
    return [_head(row) for row in rows]


async def list_forgotten(uow: UnitOfWork, heads: Sequence[Head]) -> list[Head]:
    """Those of the heads, as they were once, whose entries are not there, or are others."""
    rows = await uow.fetch(
        "select q.app_id, q.shard, q.seq, q.entry_hash"
        " from unnest(%b::text[], %b::smallint[], %b::bigint[], %b::bytea[]) as q (app_id, shard, seq, entry_hash)"
        " left join audit_entries e on e.app_id = q.app_id and e.shard = q.shard and e.seq = q.seq"
        " where e.entry_hash is distinct from q.entry_hash order by q.app_id, q.shard",
        (
            [head.app_id for head in heads],
            [head.shard for head in heads],
            [head.seq for head in heads],
            [head.entry_hash for head in heads],
        ),
    )
    return [_head(row) for row in rows]


async def iterate_entries(uow: UnitOfWork, app_id: str | None, batch: int = 5_000) -> AsyncIterator[Entry]:
    """All entries in the order of (app, shard, seq), read in batches; of one app or of all."""
    after: tuple[str, int, int] = ("", 0, 0)
    while True:
        rows = await uow.fetch(
            "select app_id, shard, seq, prev_hash, entry_hash, mac, record from audit_entries"
            " where (app_id, shard, seq) > (%s, %s, %s) and (%s::text is null or app_id = %s)"
            " order by app_id, shard, seq limit %s",
            (*after, app_id, app_id, batch),
        )
        for row in rows:
            yield _entry(row)
        if len(rows) < batch:
            return
        after = (rows[-1]["app_id"], rows[-1]["shard"], rows[-1]["seq"])


async def list_entries(
    uow: UnitOfWork, app_id: str, resource: str | None, before: tuple[int, int] | None, limit: int
) -> list[Entry]:
    """Entries of an app, newest number first within all chains; `before` is (seq, shard) of the last one seen."""
    rows = await uow.fetch(
        "select app_id, shard, seq, prev_hash, entry_hash, mac, record from audit_entries"
        " where app_id = %s and (%s::text is null or resource = %s)"
        " and (%s::bigint is null or (seq, shard) < (%s, %s)) order by seq desc, shard desc limit %s",
        (app_id, resource, resource, *((before[0], *before) if before else (None, None, None)), limit),
    )
    return [_entry(row) for row in rows]


def _head(row: Row) -> Head:
    return Head(app_id=row["app_id"], shard=row["shard"], seq=row["seq"], entry_hash=bytes(row["entry_hash"]))


def _entry(row: Row) -> Entry:
    return Entry(
        app_id=row["app_id"],
        shard=row["shard"],
        seq=row["seq"],
        prev_hash=bytes(row["prev_hash"]),
        entry_hash=bytes(row["entry_hash"]),
        mac=bytes(row["mac"]),
        record=row["record"],
    )
