"""SQL of accounts, their logins and tokens, and attempts to sign in."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import LiteralString

from lockstep.custody.accounts.types import Account, StoredRefresh
from lockstep.kit.database import Row, UnitOfWork
from lockstep.kit.ids import AppId, UserId

ISSUER = "urn:lockstep:accounts"
"""Stands as the issuer of users that have an account; no app may name it as its own."""
FORGET = timedelta(days=1)
"""Attempts so long ago do not count any more."""
_ACCOUNT: LiteralString = """
select a.user_id, a.name, a.password_hash, u.status from accounts a
join users u on u.app_id = a.app_id and u.id = a.user_id
"""


async def insert_account(
    uow: UnitOfWork, app_id: AppId, user_id: str, name: str, password_hash: str, now: datetime
) -> bool:
    """Make a user with an account; False when the name is taken."""
    await uow.execute(
        "insert into users (id, app_id, issuer, subject, created_at) values (%s, %s, %s, %s, %s)",
        (user_id, app_id, ISSUER, user_id, now),
    )
    touched = await uow.execute(
        "insert into accounts (user_id, app_id, name, password_hash, created_at, password_changed_at)"
        " values (%s, %s, %s, %s, %s, %s) on conflict (app_id, name) do nothing",
        (user_id, app_id, name, password_hash, now, now),
    )
    return touched == 1


async def find_account(
    uow: UnitOfWork, app_id: AppId, *, name: str | None = None, user_id: str | None = None
) -> Account | None:
    """An account by its name or its user."""
    row = await uow.find(_ACCOUNT + " where a.app_id = %s and (a.name = %s or a.user_id = %s)", (app_id, name, user_id))
    return _account(row) if row else None


async def lock_account(uow: UnitOfWork, app_id: AppId, user_id: UserId) -> Account | None:
    """The account of a user, locked against a second change."""
    row = await uow.find(_ACCOUNT + " where a.app_id = %s and a.user_id = %s for update of a", (app_id, user_id))
    return _account(row) if row else None


async def set_password(
    uow: UnitOfWork, app_id: AppId, user_id: UserId, before: str, password_hash: str, now: datetime | None
) -> bool:
    """Put a hash in the place of another; False when it is not that one any more.

    Args:
        now: when the password was changed; None: it is the same, hashed anew.
    """
    touched = await uow.execute(
        "update accounts set password_hash = %s, password_changed_at = coalesce(%s, password_changed_at)"
        " where app_id = %s and user_id = %s and password_hash = %s",
        (password_hash, now, app_id, user_id, before),
    )
    return touched == 1


# --- logins -----------------------------------------------------------------------------------------------------------


async def insert_login(
    uow: UnitOfWork, app_id: AppId, login_id: str, user_id: UserId, now: datetime, expires_at: datetime
) -> None:
    await uow.execute(
        "insert into logins (id, app_id, user_id, created_at, expires_at) values (%s, %s, %s, %s, %s)",
        (login_id, app_id, user_id, now, expires_at),
    )


async def insert_token(
    uow: UnitOfWork, app_id: AppId, login_id: str, kind: str, token_hash: bytes, expires_at: datetime, seal: bytes
) -> None:
    await uow.execute(
        "insert into login_tokens (token_hash, app_id, login_id, kind, expires_at, seal) values (%s, %s, %s, %s, %s, %s)",
        (token_hash, app_id, login_id, kind, expires_at, seal),
    )


async def lock_refresh(uow: UnitOfWork, token_hash: bytes) -> StoredRefresh | None:
    """What a refresh token stands for, in whichever app; locked, so that it is exchanged once."""
    row = await uow.find(
        "select t.app_id, t.used_at, t.expires_at as token_ends_at, t.seal, l.id, l.user_id, l.expires_at,"
        " a.access_token_seconds, l.ended_at is null and u.status = 'active' and a.status = 'active' and a.accounts <> 'off' as is_open"
        " from login_tokens t join logins l on l.id = t.login_id join users u on u.id = l.user_id"
        " join apps a on a.app_id = t.app_id where t.token_hash = %s and t.kind = 'refresh' for update of l",
        (token_hash,),
    )
    if row is None:
        return None
    # Read again behind the lock: whoever held it before may have used the token or ended the login.
    fresh = await uow.get(
        "select t.used_at, l.ended_at from login_tokens t join logins l on l.id = t.login_id"
        " where t.app_id = %s and t.token_hash = %s",
        (row["app_id"], token_hash),
    )
    return StoredRefresh(
        app_id=AppId(row["app_id"]),
        user_id=UserId(row["user_id"]),
        login_id=row["id"],
        access_token_seconds=row["access_token_seconds"],
        expires_at=row["expires_at"],
        token_ends_at=row["token_ends_at"],
        seal=None if row["seal"] is None else bytes(row["seal"]),
        is_used=fresh["used_at"] is not None,
        is_open=row["is_open"] and fresh["ended_at"] is None,
    )


async def use_refresh(uow: UnitOfWork, app_id: AppId, token_hash: bytes, now: datetime) -> None:
    await uow.execute(
        "update login_tokens set used_at = %s where app_id = %s and token_hash = %s", (now, app_id, token_hash)
    )


async def end_login(uow: UnitOfWork, app_id: AppId, login_id: str, because: str, now: datetime) -> bool:
    """Whether it had not ended before."""
    touched = await uow.execute(
        "update logins set ended_at = %s, ended_because = %s where app_id = %s and id = %s and ended_at is null",
        (now, because, app_id, login_id),
    )
    return touched == 1


async def end_logins(uow: UnitOfWork, app_id: AppId, user_id: UserId, because: str, now: datetime) -> int:
    """End every login of a user; how many there were."""
    return await uow.execute(
        "update logins set ended_at = %s, ended_because = %s where app_id = %s and user_id = %s and ended_at is null",
        (now, because, app_id, user_id),
    )


async def purge(uow: UnitOfWork, now: datetime) -> int:
    """Forget tokens that have expired, logins that ended longer ago than their app keeps them, and old attempts.

    All tenants: it tidies up for every app.
    """
    tokens = await uow.execute("delete from login_tokens where expires_at < %s", (now,))
    logins = await uow.execute(
        "delete from logins l using apps a where a.app_id = l.app_id"
        " and coalesce(l.ended_at, l.expires_at) < %s - make_interval(days => a.login_history_days)",
        (now,),
    )
    return tokens + logins + await uow.execute("delete from login_attempts where counted_at < %s", (now - FORGET,))


# --- attempts ---------------------------------------------------------------------------------------------------------


async def count_attempt(
    uow: UnitOfWork,
    app_id: AppId,
    kind: str,
    who: bytes,
    now: datetime,
    block: Callable[[int], timedelta | None],
) -> datetime | None:
    """Count an attempt before it is made; until when it must wait, and then it is not counted. None: go on.

    Args:
        block: how long the next one must wait after so many.
    """
    row = await uow.find(
        "insert into login_attempts as l (app_id, kind, who, attempts, counted_at) values (%s, %s, %s, 1, %s)"
        " on conflict (app_id, kind, who) do update set counted_at = excluded.counted_at,"
        " attempts = case when l.counted_at < %s then 1 else l.attempts + 1 end"
        " where l.blocked_until is null or l.blocked_until <= excluded.counted_at returning attempts",
        (app_id, kind, who, now, now - FORGET),
    )
    if row is None:
        blocked = await uow.get(
            "select blocked_until from login_attempts where app_id = %s and kind = %s and who = %s", (app_id, kind, who)
        )
        return blocked["blocked_until"]  # type: ignore[no-any-return]  # a timestamptz
    wait = block(row["attempts"])
    if wait is not None:
        await uow.execute(
            "update login_attempts set blocked_until = %s where app_id = %s and kind = %s and who = %s",
            (now + wait, app_id, kind, who),
        )
    return None


async def forgive_attempt(uow: UnitOfWork, app_id: AppId, kind: str, who: bytes, *, only_one: bool) -> None:
    """Take back the attempt that succeeded, or all of them."""
    await uow.execute(
        "update login_attempts set blocked_until = null, attempts = case when %s then greatest(attempts - 1, 0) else 0 end"
        " where app_id = %s and kind = %s and who = %s",
        (only_one, app_id, kind, who),
    )


def _account(row: Row) -> Account:
    return Account(
        user_id=UserId(row["user_id"]),
        name=row["name"],
        hash=row["password_hash"],
        is_active=row["status"] == "active",
    )
