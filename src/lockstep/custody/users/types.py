"""The nouns of users."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from lockstep.custody.types import Role
from lockstep.kit.ids import AppId, UserId


@dataclass(frozen=True, slots=True, kw_only=True)
class User:
    """Somebody who uses an app."""

    id: UserId
    app_id: AppId
    issuer: str
    """Who vouches for the user: ``iss`` of its tokens."""
    subject: str
    """Its name with the issuer: ``sub`` of its tokens."""
    role: Role
    status: Literal["active", "disabled"]
    created_at: datetime
