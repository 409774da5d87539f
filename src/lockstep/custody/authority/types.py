"""The nouns of authority: keys and quorums as rows, and an owner as the tree by which it is decided."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, Protocol

from lockstep.kit.ids import AppId

OwnerKind = Literal["authorization_key", "key_quorum"]


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnerKey:
    """An authorization key, as far as a signature is checked by it."""

    id: str
    public_key: bytes
    """DER of SubjectPublicKeyInfo."""
    revision: int
    is_active: bool

    @property
    def identity(self) -> str:
        """Key and revision in one word, for records of who authorised something."""
        return f"key:{self.id}#{self.revision}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Owner:
    """Who must authorise: so many of keys, users and quorums. A single key is one of one."""

    id: str
    kind: OwnerKind
    threshold: int
    keys: tuple[OwnerKey, ...]
    user_ids: tuple[str, ...] = ()
    disabled: frozenset[str] = frozenset()
    """Those of the users who are disabled: they count for nothing."""
    quorums: tuple[Owner, ...] = ()
    """They have none in them."""

    def all_keys(self) -> Iterator[OwnerKey]:
        """The keys of the whole tree."""
        yield from self.keys
        for quorum in self.quorums:
            yield from quorum.keys

    def all_users(self) -> Iterator[str]:
        """The users of the whole tree."""
        yield from self.user_ids
        for quorum in self.quorums:
            yield from quorum.user_ids


@dataclass(frozen=True, slots=True, kw_only=True)
class NewOwner:
    """To whom something is given; neither: to nobody, so that the app's secret is enough."""

    user_id: str | None = None
    owner_id: str | None = None
    """Id of an authorization key or a quorum."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnerColumns:
    """An owner as rows name it: at most one of the three."""

    user_id: str | None = None
    key_id: str | None = None
    quorum_id: str | None = None


class Proof(Protocol):
    """What a caller shows beside its credentials."""

    def covers(self, key: OwnerKey) -> bool:
        """Whether this key has authorised."""
        ...

    def covers_user(self, user_id: str, /) -> bool:
        """Whether this user has authorised, who may be another one than the caller."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Authorisation:
    """Whether an owner has authorised, and how far it got."""

    is_enough: bool
    needed: int
    given: int
    """Members of the owner that have authorised; quorums in it count once."""
    by: tuple[str, ...]
    """Identities of the keys and users that were counted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AuthorizationKeyRow:
    """An authorization key as its app sees it."""

    id: str
    app_id: AppId
    public_key: bytes
    display_name: str | None
    status: Literal["active", "revoked"]
    revision: int
    created_at: datetime
    rotated_at: datetime | None
    revoked_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyQuorum:
    """A quorum as its app sees it."""

    id: str
    app_id: AppId
    display_name: str | None
    threshold: int
    key_ids: tuple[str, ...]
    user_ids: tuple[str, ...]
    quorum_ids: tuple[str, ...]
    version: int
    created_at: datetime
    updated_at: datetime
