"""The nouns of accounts."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

from lockstep.custody.seals import Content, contents
from lockstep.kit.ids import AppId, UserId


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """What a password is compared with."""

    user_id: UserId
    name: str
    hash: str = field(repr=False)
    is_active: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Tokens:
    """What somebody who signed in gets; shown once."""

    user_id: UserId
    access: str = field(repr=False)
    access_expires_at: datetime
    refresh: str = field(repr=False)
    refresh_expires_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredRefresh:
    """What a refresh token stands for."""

    app_id: AppId
    user_id: UserId
    login_id: str
    access_token_seconds: int
    expires_at: datetime
    """End of the login."""
    token_ends_at: datetime
    seal: bytes | None
    is_used: bool
    is_open: bool
    """Whether its login has not ended, its user is active, and its app is active and has accounts."""

    def content(self) -> Content:
        """What is sealed of the token."""
        return contents.of_login_token(self.app_id, self.login_id, self.user_id, "refresh", self.token_ends_at)
