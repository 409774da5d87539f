"""Authorization keys and quorums."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

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


@dataclass(frozen=True, kw_only=True)
class Holder(Model):
    """A key or a user that has authorised an approval."""

    authorization_key_id: str | None
    user_id: str | None
    signed_at: datetime


@dataclass(frozen=True, kw_only=True)
class Approval(Model):
    """A request that waits for its owner, or did. Sign its payload: `AuthorizationKey.sign`."""

    id: str
    status: str
    method: str
    path: str
    body: Mapping[str, Any]
    payload: Mapping[str, Any]
    payload_digest: str
    needed: int | None
    given: int | None
    authorized_by: tuple[Holder, ...]
    reason_code: str | None
    response: Mapping[str, Any] | None
    version: int
    created_by: str
    created_at: datetime
    expires_at: datetime
    finished_at: datetime | None
