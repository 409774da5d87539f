"""SQL of the ledger: counters, and what decisions use of them.

A counter's row lock orders whoever uses it. Two statements lock and read, for a statement does not see what was committed
while it waited for a lock. Order of locks: transactions, idempotency keys, counters (by their keys), uses, nonces, audit heads.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

from lockstep.kit.database import Row, UnitOfWork
from lockstep.kit.money import from_numeric

_LOCK = """
select c.id from limit_counters c
join unnest(%b::text[], %b::text[]) as q (limit_id, group_key) using (limit_id, group_key)
where c.app_id = %s order by c.limit_id, c.group_key for update of c
"""

_READ = """
select c.*,
    (select coalesce(jsonb_agg(jsonb_build_array(u.decision_id, u.amount::text, u.used_at, encode(u.code, 'hex'))), '[]')
     from limit_uses u where u.app_id = c.app_id and u.counter_id = c.id and u.state <> 'released'
     and u.used_at > c.counted_after and u.used_at <= q.edge) as leaving,
    (select jsonb_build_array(u.decision_id, u.amount::text, u.used_at, encode(u.code, 'hex'))
     from limit_uses u where u.app_id = c.app_id and u.decision_id = %s and u.counter_id = c.id
     and u.state <> 'released') as own
from limit_counters c
join unnest(%b::text[], %b::text[], %s::timestamptz[]) as q (limit_id, group_key, edge) using (limit_id, group_key)
where c.app_id = %s
"""
"""The sum moves on with the window: what has left it since the last look is taken off."""

_MAKE = """
insert into limit_counters (app_id, limit_id, group_key, total, counted_after, written_at, code)
select %s, q.limit_id, q.group_key, 0, q.edge, %s, q.code
from unnest(%b::text[], %b::text[], %s::timestamptz[], %b::bytea[]) as q (limit_id, group_key, edge, code)
order by q.limit_id, q.group_key on conflict (app_id, limit_id, group_key) do nothing
"""

_WRITE_USES = """
insert into limit_uses as u (decision_id, counter_id, app_id, amount, state, used_at, dies_at, code)
select q.decision_id, q.counter_id, %s, q.amount, 'reserved', %s, q.dies_at, q.code
from unnest(%b::text[], %b::bigint[], %s::numeric[], %s::timestamptz[], %b::bytea[])
    as q (decision_id, counter_id, amount, dies_at, code)
on conflict (decision_id, counter_id) do update
set amount = excluded.amount, used_at = excluded.used_at, code = excluded.code
"""

_WRITE_COUNTERS = """
update limit_counters c set total = q.total, counted_after = q.counted_after, written_at = q.written_at, code = q.code
from unnest(%b::bigint[], %s::numeric[], %s::timestamptz[], %s::timestamptz[], %b::bytea[])
    as q (id, total, counted_after, written_at, code)
where c.id = q.id /* all tenants: numbers of counters are unique over all apps */
"""

_CONSUME = """
with held as (
    select decision_id, counter_id, state from limit_uses
    where decision_id = any(%s) /* all tenants: ids of decisions are unique over all apps */
    order by decision_id, counter_id for update
), spent as (
    update limit_uses u set state = 'consumed' from held h
    where u.decision_id = h.decision_id and u.counter_id = h.counter_id and h.state = 'reserved'
)
select distinct decision_id, state from held
"""

_LOCK_USED = """
select c.* from limit_counters c where c.id in (
    select u.counter_id from limit_uses u where u.decision_id = any(%s) and u.state = 'reserved')
