"""Who calls: turns credentials into headers. Keeps them out of every representation; sends nothing."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol


class Credentials(Protocol):
    """Something that can authenticate a call."""

    def headers(self) -> dict[str, str]:
        """Headers of one call; asked anew for each, so that a token may change in between."""
        ...


@dataclass(frozen=True, slots=True)
class AdminCredentials:
    """The administrator's credential of a deployment: makes apps."""

    token: str = field(repr=False)

    def headers(self) -> dict[str, str]:
        return _bearer(self.token)


@dataclass(frozen=True, slots=True)
class AppCredentials:
    """An app's id and secret."""

    app_id: str
    secret: str = field(repr=False)

    def headers(self) -> dict[str, str]:
        return {"X-App-Id": self.app_id, "X-App-Secret": self.secret}


@dataclass(frozen=True, slots=True)
class UserCredentials:
    """A user of an app, by the token of the app's issuer; a function is asked for a fresh token before each call."""

    app: AppCredentials
    jwt: str | Callable[[], str] = field(repr=False)

    def headers(self) -> dict[str, str]:
        return {**self.app.headers(), **_bearer(self.jwt if isinstance(self.jwt, str) else self.jwt())}


@dataclass(frozen=True, slots=True)
class AccountCredentials:
    """A user with an account of Lockstep's own, by its access token; a function is asked for a fresh one before each call."""

    token: str | Callable[[], str] = field(repr=False)

    def headers(self) -> dict[str, str]:
        return _bearer(self.token if isinstance(self.token, str) else self.token())


@dataclass(frozen=True, slots=True)
class SessionCredentials:
    """A session signer, by its token."""

    token: str = field(repr=False)

    def headers(self) -> dict[str, str]:
        return _bearer(self.token)


@dataclass(frozen=True, slots=True)
class WalletCredentials:
    """Somebody who signed in with an own key (`login_wallet`)."""

    address: str
    token: str = field(repr=False)

    def headers(self) -> dict[str, str]:
        return _bearer(self.token)


def from_environment(environment: Mapping[str, str]) -> tuple[str, Credentials | None]:
    """Address and credentials: ``LOCKSTEP_URL``; ``LOCKSTEP_APP_ID`` with ``LOCKSTEP_APP_SECRET``, ``LOCKSTEP_TOKEN``
    (of a session signer, a login or an administrator), or all three (a user of the app).

    Raises:
        ValueError: there is no address, or half of what an app needs.
    """
    url, token = environment.get("LOCKSTEP_URL"), environment.get("LOCKSTEP_TOKEN")
    app_id, secret = environment.get("LOCKSTEP_APP_ID"), environment.get("LOCKSTEP_APP_SECRET")
    if not url:
        raise ValueError("expected the address of the deployment in LOCKSTEP_URL")
    if bool(app_id) != bool(secret):
        raise ValueError("expected both LOCKSTEP_APP_ID and LOCKSTEP_APP_SECRET, or none of them")
    if app_id and secret:
        app = AppCredentials(app_id, secret)
        return url, UserCredentials(app, token) if token else app
    return url, SessionCredentials(token) if token else None


def _bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}
