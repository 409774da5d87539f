"""The fan-out of one API process: finds who wants an event, writes it as JSON once, hands it to their queues.

Subscribing reads the state after the subscription is in the index, so that nothing falls between snapshot and events:
events that the snapshot already holds are recognised by their sequence. Does not read sockets.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any, Final

from prometheus_client import Counter, Gauge

from lockstep.app.stream.connection import Connection
from lockstep.app.stream.errors import SubscriptionExists, SubscriptionUnknown, TooManySubscriptions
from lockstep.app.stream.subscriptions import Encoded, Index, Subscription
from lockstep.app.stream.topics import Filter, Topic, Topics
from lockstep.kit.clock import Clock, rfc3339
from lockstep.kit.database import Database, UnitOfWork
from lockstep.kit.ids import AppId
from lockstep.kit.outbox import Envelope, head_seq, read_topic

MAX_SUBSCRIPTIONS: Final = 100
MAX_RESUMED: Final = 10_000
"""Most events that are sent again to a client that resumes; one that missed more begins with a snapshot."""
SNAPSHOT_LIMIT: Final = 200
READERS: Final = 4
"""Subscriptions that read the database at the same time: when every client of a lost process comes back at once, they
wait for one another here and not for connections that requests need."""

_connections = Gauge("lockstep_stream_connections", "Open connections of the stream")
_cut = Counter("lockstep_stream_cut", "Connections that were ended by the server", ["code"])


def write(frame: Mapping[str, object]) -> str:
    """A frame as JSON."""
    return json.dumps(frame, separators=(",", ":"), ensure_ascii=False)


class Hub:
    """All connections of this process and what they follow."""

    def __init__(self, database: Database, topics: Topics, clock: Clock) -> None:
        self._database = database
        self._topics = topics
        self._clock = clock
        self._indexes: dict[tuple[str, AppId | None], Index] = {}
        self._heads: dict[tuple[str, AppId | None], int] = {}
        self._connections: set[Connection] = set()
        self._asked: dict[tuple[str, str, AppId | None], int] = {}
        self._turns = asyncio.Semaphore(READERS)
        self.is_live = False
        """Whether the tail of the outbox is being read at the moment."""

    # --- connections ---------------------------------------------------------------------------------------------

    def open(self, connection: Connection) -> None:
        """Take a connection in."""
        self._connections.add(connection)
        _connections.set(len(self._connections))

    def close(self, connection: Connection, code: int) -> None:
        """Forget a connection and its subscriptions."""
        for subscription in list(connection.subscriptions.values()):
            self._remove(subscription)
        self._connections.discard(connection)
        _connections.set(len(self._connections))
        if code >= 4000:
            _cut.labels(str(code)).inc()

    def close_all(self, code: int, reason: str) -> None:
        """End every connection, because this process stops."""
        for connection in list(self._connections):
            connection.end(code, reason)

    @property
    def connections(self) -> frozenset[Connection]:
        return frozenset(self._connections)

    def heartbeat(self, connection: Connection) -> None:
        """Tell a client the server's time, and up to which sequence each of its subscriptions is."""
        seqs = {
            each.id: max(each.last_seq, self._heads.get((each.topic.name, each.app_id), 0))
            for each in connection.subscriptions.values()
            if each.held is None
        }
        connection.push(
            write({"type": "heartbeat", "time": rfc3339(self._clock.now()), "live": self.is_live, "seqs": seqs})
        )

    # --- subscriptions -------------------------------------------------------------------------------------------

    async def subscribe(
        self,
        connection: Connection,
        *,
        subscription_id: str,
        topic: Topic,
        wanted: Filter,
        types: frozenset[str] | None,
        resume_from: int | None,
        with_snapshot: bool,
    ) -> None:
        """Follow a topic: `subscribed` with a snapshot, or the missed events and, if some are lost, `gap` and a snapshot.

        Raises:
            SubscriptionExists, TooManySubscriptions: of this connection.
            CredentialsMissing, CallerNotAllowed, CallerHasNoApp: the topic is not for this caller.
            Retry: the database cannot be read; nothing is subscribed.
        """
        if subscription_id in connection.subscriptions:
            raise SubscriptionExists
        if len(connection.subscriptions) >= MAX_SUBSCRIPTIONS:
            raise TooManySubscriptions(f"at most {MAX_SUBSCRIPTIONS} subscriptions per connection")
        app_id, wanted = await self._topics.admit(topic, connection.principal, wanted)
        subscription = Subscription(connection, subscription_id, topic, app_id, wanted, types)
        self._add(subscription)
        try:
            if resume_from is None or not await self._resume(subscription, resume_from):
                await self._begin(subscription, with_snapshot)
        except BaseException:
            self._remove(subscription)
            raise
        subscription.go_live()

    def unsubscribe(self, connection: Connection, subscription_id: str) -> None:
        """
        Raises:
            SubscriptionUnknown: there is none with this id.
        """
        subscription = connection.subscriptions.get(subscription_id)
        if subscription is None:
            raise SubscriptionUnknown
        self._remove(subscription)
        connection.push(write({"type": "unsubscribed", "sub": subscription_id}))

    @asynccontextmanager
    async def _reading(self, app_id: AppId | None) -> AsyncIterator[UnitOfWork]:
        """A turn at the database; nobody may wait for a client in it."""
        async with (
            self._turns,
            self._database.system("stream") if app_id is None else self._database.tenant(app_id) as uow,
        ):
            yield uow

    async def _begin(self, subscription: Subscription, with_snapshot: bool) -> None:
        """Send `subscribed` with the state at a sequence; the state may be younger than that, never older."""
        topic, app_id = subscription.topic, subscription.app_id
        async with self._reading(app_id) as uow:
            seq = await head_seq(uow, topic.name, app_id)
            found = None
            if with_snapshot and topic.snapshot is not None:
                found = await topic.snapshot(uow, app_id, subscription.wanted, SNAPSHOT_LIMIT + 1)
        frame: dict[str, object] = {
            "type": "subscribed",
            "sub": subscription.id,
            "topic": topic.name,
            "as_of_seq": seq,
            "resumed": False,
            "time": rfc3339(self._clock.now()),
        }
        if found is not None:
            frame["snapshot"] = found[:SNAPSHOT_LIMIT]
            frame["snapshot_complete"] = len(found) <= SNAPSHOT_LIMIT
        subscription.floor = subscription.last_seq = seq
        subscription.connection.push(write(frame))

    async def _resume(self, subscription: Subscription, after: int) -> bool:
        """Send what was missed since a sequence; False, after a `gap` frame, when that is not possible."""
        topic, app_id, connection = subscription.topic, subscription.app_id, subscription.connection
        async with self._reading(app_id) as uow:
            head = await head_seq(uow, topic.name, app_id)
            first = await read_topic(uow, topic.name, app_id, after, 1) if after < head else []
        reason = None
        if after > head:
            reason = "ahead_of_stream"
        elif head - after > MAX_RESUMED:
            reason = "too_far_behind"
        elif first and first[0].seq != after + 1:
            reason = "no_longer_kept"
        if reason is not None:
            gap = {"type": "gap", "sub": subscription.id, "topic": topic.name, "after": after, "head": head}
            connection.push(write({**gap, "reason": reason}))
            return False
        subscribed = {"type": "subscribed", "sub": subscription.id, "topic": topic.name, "as_of_seq": after}
        connection.push(write({**subscribed, "resumed": True, "time": rfc3339(self._clock.now())}))
        subscription.last_seq = seq = after
        while seq < head and not connection.has_ended:
            await connection.has_room()
            async with self._reading(app_id) as uow:
                batch = await read_topic(uow, topic.name, app_id, seq, 500)
            if not batch:
                break
            for envelope in batch:
                seq = envelope.seq
                if subscription.matches(envelope.type, envelope.id, envelope.data):
                    connection.push(
                        f'{write(envelope.wire())[:-1]}{subscription.suffix},"prev_seq":{subscription.last_seq}}}'
                    )
                    subscription.last_seq = seq
        subscription.floor = max(seq, head)
        return True

    def _add(self, subscription: Subscription) -> None:
        key = (subscription.topic.name, subscription.app_id)
        self._indexes.setdefault(key, Index()).add(subscription)
        subscription.connection.subscriptions[subscription.id] = subscription
        for name in subscription.types or ():
            asked = (subscription.topic.name, name, subscription.app_id)
            self._asked[asked] = self._asked.get(asked, 0) + 1

    def _remove(self, subscription: Subscription) -> None:
        if subscription.connection.subscriptions.pop(subscription.id, None) is None:
            return
        key = (subscription.topic.name, subscription.app_id)
        index = self._indexes[key]
        index.remove(subscription)
        if index.is_empty:
            del self._indexes[key]
        for name in subscription.types or ():
            asked = (subscription.topic.name, name, subscription.app_id)
            self._asked[asked] -= 1
            if not self._asked[asked]:
                del self._asked[asked]

    # --- events --------------------------------------------------------------------------------------------------

    def dispatch(self, envelope: Envelope) -> None:
        """Hand a published event to its subscribers."""
        key = (envelope.topic, envelope.app_id)
        self._heads[key] = envelope.seq
        index = self._indexes.get(key)
        if index is None:
            return
        found = index.find(envelope.type, envelope.id, envelope.data)
        if found:
            event = Encoded(envelope.seq, write(envelope.wire())[:-1])
            for subscription in found:
                subscription.deliver(event)

    def is_wanted(self, topic: str, event_type: str, app_id: AppId | None = None) -> bool:
        """Whether anybody asked for an ephemeral type; publishers need not compute it otherwise."""
        return (topic, event_type, app_id) in self._asked

    def publish_ephemeral(
        self,
        *,
        topic: str,
        type: str,  # noqa: A002  # the name of the member on the wire
        object_id: str,
        data: Mapping[str, Any],
        as_of: datetime,
        app_id: AppId | None = None,
    ) -> None:
        """Tell those who asked about something that has no sequence and is worthless later, like a price.

        Args:
            data: what is told; must carry the members that the topic is filtered by, or filtered subscribers miss it.
            as_of: the moment that it holds for.
        """
        index = self._indexes.get((topic, app_id))
        found = index.find(type, object_id, data) if index is not None else []
        if not found:
            return
        head = write({"topic": topic, "type": type, "id": object_id, "as_of": rfc3339(as_of), "data": data})[:-1]
        for subscription in found:
            if subscription.held is None:
                key = (subscription.id, type, object_id)
                subscription.connection.push_latest(key, f"{head}{subscription.suffix}}}")
