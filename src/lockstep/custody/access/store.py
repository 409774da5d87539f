"""SQL of apps, secrets, users, wallet logins and administrators' credentials."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, LiteralString

from psycopg.types.json import Jsonb

from lockstep.custody.access.types import App, AppSecret, AppTerms, Issuer
from lockstep.custody.seals import Content, contents
from lockstep.custody.types import Role
from lockstep.kit.database import Row, UnitOfWork
from lockstep.kit.ids import AppId, UserId, WalletId

_STORED: LiteralString = """
select s.id as secret_id, s.prefix, s.secret_hash, s.status as state, s.expires_at as ends_at, a.*
from app_secrets s join apps a on a.app_id = s.app_id
"""


@dataclass(frozen=True, slots=True)
class StoredSecret:
    """What an app secret is compared with."""

    id: str
    prefix: str
    hash: bytes
    is_active: bool
    expires_at: datetime | None
    app: App

    @property
    def app_id(self) -> AppId:
        return self.app.id

    def content(self) -> Content:
        """What is sealed of it."""
        status = "active" if self.is_active else "revoked"
        return contents.of_secret(self.app_id, self.prefix, self.hash, status, self.expires_at)


@dataclass(frozen=True, slots=True)
class StoredUser:
    """A user as whom somebody is let in."""

    id: UserId
    app_id: AppId
    issuer: str
    subject: str
    role: Role
    status: str

    def content(self) -> Content:
        """What is sealed of it."""
        return contents.of_user(self.app_id, self.issuer, self.subject, self.role, self.status)


@dataclass(frozen=True, slots=True)
class StoredSession:
    """What a session token stands for."""

    id: str
    app_id: AppId
    wallet_id: WalletId
    status: str
    app_status: str
    expires_at: datetime


LOGIN_BEARER = "login_bearer"
"""Kind of the codes of tokens of accounts."""


@dataclass(frozen=True, slots=True)
class StoredLogin:
    """What the access token of an account stands for."""

    login_id: str
    user: StoredUser
    expires_at: datetime
    seal: bytes | None
    is_open: bool
    """Whether the login has not ended, and its app is active and has accounts."""

    def content(self) -> Content:
        """What is sealed of the token."""
        return contents.of_login_token(self.user.app_id, self.login_id, self.user.id, "access", self.expires_at)


async def insert_app(uow: UnitOfWork, app: App) -> None:
    await uow.execute(
        "insert into apps (app_id, name, status, issuers, created_at) values (%s, %s, %s, %s, %s)",
        (app.id, app.name, app.status, Jsonb([_issuer_row(issuer) for issuer in app.issuers]), app.created_at),
    )


async def find_app(uow: UnitOfWork, app_id: AppId) -> App | None:
    row = await uow.find("select * from apps where app_id = %s", (app_id,))
    return app_of(row) if row else None


async def lock_app(uow: UnitOfWork, app_id: AppId) -> App | None:
    """The app, locked against a second change."""
    row = await uow.find("select * from apps where app_id = %s for update", (app_id,))
    return app_of(row) if row else None


async def update_issuers(uow: UnitOfWork, app_id: AppId, issuers: tuple[Issuer, ...]) -> App:
    row = await uow.get(
        "update apps set issuers = %s where app_id = %s returning *",
        (Jsonb([_issuer_row(issuer) for issuer in issuers]), app_id),
    )
    return app_of(row)


def access_content(app: App) -> Content:
    """What is sealed of whom the app lets in, and from where."""
    return contents.of_app_access(
        app.id,
        [_issuer_row(issuer) for issuer in app.issuers],
        [str(network) for network in app.terms.allowed_networks],
        app.terms.accounts,
    )


async def insert_secret(
    uow: UnitOfWork,
    secret_id: str,
    app_id: AppId,
    prefix: str,
    secret_hash: bytes,
    now: datetime,
    expires_at: datetime | None = None,
) -> None:
    await uow.execute(
        "insert into app_secrets (id, app_id, prefix, secret_hash, created_at, expires_at)"
        " values (%s, %s, %s, %s, %s, %s)",
        (secret_id, app_id, prefix, secret_hash, now, expires_at),
    )


async def update_secret(uow: UnitOfWork, secret: StoredSecret) -> StoredSecret:
    """Write whether a secret is active, and when it ends."""
    await uow.execute(
        "update app_secrets set status = %s, expires_at = %s where app_id = %s and id = %s",
        ("active" if secret.is_active else "revoked", secret.expires_at, secret.app_id, secret.id),
    )
    return secret


async def lock_secret(uow: UnitOfWork, app_id: AppId, secret_id: str) -> StoredSecret | None:
    """A secret, locked against a second change."""
    row = await uow.find(_STORED + " where s.app_id = %s and s.id = %s for update of s", (app_id, secret_id))
    return _secret(row) if row else None


async def list_secrets(uow: UnitOfWork, app_id: AppId, now: datetime) -> list[AppSecret]:
    rows = await uow.fetch(
        "select id, app_id, prefix, case when status = 'active' and expires_at <= %s then 'expired' else status end"
        " as status, created_at, last_used_at, expires_at from app_secrets where app_id = %s order by id",
        (now, app_id),
    )
    return [AppSecret(**row) for row in rows]


async def lock_active_secrets(uow: UnitOfWork, app_id: AppId, now: datetime) -> list[StoredSecret]:
    """The secrets that are good now, locked so that two callers cannot revoke the last two of them."""
    rows = await uow.fetch(
        _STORED + " where s.app_id = %s and s.status = 'active' and (s.expires_at is null or s.expires_at > %s)"
        " order by s.id for update of s",
        (app_id, now),
    )
    return [_secret(row) for row in rows]


async def find_secret(uow: UnitOfWork, prefix: str) -> StoredSecret | None:
    row = await uow.find(_STORED + " where s.prefix = %s", (prefix,))
    return _secret(row) if row else None


async def touch_secret(uow: UnitOfWork, app_id: AppId, secret_id: str, now: datetime) -> None:
    """Note that a secret was used, at most once a minute."""
    await uow.execute(
        "update app_secrets set last_used_at = %s where app_id = %s and id = %s"
        " and (last_used_at is null or last_used_at < %s - interval '1 minute')",
        (now, app_id, secret_id, now),
    )


async def find_login(uow: UnitOfWork, token_hash: bytes) -> StoredLogin | None:
    """What the access token of an account stands for."""
    row = await uow.find(
        "select t.app_id, t.login_id, t.seal, l.user_id, u.issuer, u.subject, u.role, u.status, t.expires_at, l.ended_at is null"
        " and a.status = 'active' and a.accounts <> 'off' as is_open from login_tokens t"
        " join logins l on l.id = t.login_id join users u on u.id = l.user_id join apps a on a.app_id = t.app_id"
        " where t.token_hash = %s and t.kind = 'access'",
        (token_hash,),
    )
    if row is None:
        return None
    app_id, user_id = AppId(row["app_id"]), UserId(row["user_id"])
    return StoredLogin(
        login_id=row["login_id"],
        user=StoredUser(user_id, app_id, row["issuer"], row["subject"], row["role"], row["status"]),
        expires_at=row["expires_at"],
        seal=None if row["seal"] is None else bytes(row["seal"]),
        is_open=row["is_open"],
    )


async def find_session(uow: UnitOfWork, token_hash: bytes) -> StoredSession | None:
    row = await uow.find(
        "select s.id, s.app_id, s.wallet_id, s.status, a.status as app_status, s.expires_at from session_signers s"
        " join apps a on a.app_id = s.app_id where s.token_hash = %s",
        (token_hash,),
    )
    return StoredSession(**row) if row else None


async def find_or_insert_user(
    uow: UnitOfWork, new_id: str, app_id: AppId, issuer: str, subject: str, now: datetime
) -> tuple[StoredUser, bool]:
    """The user, and whether it is new."""
    known = "select id, role, status from users where app_id = %s and issuer = %s and subject = %s"
    is_new = False
    row = await uow.find(known, (app_id, issuer, subject))
    if row is None:
        is_new = (
            await uow.execute(
                "insert into users (id, app_id, issuer, subject, created_at) values (%s, %s, %s, %s, %s)"
                " on conflict (app_id, issuer, subject) do nothing",
                (new_id, app_id, issuer, subject, now),
            )
            == 1
        )
        row = await uow.get(known, (app_id, issuer, subject))
    return StoredUser(UserId(row["id"]), app_id, issuer, subject, row["role"], row["status"]), is_new


async def list_unknown_users(uow: UnitOfWork, app_id: AppId, user_ids: Sequence[str]) -> list[str]:
    """Those of the ids that are no user of the app."""
    rows = await uow.fetch("select id from users where app_id = %s and id = any(%s)", (app_id, list(user_ids)))
    known = {row["id"] for row in rows}
    return [user_id for user_id in user_ids if user_id not in known]


async def insert_external_session(
    uow: UnitOfWork, token_hash: bytes, address: str, nonce: str, now: datetime, expires_at: datetime
) -> bool:
    """False when the nonce was used before by this address."""
    touched = await uow.execute(
        "insert into external_sessions (token_hash, address, nonce, created_at, expires_at)"
        " values (%s, %s, %s, %s, %s) on conflict (address, nonce) do nothing",
        (token_hash, address, nonce, now, expires_at),
    )
    return touched == 1


async def find_external_session(uow: UnitOfWork, token_hash: bytes) -> tuple[str, datetime] | None:
    """Address and end of a login."""
    row = await uow.find("select address, expires_at from external_sessions where token_hash = %s", (token_hash,))
    return (row["address"], row["expires_at"]) if row else None


async def delete_expired_external_sessions(uow: UnitOfWork, now: datetime) -> int:
    return await uow.execute(
        "with gone as (delete from external_sessions where expires_at < %s returning token_hash)"
        " delete from seals z using gone where z.kind = 'login' and z.id = encode(gone.token_hash, 'hex') and z.app_id = ''",
        (now,),
    )


async def has_admin(uow: UnitOfWork) -> bool:
    return await uow.find("select 1 as x from admin_credentials limit 1") is not None


async def lock_admins(uow: UnitOfWork) -> None:
    """Let one bootstrap run at a time."""
    await uow.execute("select pg_advisory_xact_lock(hashtextextended('lockstep.bootstrap', 0))")


async def insert_admin(uow: UnitOfWork, admin_id: str, prefix: str, secret_hash: bytes, now: datetime) -> None:
    await uow.execute(
        "insert into admin_credentials (id, prefix, secret_hash, created_at) values (%s, %s, %s, %s)",
        (admin_id, prefix, secret_hash, now),
    )


async def find_admin(uow: UnitOfWork, prefix: str) -> tuple[str, bytes, bool] | None:
    """Id, hash and whether the credential is active."""
    row = await uow.find("select id, secret_hash, status from admin_credentials where prefix = %s", (prefix,))
    return (row["id"], bytes(row["secret_hash"]), row["status"] == "active") if row else None


async def touch_admin(uow: UnitOfWork, admin_id: str, now: datetime) -> None:
    await uow.execute("update admin_credentials set last_used_at = %s where id = %s", (now, admin_id))


def _issuer_row(issuer: Issuer) -> dict[str, Any]:
    members = {
        "issuer": issuer.issuer,
        "audience": issuer.audience,
        "jwks": dict(issuer.jwks) if issuer.jwks is not None else None,
        "jwks_url": issuer.jwks_url,
        "jwks_file": issuer.jwks_file,
    }
    return {name: value for name, value in members.items() if value is not None}


def app_of(row: Row) -> App:
    return App(
        id=row["app_id"],
        name=row["name"],
        status=row["status"],
        issuers=tuple(Issuer(**issuer) for issuer in row["issuers"]),
        terms=AppTerms(
            allowed_networks=tuple(row["allowed_networks"]),
            accounts=row["accounts"],
            access_token_seconds=row["access_token_seconds"],
            login_seconds=row["login_seconds"],
            login_history_days=row["login_history_days"],
        ),
        created_at=row["created_at"],
    )


def _secret(row: Row) -> StoredSecret:
    return StoredSecret(
        id=row["secret_id"],
        prefix=row["prefix"],
        hash=bytes(row["secret_hash"]),
        is_active=row["state"] == "active",
        expires_at=row["ends_at"],
        app=app_of(row),
    )
