"""Aggregations, and limits as they stand."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from lockstep.client.decoding import Model


@dataclass(frozen=True, kw_only=True)
class Aggregation(Model):
    """What is counted over a rolling window; never changes."""

    id: str
    name: str
    method: str
    metric: Mapping[str, Any]
    window: Mapping[str, Any]
    conditions: tuple[Mapping[str, Any], ...]
    group_by: tuple[Mapping[str, Any], ...]
    created_at: datetime

    @property
    def reference(self) -> str:
        """The field by which conditions of policies name it (field source ``reference``)."""
        return f"aggregation.{self.id}"


@dataclass(frozen=True, kw_only=True)
class Limit(Model):
    """A limit that a request meets, as it stood before the request. Amounts in the smallest unit of what is counted."""

    limit: str
    """``aggregation.<id>``, or the cap of a session signer."""
    name: str
    policy_id: str | None
    rule_id: str | None
    """Rule that sets the maximum; None: the session signer does."""
    maximum: int
    used: int
    left: int
    asked: int | None
    """None: it cannot be told what the request asks for."""
    window_seconds: int | None
    """None: it is counted for good."""


@dataclass(frozen=True, kw_only=True)
class WalletLimit(Model):
    """A limit of a wallet as it stands now. Amounts in the smallest unit of what is counted."""

    limit: str
    name: str
    policy_id: str | None
    rule_id: str | None
    maximum: int
    used: int
    left: int
    window_seconds: int | None
    frees_at: datetime | None
    """When the oldest part leaves the window."""
