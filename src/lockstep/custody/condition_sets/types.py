"""The nouns of condition sets."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from lockstep.custody.policy import SetType
from lockstep.kit.ids import AppId, UserId

MAX_ITEMS: Final = 100_000
"""Items of one set."""
MAX_ITEMS_AT_ONCE: Final = 100
"""Items of one request."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ConditionSet:
    """A list that policies look values up in."""

    id: str
    app_id: AppId
    name: str
    description: str | None
    value_type: SetType
    owner_user_id: UserId | None
    """Only this user may change it; None: the app may."""
    revision: int
    """Counts the changes of its items."""
    item_count: int
    content_hash: bytes
    """See `content_hash`."""
    created_at: datetime
    updated_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class ConditionSetItem:
    """One item of a set."""

    id: str
    set_id: str
    value: str
    """The form that is compared."""
    original: str
    """As it was written."""
    created_at: datetime


def content_hash(value_type: SetType, values: Iterable[str]) -> bytes:
    """What names a set's content in the audit log: SHA-256 over its type, a line feed, and the SHA-256 of each value in
    the order of their UTF-8 bytes. 32 bytes. The store computes the same where the items are."""
    digests = [hashlib.sha256(value).digest() for value in sorted(value.encode() for value in values)]
    return hashlib.sha256(f"{value_type}\n".encode() + b"".join(digests)).digest()
