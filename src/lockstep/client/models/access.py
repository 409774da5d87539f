"""Apps, secrets, callers and logins; and whether a deployment can serve."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from lockstep.client.decoding import Model


@dataclass(frozen=True, kw_only=True)
class Issuer(Model):
    """An issuer of user tokens that an app trusts."""

    issuer: str
    audience: str
    jwks_url: str | None = None


@dataclass(frozen=True, kw_only=True)
class App(Model):
    """An app."""

    id: str
    name: str
    status: str
    issuers: tuple[Issuer, ...]
    allowed_networks: tuple[str, ...] = ()
    """Where its secrets may be used; none: everywhere."""
    accounts: str = "off"
    """Accounts with passwords: "off", "closed" (the app makes them) or "open" (anybody may register)."""
    access_token_seconds: int = 900
    login_seconds: int = 2_592_000
    login_history_days: int = 30
    created_at: datetime


@dataclass(frozen=True, kw_only=True)
class NewSecret:
    """A new app secret, which is shown only once."""

    id: str
    secret: str = field(repr=False)
    expires_at: datetime | None = None


@dataclass(frozen=True, kw_only=True)
class NewApp:
    """A new app with its first secret, which is shown only once."""

    app: App
    secret_id: str
    secret: str = field(repr=False)


@dataclass(frozen=True, kw_only=True)
class AppSecret(Model):
    """What is known of an app's secret."""

    id: str
    prefix: str
    status: str
    created_at: datetime
    last_used_at: datetime | None
    expires_at: datetime | None = None


@dataclass(frozen=True, kw_only=True)
class KillSwitch(Model):
    """A stop of signing that is in force: of an app, or of the whole deployment."""

    scope: str
    app_id: str | None
    reason: str
    engaged_by: str
    engaged_at: datetime


@dataclass(frozen=True, kw_only=True)
class Caller(Model):
    """Who the credentials stand for."""

    kind: str
    app_id: str | None = None
    user_id: str | None = None
    wallet_id: str | None = None
    session_id: str | None = None
    address: str | None = None
    role: str | None = None
    """Of a user in its app: "user", "operator" or "admin"."""


@dataclass(frozen=True, kw_only=True)
class User(Model):
    """A user of an app."""

    id: str
    issuer: str
    subject: str
    role: str
    status: str
    created_at: datetime


@dataclass(frozen=True, kw_only=True)
class Login:
    """A token for somebody who signed in with an own key; shown only once."""

    token: str = field(repr=False)
    address: str
    expires_at: datetime


@dataclass(frozen=True, kw_only=True)
class Tokens:
    """Tokens of an account; shown only once."""

    user_id: str
    access_token: str = field(repr=False)
    expires_at: datetime
    refresh_token: str = field(repr=False)
    """Good for one use; a second one ends the login."""
    refresh_expires_at: datetime


@dataclass(frozen=True, kw_only=True)
class Readiness(Model):
    """Whether a deployment can serve; each part with its state."""

    status: str
    parts: Mapping[str, Mapping[str, Any]]

    @property
    def is_ready(self) -> bool:
        return self.status == "ready"
