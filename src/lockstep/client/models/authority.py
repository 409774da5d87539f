"""Authorization keys and quorums."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from lockstep.client.decoding import Model


@dataclass(frozen=True, kw_only=True)
class RegisteredKey(Model):
    """An authorization key as the deployment knows it."""

    id: str
    algorithm: str
    public_key: str
    display_name: str | None
    status: str
    revision: int
    created_at: datetime
    rotated_at: datetime | None
    revoked_at: datetime | None


@dataclass(frozen=True, kw_only=True)
class KeyQuorum(Model):
    """A quorum of keys, users and other quorums."""

    id: str
    authorization_threshold: int
    authorization_key_ids: tuple[str, ...]
    user_ids: tuple[str, ...]
    key_quorum_ids: tuple[str, ...]
    display_name: str | None
    version: int
    created_at: datetime
    updated_at: datetime
