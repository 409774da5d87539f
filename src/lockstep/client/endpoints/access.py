"""Calls of apps, their issuers and secrets, logins."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from lockstep.client.decoding import read
from lockstep.client.models import App, AppSecret, Caller, KillSwitch, Login, NewApp, NewSecret, Tokens, User
from lockstep.client.requests import Page, Request, get, given, listing, nothing, of, segment, send


def create_app(name: str, issuers: Sequence[Mapping[str, Any]] = ()) -> Request[NewApp]:
    """Make an app and its first secret. For administrators.

    Args:
        issuers: who vouches for the app's users: `issuer`, `audience`, and `jwks` or `jwks_url`.
    """
    return send("POST", "/v1/apps", of(NewApp), {"name": name, "issuers": [dict(one) for one in issuers]})


def set_issuers(app_id: str, issuers: Sequence[Mapping[str, Any]]) -> Request[App]:
    """Replace the issuers whose users an app knows. For administrators."""
    body = {"issuers": [dict(one) for one in issuers]}
    return send("PUT", f"/v1/apps/{segment(app_id)}/issuers", of(App), body, is_repeatable=True)


def get_app() -> Request[App]:
    """The caller's app."""
    return get("/v1/app", of(App))


def list_apps(*, cursor: str | None = None, limit: int | None = None) -> Request[Page[App]]:
    """All apps, oldest first. For administrators."""
    return listing("/v1/apps", App, cursor=cursor, limit=limit)


def get_any_app(app_id: str) -> Request[App]:
    """One app. For administrators."""
    return get(f"/v1/apps/{segment(app_id)}", of(App))


def update_app(
    app_id: str,
    *,
    name: str | None = None,
    status: str | None = None,
    allowed_networks: Sequence[str] | None = None,
    accounts: str | None = None,
    access_token_seconds: int | None = None,
    login_seconds: int | None = None,
    login_history_days: int | None = None,
) -> Request[App]:
    """Change what is given. For administrators.

    Args:
        status: "active", or "suspended": it signs nothing, at once.
        allowed_networks: CIDR, where the app's secrets may be used; none: everywhere.
        accounts: "off", "closed" or "open"; see `App`.
    """
    body = given(
        name=name,
        status=status,
        allowed_networks=None if allowed_networks is None else list(allowed_networks),
        accounts=accounts,
        access_token_seconds=access_token_seconds,
        login_seconds=login_seconds,
        login_history_days=login_history_days,
    )
    return send("PATCH", f"/v1/apps/{segment(app_id)}", of(App), body, is_repeatable=True)


def create_secret_for_app(app_id: str, *, expires_at: datetime | None = None) -> Request[NewSecret]:
    """Make another secret for an app that has lost its own. For administrators."""
    return send("POST", f"/v1/apps/{segment(app_id)}/secrets", of(NewSecret), _until(expires_at))


def create_app_secret(*, expires_at: datetime | None = None) -> Request[NewSecret]:
    """Make another secret; the old ones stay good until they expire or are revoked."""
    return send("POST", "/v1/app/secrets", of(NewSecret), _until(expires_at))


def rotate_app_secrets(*, overlap_seconds: int = 86_400, expires_at: datetime | None = None) -> Request[NewSecret]:
    """Make a new secret; all others end when the overlap is over."""
    body = {"overlap_seconds": overlap_seconds, **_until(expires_at)}
    return send("POST", "/v1/app/secrets/rotate", of(NewSecret), body)


def list_app_secrets() -> Request[tuple[AppSecret, ...]]:
    """What is known of the app's secrets."""
    return get("/v1/app/secrets", lambda document: read(tuple[AppSecret, ...], document["items"]))


def revoke_app_secret(secret_id: str) -> Request[None]:
    """End a secret."""
    return send("DELETE", f"/v1/app/secrets/{segment(secret_id)}", nothing, is_repeatable=True)


def list_users(*, cursor: str | None = None, limit: int | None = None) -> Request[Page[User]]:
    """Users of the app, oldest first. For the app, its operators and its admins."""
    return listing("/v1/users", User, cursor=cursor, limit=limit)


def get_user(user_id: str) -> Request[User]:
    """One user. A user sees itself."""
    return get(f"/v1/users/{segment(user_id)}", of(User))


