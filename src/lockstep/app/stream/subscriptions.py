"""Subscriptions, and the index that finds those that an event is for without looking at the others."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from lockstep.app.stream.topics import ID, Filter, Topic, values_of
from lockstep.kit.ids import AppId

if TYPE_CHECKING:
    from lockstep.app.stream.connection import Connection


class Encoded:
    """An event, written as JSON once for all who get it."""

    __slots__ = ("head", "seq")

    def __init__(self, seq: int, head: str) -> None:
        self.seq = seq
        self.head = head
        """The JSON object without its closing brace."""


class Subscription:
    """One subscription of one connection."""

    __slots__ = (
        "app_id",
        "connection",
        "floor",
        "held",
        "id",
        "last_seq",
        "rest",
        "suffix",
        "topic",
        "types",
        "wanted",
    )

    def __init__(
        self,
        connection: Connection,
        subscription_id: str,
        topic: Topic,
        app_id: AppId | None,
        wanted: Filter,
        types: frozenset[str] | None,
    ) -> None:
        self.connection = connection
        self.id = subscription_id
        self.topic = topic
        self.app_id = app_id
        self.wanted = wanted
        self.types = types
        """None: every durable type."""
        self.rest: tuple[tuple[str, frozenset[str]], ...] = ()
        """Conditions that the index did not check."""
        self.floor = 0
        """Events up to this sequence are in the snapshot, or were sent when resuming."""
        self.last_seq = 0
        """Sequence of the last event sent, or of the state that the client began with."""
        self.held: list[Encoded] | None = []
        """Events that arrive while the snapshot is read; None once the subscription is live."""
        self.suffix = f',"sub":"{subscription_id}"'

    def wants(self, event_type: str, object_id: str, data: Mapping[str, Any]) -> bool:
        """Whether an event that the index found matches the other conditions."""
        if self.types is None:
            if event_type in self.topic.ephemeral:
                return False
        elif event_type not in self.types:
            return False
        return all(not values.isdisjoint(values_of(member, object_id, data)) for member, values in self.rest)

    def matches(self, event_type: str, object_id: str, data: Mapping[str, Any]) -> bool:
        """Whether an event matches all conditions, without the index."""
        if not self.wants(event_type, object_id, data):
            return False
        return all(not values.isdisjoint(values_of(member, object_id, data)) for member, values in self.wanted.items())

    def deliver(self, event: Encoded) -> None:
        """Send a durable event, or hold it until the subscription is live."""
        if self.held is not None:
            self.held.append(event)
            if len(self.held) > self.connection.max_frames:
                self.connection.cut_slow()
        elif event.seq > self.floor:
            frame = f'{event.head}{self.suffix},"prev_seq":{self.last_seq}}}'
            self.last_seq = event.seq
            self.connection.push(frame)

    def go_live(self) -> None:
        """Send what was held, and everything from now on at once."""
        held, self.held = self.held or [], None
        for event in held:
            self.deliver(event)


class Index:
    """The subscriptions of one topic and app, by one member of their filter."""

    __slots__ = ("_by_member", "_everything")

    def __init__(self) -> None:
        self._everything: set[Subscription] = set()
        self._by_member: dict[str, dict[str, set[Subscription]]] = {}

    def add(self, subscription: Subscription) -> None:
        member = _sharpest(subscription.wanted)
        subscription.rest = tuple((name, values) for name, values in subscription.wanted.items() if name != member)
        if member is None:
            self._everything.add(subscription)
            return
        places = self._by_member.setdefault(member, {})
        for value in subscription.wanted[member]:
            places.setdefault(value, set()).add(subscription)

    def remove(self, subscription: Subscription) -> None:
        member = _sharpest(subscription.wanted)
        if member is None:
            self._everything.discard(subscription)
            return
        places = self._by_member.get(member, {})
        for value in subscription.wanted[member]:
            here = places.get(value)
            if here is not None:
                here.discard(subscription)
                if not here:
                    del places[value]
        if not places:
            self._by_member.pop(member, None)

    def find(self, event_type: str, object_id: str, data: Mapping[str, Any]) -> list[Subscription]:
        """The subscriptions that an event is for."""
        found: Iterable[Subscription] = self._everything
        if self._by_member:
            found = dict.fromkeys(self._everything)
            for member, places in self._by_member.items():
                for value in values_of(member, object_id, data):
                    found.update(dict.fromkeys(places.get(value, ())))
        return [each for each in found if each.wants(event_type, object_id, data)]

    @property
    def is_empty(self) -> bool:
        return not self._everything and not self._by_member


def _sharpest(wanted: Filter) -> str | None:
    """The member to index by: the object's id if there is one, else the one with the fewest values."""
    if not wanted:
        return None
    return ID if ID in wanted else min(wanted, key=lambda member: (len(wanted[member]), member))