order by c.app_id, c.limit_id, c.group_key for update /* all tenants: ids of decisions are unique over all apps */
"""

_RELEASE = """
update limit_uses set state = 'released'
where decision_id = any(%s) and counter_id = any(%s) and state = 'reserved' and (%s::timestamptz is null or dies_at <= %s)
returning decision_id, counter_id, amount, used_at, code /* all tenants: ids of decisions are unique over all apps */
"""

_DELETE_USES = """
delete from limit_uses u
where u.used_at < %s and u.state <> 'reserved' and (u.dies_at is not null or u.used_at < %s)
and not exists (select 1 from limit_counters c where c.id = u.counter_id and u.used_at > c.counted_after)
/* all tenants: forgets what is over */
"""


class CounterRow(NamedTuple):
    """A counter as it is stored."""

    id: int
    app_id: str
    limit_id: str
    group: str
    total: int
    counted_after: datetime | None
    written_at: datetime
    code: bytes


class UseRow(NamedTuple):
    """What a decision uses of a counter."""

    decision_id: str
    counter_id: int
    amount: int
    used_at: datetime
    code: bytes


class Found(NamedTuple):
    """A counter with what leaves its window now, and what the decision in question holds of it."""

    counter: CounterRow
    leaving: list[UseRow]
    own: UseRow | None


Keys = tuple[list[str], list[str]]
"""Limits and groups of counters, side by side."""


async def read_counters(
    uow: UnitOfWork, app_id: str, keys: Keys, edges: Sequence[datetime | None], *, own: str | None, lock: bool
) -> tuple[int, list[Found]]:
    """How many were locked, and those that there are, in one round trip. What was not locked may be read all the same: it
    was made in between, by somebody who uses it.

    Args:
        edges: starts of their windows.
        own: decision whose uses are told apart.
    """
    params = (own, *keys, list(edges), app_id)
    if not lock:
        return 0, [_found(row) for row in await uow.fetch(_READ, params)]
    async with uow.connection.pipeline():
        held = await uow.connection.execute(_LOCK, (*keys, app_id))
        read = await uow.connection.execute(_READ, params)
        rows = await read.fetchall()
        return held.rowcount, [_found(row) for row in rows]


async def make_counters(
    uow: UnitOfWork, app_id: str, keys: Keys, edges: Sequence[datetime | None], codes: Sequence[bytes], now: datetime
) -> None:
    """Make those that do not exist."""
    await uow.execute(_MAKE, (app_id, now, *keys, list(edges), list(codes)))


async def write(
    uow: UnitOfWork,
    app_id: str,
    uses: Sequence[tuple[UseRow, datetime | None]],
    counters: Sequence[CounterRow],
    now: datetime,
) -> None:
    """Write uses, each with the time when it dies, and counters whose rows are locked."""
    async with uow.connection.pipeline():
        await uow.execute(
            _WRITE_USES,
            (
                app_id,
                now,
                [use.decision_id for use, _ in uses],
                [use.counter_id for use, _ in uses],
                [str(use.amount) for use, _ in uses],
                [dies_at for _, dies_at in uses],
                [use.code for use, _ in uses],
            ),
        )
        await write_counters(uow, counters)


async def write_counters(uow: UnitOfWork, counters: Sequence[CounterRow]) -> None:
    """Write counters whose rows are locked."""
    await uow.execute(
        _WRITE_COUNTERS,
        (
            [counter.id for counter in counters],
            [str(counter.total) for counter in counters],
            [counter.counted_after for counter in counters],
            [counter.written_at for counter in counters],
            [counter.code for counter in counters],
        ),
    )


async def list_oldest(
    uow: UnitOfWork, app_id: str, counter_ids: Sequence[int], edges: Sequence[datetime | None]
) -> dict[int, datetime]:
    """When the oldest use after each edge was made, by counter; those without an edge are left out."""
    rows = await uow.fetch(
        "select u.counter_id, min(u.used_at) as used_at from limit_uses u"
        " join unnest(%b::bigint[], %s::timestamptz[]) as q (id, edge) on q.id = u.counter_id"
        " where u.app_id = %s and u.state <> 'released' and u.used_at > q.edge group by u.counter_id",
        (list(counter_ids), list(edges), app_id),
    )
    return {row["counter_id"]: row["used_at"] for row in rows}


async def list_held(uow: UnitOfWork, app_id: str, decision_id: str) -> list[UseRow]:
    """What a decision holds, locked."""
    rows = await uow.fetch(
        "select decision_id, counter_id, amount, used_at, code from limit_uses"
        " where app_id = %s and decision_id = %s and state <> 'released' order by counter_id for update",
        (app_id, decision_id),
    )
    return [_use(row) for row in rows]


async def rename_uses(uow: UnitOfWork, app_id: str, old: str, uses: Sequence[UseRow]) -> None:
    """Let another decision hold what this one holds."""
    await uow.execute_many(
        "update limit_uses set decision_id = %s, code = %s where app_id = %s and decision_id = %s and counter_id = %s",
        [(use.decision_id, use.code, app_id, old, use.counter_id) for use in uses],
    )


async def consume(uow: UnitOfWork, decision_ids: Sequence[str]) -> list[tuple[str, str]]:
    """Note that these are signed; returns the states of what they used before: (decision, state)."""
    rows = await uow.fetch(_CONSUME, (list(decision_ids),))
    return [(row["decision_id"], row["state"]) for row in rows]


async def lock_used(uow: UnitOfWork, decision_ids: Sequence[str]) -> list[CounterRow]:
    """The counters of which these decisions hold something, locked."""
    return [_counter(row) for row in await uow.fetch(_LOCK_USED, (list(decision_ids),))]


async def release(
    uow: UnitOfWork, decision_ids: Sequence[str], counter_ids: Sequence[int], dead_at: datetime | None
) -> list[UseRow]:
    """Release what these decisions hold of these counters and have not consumed; returns it.

    Args:
        dead_at: only what is dead by then.
    """
    rows = await uow.fetch(_RELEASE, (list(decision_ids), list(counter_ids), dead_at, dead_at))
    return [_use(row) for row in rows]


async def list_dead(uow: UnitOfWork, now: datetime, limit: int) -> list[str]:
    """Decisions that died before their signature."""
    rows = await uow.fetch(
        "select decision_id from limit_uses where state = 'reserved' and dies_at <= %s order by dies_at limit %s"
        " /* all tenants: gives back what has died */",
        (now, limit),
    )
    return list(dict.fromkeys(row["decision_id"] for row in rows))


async def delete_left(uow: UnitOfWork, before: datetime, sent_before: datetime) -> int:
    """Forget what left every window long ago: counters of windows that nobody looked at since, and uses that no sum has
    to take off any more. A transaction may be made dearer for long, and must find what it uses already."""
    counters = await uow.execute(
        "delete from limit_counters where counted_after is not null and written_at < %s"
        " /* all tenants: forgets what is over */",
        (before,),
    )
    return counters + await uow.execute(_DELETE_USES, (before, sent_before))


def _found(row: Row) -> Found:
    counter = _counter(row)
    own = row["own"]
    return Found(
        counter,
        [_listed(counter.id, entry) for entry in row["leaving"]],
        None if own is None else _listed(counter.id, own),
    )


def _listed(counter_id: int, entry: Sequence[str]) -> UseRow:
    decision_id, amount, used_at, code = entry
    return UseRow(decision_id, counter_id, int(amount), datetime.fromisoformat(used_at), bytes.fromhex(code))


def _counter(row: Row) -> CounterRow:
    return CounterRow(
        row["id"],
        row["app_id"],
        row["limit_id"],
        row["group_key"],
        from_numeric(row["total"]),
        row["counted_after"],
        row["written_at"],
        bytes(row["code"]),
    )


def _use(row: Row) -> UseRow:
    return UseRow(
        row["decision_id"], row["counter_id"], from_numeric(row["amount"]), row["used_at"], bytes(row["code"])
    )
