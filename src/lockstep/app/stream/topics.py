"""What can be subscribed to: topics, who may follow them, by what they are filtered, and their snapshots.

Modules describe their topics; the composition root registers them. Knows no connection.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal, Protocol

from lockstep.app.stream.errors import FilterInvalid, TopicUnknown
from lockstep.custody import CallerHasNoApp, CallerNotAllowed, CredentialsMissing, Principal
from lockstep.kit.database import UnitOfWork
from lockstep.kit.ids import AppId

ID: Final = "id"
"""The filter member that means the id of the object; every topic has it."""
MAX_VALUES: Final = 100

Filter = Mapping[str, frozenset[str]]
"""Member of the event's data → values that match, folded. All members must match."""


class Snapshot(Protocol):
    """Reads the objects that a new subscriber must know, newest first, as the `data` of their events."""

    async def __call__(
        self, uow: UnitOfWork, app_id: AppId | None, wanted: Filter, limit: int
    ) -> list[dict[str, Any]]: ...


OwnedWallets = Callable[[Principal], Awaitable[frozenset[str]]]
"""Ids of the wallets of a user."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Topic:
    """One topic of the stream."""

    name: str
    audience: Literal["public", "app"]
    """`app`: each app has a stream of its own, with its own sequence."""
    members: frozenset[str] = field(default_factory=frozenset)
    """Members of the events' data by which it can be filtered; a filter looks at the object after the change."""
    ephemeral: frozenset[str] = field(default_factory=frozenset)
    """Message types without a sequence, which only those get who ask for them by ``types``."""
    snapshot: Snapshot | None = None
    wallet_member: str | None = "wallet_id"
    """The member that ties an object to a wallet; None: users and sessions may not follow the topic."""


class Topics:
    """All topics, by name."""

    def __init__(self, topics: list[Topic], owned_wallets: OwnedWallets | None = None) -> None:
        self._topics = {topic.name: topic for topic in topics}
        self._owned_wallets = owned_wallets

    def get(self, name: object) -> Topic:
        """
        Raises:
            TopicUnknown: with the names that there are.
        """
        topic = self._topics.get(name) if isinstance(name, str) else None
        if topic is None:
            raise TopicUnknown(f"expected one of: {', '.join(sorted(self._topics))}", topics=sorted(self._topics))
        return topic

    async def admit(self, topic: Topic, principal: Principal | None, asked: Filter) -> tuple[AppId | None, Filter]:
        """Whose stream the caller gets, and the filter narrowed to what the caller may see.

        Raises:
            CredentialsMissing, CallerHasNoApp, CallerNotAllowed: the topic is not for this caller.
        """
        if topic.audience == "public":
            return None, asked
        if principal is None:
            raise CredentialsMissing(f"the topic {topic.name} needs credentials: in the headers or by authenticate")
        if principal.app_id is None:
            raise CallerHasNoApp(f"the topic {topic.name} belongs to apps")
        if principal.kind == "module" or principal.oversees_app:
            return principal.app_id, asked
        if topic.wallet_member is None:
            raise CallerNotAllowed(f"only the app may follow {topic.name}")
        if principal.kind == "session" and principal.wallet_id is not None:
            return principal.app_id, narrow(asked, topic.wallet_member, frozenset({principal.wallet_id}))
        if principal.kind == "user" and self._owned_wallets is not None:
            return principal.app_id, narrow(asked, topic.wallet_member, await self._owned_wallets(principal))
        raise CallerNotAllowed


def narrow(asked: Filter, member: str, values: frozenset[str]) -> Filter:
    """The filter with one more condition."""
    folded = frozenset(fold(value) for value in values)
    return {**asked, member: asked[member] & folded if member in asked else folded}


def read_filter(topic: Topic, raw: object) -> Filter:
    """The filter of a subscribe frame.

    Raises:
        FilterInvalid: a member that the topic has not, or values that are not texts, numbers or booleans.
    """
    if raw is None:
        return {}
    allowed = {ID, *topic.members}
    if not isinstance(raw, dict) or not raw.keys() <= allowed:
        raise FilterInvalid(f"expected an object with some of: {', '.join(sorted(allowed))}", members=sorted(allowed))
    wanted: dict[str, frozenset[str]] = {}
    for member, value in raw.items():
        values = value if isinstance(value, list) else [value]
        if not 1 <= len(values) <= MAX_VALUES or not all(isinstance(each, str | int | bool) for each in values):
            raise FilterInvalid(f"expected 1 to {MAX_VALUES} texts, numbers or booleans for {member}")
        wanted[member] = frozenset(fold(each) for each in values)
    return wanted


def fold(value: object) -> str:
    """How values are compared: addresses and other texts without regard to case, numbers as decimals."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value).lower()


def matches(wanted: Filter, object_id: str, data: Mapping[str, Any]) -> bool:
    """Whether an object meets every condition of a filter."""
    return all(
        any(value in values for value in values_of(member, object_id, data)) for member, values in wanted.items()
    )


def values_of(member: str, object_id: str, data: Mapping[str, Any]) -> tuple[str, ...]:
    """What an event has for a member of a filter; a list has all its entries."""
    value = object_id if member == ID else data.get(member)
    if value is None:
        return ()
    if isinstance(value, list | tuple):
        return tuple(fold(each) for each in value)
    return (fold(value),)