def update_user(user_id: str, *, role: str | None = None, status: str | None = None) -> Request[User]:
    """Change what is given. For the app and its admins.

    Args:
        role: "user", "operator" (looks after the transactions of the app) or "admin" (its users too).
        status: "active", or "disabled": no token of the user holds any more, and it signs nothing.
    """
    body = given(role=role, status=status)
    return send("PATCH", f"/v1/users/{segment(user_id)}", of(User), body, is_repeatable=True)


def list_kill_switches() -> Request[tuple[KillSwitch, ...]]:
    """What signs nothing now: everything for an administrator, else what concerns the caller's app."""
    return get("/v1/kill-switches", lambda document: read(tuple[KillSwitch, ...], document["items"]))


def stop_app(app_id: str, reason: str) -> Request[KillSwitch]:
    """Stop every signature of an app, at once; what is queued waits. For the app itself, and for administrators."""
    path = f"/v1/kill-switches/apps/{segment(app_id)}"
    return send("PUT", path, of(KillSwitch), {"reason": reason}, is_repeatable=True)


def resume_app(app_id: str) -> Request[None]:
    """Let an app sign again. For whoever stopped it, and for administrators."""
    return send("DELETE", f"/v1/kill-switches/apps/{segment(app_id)}", nothing, is_repeatable=True)


def stop_deployment(reason: str) -> Request[KillSwitch]:
    """Stop every signature of the deployment, at once. For administrators."""
    return send("PUT", "/v1/kill-switches/deployment", of(KillSwitch), {"reason": reason}, is_repeatable=True)


def resume_deployment() -> Request[None]:
    """Let the deployment sign again. For administrators."""
    return send("DELETE", "/v1/kill-switches/deployment", nothing, is_repeatable=True)


def get_caller() -> Request[Caller]:
    """Who the credentials stand for."""
    return get("/v1/caller", of(Caller))


def make_login_message(address: str, chain_id: int = 1) -> Request[str]:
    """The text by which an own key signs in (EIP-4361)."""
    body = {"address": address, "chain_id": chain_id}
    return send("POST", "/v1/auth/wallet/message", lambda answer: str(answer["message"]), body, is_repeatable=True)


def log_in(message: str, signature: bytes) -> Request[Login]:
    """Exchange a signed text for a token; each text is good for one login."""
    return send("POST", "/v1/auth/wallet", of(Login), {"message": message, "signature": "0x" + signature.hex()})


# --- accounts ---------------------------------------------------------------------------------------------------------


def register(app_id: str, name: str, password: str) -> Request[None]:
    """Ask for an account. The answer is the same when somebody has the name already: sign in to see."""
    return send("POST", "/v1/auth/register", nothing, _account(app_id, name, password))


def log_in_to_account(app_id: str, name: str, password: str) -> Request[Tokens]:
    """Sign in with name and password; call with `AccountCredentials(tokens.access_token)`."""
    return send("POST", "/v1/auth/login", of(Tokens), _account(app_id, name, password))


def refresh_login(refresh_token: str) -> Request[Tokens]:
    """Exchange a refresh token for new tokens. Never repeated by itself: a second use ends the login."""
    return send("POST", "/v1/auth/refresh", of(Tokens), {"refresh_token": refresh_token})


def log_out(refresh_token: str) -> Request[None]:
    """End a login and all of its tokens."""
    return send("POST", "/v1/auth/logout", nothing, {"refresh_token": refresh_token}, is_repeatable=True)


def change_password(current_password: str, new_password: str) -> Request[None]:
    """Set another password for the caller; every login of it ends, this one too."""
    body = {"current_password": current_password, "new_password": new_password}
    return send("POST", "/v1/auth/password", nothing, body)


def create_account(name: str, password: str) -> Request[User]:
    """Make an account for somebody. For the app and its admins."""
    return send("POST", "/v1/users", of(User), {"name": name, "password": password})


def set_password(user_id: str, new_password: str) -> Request[None]:
    """Set a password for somebody who has lost it. For the app and its admins."""
    body = {"new_password": new_password}
    return send("PUT", f"/v1/users/{segment(user_id)}/password", nothing, body, is_repeatable=True)


def _account(app_id: str, name: str, password: str) -> dict[str, Any]:
    return {"app_id": app_id, "name": name, "password": password}


def _until(expires_at: datetime | None) -> dict[str, Any]:
    if expires_at is not None and expires_at.tzinfo is None:
        raise ValueError("expires_at: expected a time with its zone")
    return given(expires_at=None if expires_at is None else expires_at.isoformat())
