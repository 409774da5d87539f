"""Condition sets and their items."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from lockstep.client.decoding import Model


@dataclass(frozen=True, kw_only=True)
class ConditionSet(Model):
    """A list that conditions of policies look values up in, without its items."""

    id: str
    name: str
    description: str | None
    value_type: str
    owner_user_id: str | None
    revision: int
    """Counts the changes of the items; decisions name it."""
    item_count: int
    content_sha256: str
    created_at: datetime
    updated_at: datetime


@dataclass(frozen=True, kw_only=True)
class ConditionSetItem(Model):
    """One item."""

    id: str
    condition_set_id: str
    value: str
    """As it was written."""
    canonical_value: str
    """The form that is compared."""
    created_at: datetime
