"""The one event stream: business transactions append, one leader publisher numbers what is committed.

``append`` writes a row without a number, so commits never wait for one another. The publisher gives committed rows two
numbers: ``seq``, gapless per (app, topic), which clients see and resume by; and ``position``, gapless over everything,
by which each API process tails the table. A late commit is numbered late, never skipped. NOTIFY only wakes readers up, and only the publisher sends it: a NOTIFY inside every
business transaction would make all commits of the database queue behind one lock.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from datetime import datetime

import psycopg
import structlog
from psycopg import AsyncConnection
from psycopg.rows import DictRow
from psycopg.types.json import Jsonb

from lockstep.kit.clock import pause, rfc3339
from lockstep.kit.database import Database, Row, UnitOfWork
from lockstep.kit.errors import Retry
from lockstep.kit.ids import AppId, CorrelationId

log = structlog.get_logger(__name__)

PUBLISHED = "lockstep_events"


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """A change of one object: ``data`` is its public representation after the change."""

    topic: str
    type: str
    object_id: str
    version: int
    data: dict[str, object]
    app_id: AppId | None
    """None: the topic is deployment-wide and public (the auction book)."""
    correlation_id: CorrelationId | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Envelope:
    """An event as readers see it."""

    topic: str
    seq: int
    type: str
    id: str
    version: int
    time: datetime
    app_id: AppId | None
    correlation_id: CorrelationId | None
    data: dict[str, object] = field(repr=False)
    position: int

    def wire(self) -> dict[str, object]:
        """The JSON form; `position` is internal."""
        return {
            "topic": self.topic,
            "seq": self.seq,
            "type": self.type,
            "id": self.id,
            "version": self.version,
            "time": rfc3339(self.time),
            "app_id": self.app_id,
            "correlation_id": self.correlation_id,
            "data": self.data,
        }


async def append(uow: UnitOfWork, *events: Event) -> None:
    """Write events in the business transaction that they describe, in this order and in one statement."""
    if not events:
        return
    for event in events:
        if uow.app_id is not None and event.app_id is not None and event.app_id != uow.app_id:
            raise ValueError("an event of another tenant")
    await uow.execute(
        "insert into outbox (topic, type, object_id, version, app_id, correlation_id, data)"
        " select topic, type, object_id, version, app_id, correlation_id, data from unnest(%b::text[], %b::text[],"
        " %b::text[], %b::bigint[], %b::text[], %b::text[], %b::jsonb[]) with ordinality"
        " as e (topic, type, object_id, version, app_id, correlation_id, data, n) order by n",
        (
            [event.topic for event in events],
            [event.type for event in events],
            [event.object_id for event in events],
            [event.version for event in events],
            [event.app_id for event in events],
            [event.correlation_id for event in events],
            [Jsonb(event.data) for event in events],
        ),
    )


_PROBE = "select exists (select from outbox where position is null) as waiting"
_PUBLISH = """
with waiting as (
    select id, topic, coalesce(app_id, '') as scope from outbox where position is null order by id limit %d
), numbered as (
    select id, topic, scope, row_number() over (order by id) as n,
           row_number() over (partition by topic, scope order by id) as k from waiting
), heads as (
    insert into outbox_heads as h (topic, scope, seq)
    select topic, scope, count(*) from waiting group by topic, scope
    on conflict (topic, scope) do update set seq = h.seq + excluded.seq
    returning h.topic, h.scope, h.seq
), sizes as (select topic, scope, count(*) as size from waiting group by topic, scope),
base as (
    insert into outbox_heads as h (topic, scope, seq) values ('*', '*', (select count(*) from waiting))
    on conflict (topic, scope) do update set seq = h.seq + excluded.seq
    returning h.seq - (select count(*) from waiting) as start
), published as (
    update outbox o set position = (select start from base) + n.n, seq = h.seq - s.size + n.k,
        published_at = clock_timestamp()
    from numbered n join heads h using (topic, scope) join sizes s using (topic, scope)
    where o.id = n.id returning 1
)
select count(*) as published, pg_notify('lockstep_events', '') from published
"""
_TAIL = "select * from outbox where position > %d order by position limit %d"


async def publish_batch(database: Database, limit: int = 1000) -> int:
    """Number up to `limit` committed rows and say so. Only the leader may call this, or a test without one."""
    async with database.connection() as connection:
        return await _publish(database, connection, limit)


async def _publish(database: Database, connection: AsyncConnection[DictRow], limit: int = 1000) -> int:
    (probe,) = await database.ask(connection, "publisher", _PROBE)
    if not probe["waiting"]:
        return 0
    (row,) = await database.ask(connection, "publisher", _PUBLISH, limit)
    return int(row["published"])


async def run_publisher(database: Database, stop: asyncio.Event) -> None:
    """Publish as long as this process is the leader; wait to become it otherwise. Ends when `stop` is set.

    Looks again after 1 ms while events flow, after 5 ms for half a second more, and every 50 ms when idle: one look is
    a single probe of a partial index. Numbers are durable before anybody is told of them, so while events flow the
    flush of one batch is what the next one waits for.
    """
    while not stop.is_set():
        try:
            async with database.leadership("publisher") as lead:
                idle = 0
                while lead is not None and not stop.is_set():
                    # On the connection that holds the lock: who has lost it cannot publish.
                    idle = 0 if await _publish(database, lead) > 0 else idle + 1
                    await pause(stop, 0.001 if idle == 0 else 0.005 if idle < 100 else 0.05)
            await pause(stop, 0.5)
        except (Retry, psycopg.Error) as error:
            log.warning("publisher_waits", reason=type(error).__name__)
            await pause(stop, 0.5)


async def read_after(uow: UnitOfWork, position: int, limit: int = 500) -> list[Envelope]:
    """Published events behind a position, in order; what a tenant unit of work may not see is not returned."""
    rows = await uow.fetch("select * from outbox where position > %s order by position limit %s", (position, limit))
    return [_envelope(row) for row in rows]


async def tail(
    database: Database, connection: AsyncConnection[DictRow], position: int, limit: int = 500
) -> list[Envelope]:
    """Published events of all apps behind a position, in order; one round trip on a connection of the caller."""
    return [_envelope(row) for row in await database.ask(connection, "stream", _TAIL, position, limit)]


async def read_topic(
    uow: UnitOfWork, topic: str, app_id: AppId | None, after_seq: int, limit: int = 500
) -> list[Envelope]:
    """Published events of one topic behind a sequence number, for a client that resumes."""
    rows = await uow.fetch(
        "select * from outbox where topic = %s and app_id is not distinct from %s and seq > %s order by seq limit %s",
        (topic, app_id, after_seq, limit),
    )
    return [_envelope(row) for row in rows]


async def head_position(uow: UnitOfWork) -> int:
    """Position of the newest published event; 0 before the first."""
    row = await uow.find("select seq from outbox_heads where topic = '*'")
    return int(row["seq"]) if row else 0


async def head_seq(uow: UnitOfWork, topic: str, app_id: AppId | None) -> int:
    """Sequence of the newest published event of a topic; 0 before the first."""
    row = await uow.find("select seq from outbox_heads where topic = %s and scope = %s", (topic, app_id or ""))
    return int(row["seq"]) if row else 0


def _envelope(row: Row) -> Envelope:
    return Envelope(
        topic=row["topic"],
        seq=row["seq"],
        type=row["type"],
        id=row["object_id"],
        version=row["version"],
        time=row["created_at"],
        app_id=row["app_id"],
        correlation_id=row["correlation_id"],
        data=row["data"],
        position=row["position"],
    )
