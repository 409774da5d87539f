"""Apps, their secrets and the issuers that they trust."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from ipaddress import IPv4Network, IPv6Network
from typing import Any, Literal

from lockstep.kit.ids import AppId


@dataclass(frozen=True, slots=True, kw_only=True)
class Issuer:
    """An issuer of user tokens. Its public keys come from exactly one of `jwks`, `jwks_url` and `jwks_file`."""

    issuer: str
    """The ``iss`` of its tokens, compared exactly."""
    audience: str
    """The ``aud`` that must be among those of a token."""
    jwks: Mapping[str, Any] | None = None
    jwks_url: str | None = None
    """https, or http on the loopback interface."""
    jwks_file: str | None = None
    """A file of the host; set by operators only, never through the API."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AppTerms:
    """On what terms an app and its users call; administrators set them."""

    allowed_networks: tuple[IPv4Network | IPv6Network, ...] = ()
    """Where the app's secrets may be used; none: everywhere."""
    accounts: Literal["off", "closed", "open"] = "off"
    """Accounts with passwords; closed: the app makes them, open: anybody may register."""
    access_token_seconds: int = 900
    login_seconds: int = 30 * 86_400
    """Life of a login of an account, over all its refreshed tokens."""
    login_history_days: int = 30
    """How long ended logins are kept."""


@dataclass(frozen=True, slots=True, kw_only=True)
class App:
    """A product that uses this deployment."""

    id: AppId
    name: str
    status: Literal["active", "suspended"]
    issuers: tuple[Issuer, ...]
    terms: AppTerms = field(default_factory=AppTerms)
    created_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class AppSecret:
    """What is known of a secret after it was shown."""

    id: str
    app_id: AppId
    prefix: str
    status: Literal["active", "revoked", "expired"]
    created_at: datetime
    last_used_at: datetime | None
    expires_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class NewSecret:
    """A secret at the one moment at which it can be shown."""

    id: str
    text: str = field(repr=False)
    expires_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class WalletLogin:
    """A login of somebody with an own key."""

    token: str = field(repr=False)
    address: str
    expires_at: datetime
