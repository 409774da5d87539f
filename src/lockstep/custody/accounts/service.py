"""Registering, signing in, refreshing and signing out.

No connection is held while a password is hashed. An attempt is counted before its password is looked at, so that many
at once do not get more tries than one after the other. Names without an account are counted and take as long as others.
"""

from __future__ import annotations

import hashlib
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final

import structlog
from prometheus_client import Counter

from lockstep.custody.access import store as access_store
from lockstep.custody.access.authenticator import Authenticator
from lockstep.custody.access.secrets import ACCESS, REFRESH, hash_secret, is_token, new_token
from lockstep.custody.access.store import LOGIN_BEARER
from lockstep.custody.access.types import AppTerms
from lockstep.custody.accounts import store
from lockstep.custody.accounts.passwords import PasswordHashing
from lockstep.custody.accounts.rules import AttemptKind, block_after, check_password, network_of, normal_name
from lockstep.custody.accounts.types import Account, Tokens
from lockstep.custody.audit import AuditLog
from lockstep.custody.errors import (
    AccountNameTaken,
    AccountNotFound,
    AccountsOff,
    CallerNotAllowed,
    PasswordWrong,
    RefreshTokenInvalid,
    RegistrationClosed,
    TooManyLogins,
)
from lockstep.custody.seals import Content, Kind, Seals, contents
from lockstep.custody.types import Principal
from lockstep.custody.users.service import require_user_admin, user_event
from lockstep.custody.users.store import find_user
from lockstep.custody.users.types import User
from lockstep.kit.clock import Clock
from lockstep.kit.database import Database, UnitOfWork
from lockstep.kit.ids import AppId, UserId, new_id

log = structlog.get_logger(__name__)

RESULTS: Final = ("signed_in", "refused", "blocked", "refreshed", "refresh_refused", "reused", "signed_out")
_events = Counter("lockstep_account_logins", "What came of signing in with passwords and of refreshing", ["result"])
for _result in RESULTS:
    _events.labels(_result)


class AccountService:
    """The accounts of apps that have opted in."""

    def __init__(
        self,
        database: Database,
        audit: AuditLog,
        authenticator: Authenticator,
        seals: Seals,
        clock: Clock,
        passwords: PasswordHashing | None = None,
    ) -> None:
        self._database, self._audit, self._authenticator = database, audit, authenticator
        self._seals, self._clock = seals, clock
        self._passwords = passwords or PasswordHashing()

    # --- making accounts ----------------------------------------------------------------------------------------------

    async def register(self, app_id: AppId, name: str, password: str, address: str) -> None:
        """Make an account, if nobody has the name. Whether somebody had it is not told: sign in to see.

        Raises:
            AccountsOff, RegistrationClosed: the app has no accounts, or makes them itself.
            AccountNameInvalid, PasswordTooWeak: see rules.py.
            TooManyLogins: too many from this address. LoginsBusy.
        """
        name, network = normal_name(name), network_of(address)
        check_password(password, name)
        async with self._database.tenant(app_id) as uow:
            terms = await self._terms(uow, app_id)
            if terms.accounts != "open":
                raise RegistrationClosed
            await self._count(uow, app_id, "registration", network)
        hashed = await self._passwords.hash(password)
        await self._insert(Principal(kind="app", app_id=app_id), app_id, name, hashed)

    async def create_account(self, principal: Principal, name: str, password: str) -> User:
        """Make an account for somebody. For the app and its admins.

        Raises:
            CallerNotAllowed: neither the app nor one of its admins. AccountsOff: the app has no accounts.
            AccountNameTaken: somebody has the name. AccountNameInvalid, PasswordTooWeak: see rules.py. LoginsBusy.
        """
        app_id, name = require_user_admin(principal), normal_name(name)
        check_password(password, name)
        async with self._database.tenant(app_id) as uow:
            await self._terms(uow, app_id)
        user = await self._insert(principal, app_id, name, await self._passwords.hash(password))
        if user is None:
            raise AccountNameTaken
        return user

    async def _insert(self, principal: Principal, app_id: AppId, name: str, hashed: str) -> User | None:
        """The new user; None when the name is taken, and then nothing was written."""
        user_id = UserId(new_id())
        async with self._database.tenant(app_id) as uow:
            try:
                async with uow.savepoint():
                    if not await store.insert_account(uow, app_id, user_id, name, hashed, self._clock.now()):
                        raise AccountNameTaken
            except AccountNameTaken:
                return None
            user = contents.of_user(app_id, store.ISSUER, user_id, "user", "active")
            await self._seals.add(uow, app_id, Kind.USER, {user_id: user})
            account = contents.of_account(app_id, name, hashed)
            await self._seals.add(uow, app_id, Kind.ACCOUNT, {user_id: account})
            self._audit.append(uow, user_event(principal, app_id, user_id, "account.created"))
            return await find_user(uow, app_id, user_id)

    # --- signing in ---------------------------------------------------------------------------------------------------

    async def login(self, app_id: AppId, name: str, password: str, address: str) -> Tokens:
        """Sign in.

        Raises:
            AccountsOff: the app has no accounts. AccountNameInvalid: nobody can have this name.
            PasswordWrong: name or password are not right, or the user is disabled; which of them is not told.
            TooManyLogins: too many attempts for this name or from this address. LoginsBusy.
        """
        name, network = normal_name(name), network_of(address)
        async with self._database.tenant(app_id) as uow:
            terms = await self._terms(uow, app_id)
            await self._count(uow, app_id, "name", name)
            await self._count(uow, app_id, "address", network)
            account = await store.find_account(uow, app_id, name=name)
        account = await self._proven(account, password)
        fresh = await self._passwords.hash(password) if self._passwords.is_outdated(account.hash) else None
        async with self._database.tenant(app_id) as uow:
            now = self._clock.now()
            again = await store.find_account(uow, app_id, name=name)
            if again is None or again.hash != account.hash or not again.is_active:
                raise PasswordWrong  # it was changed, or the user disabled, while it was looked at
            await self._seals.check(uow, app_id, [(Kind.ACCOUNT, again.user_id, _content(app_id, again))])
            await store.forgive_attempt(uow, app_id, "name", _digest(name), only_one=False)
            await store.forgive_attempt(uow, app_id, "address", _digest(network), only_one=True)
            if fresh is not None and await store.set_password(uow, app_id, again.user_id, again.hash, fresh, None):
                await self._reseal(uow, app_id, again, fresh)
            login_id, ends_at = new_id(), now + timedelta(seconds=terms.login_seconds)
            await store.insert_login(uow, app_id, login_id, account.user_id, now, ends_at)
            tokens = await self._issue(uow, app_id, login_id, account.user_id, terms.access_token_seconds, ends_at)
            self._audit.append(uow, user_event(_self(app_id, account.user_id), app_id, account.user_id, "login.made"))
        _events.labels("signed_in").inc()
        return tokens

    async def refresh(self, token: str) -> Tokens:
        """Exchange a refresh token for new tokens. One that comes a second time ends its login: one of both who brought it
        has stolen it, and nobody can say which.

        Raises:
            RefreshTokenInvalid: none, used before, or its login has ended.
        """
        tokens: Tokens | None = None
        if is_token(REFRESH, token):
            async with self._database.system("accounts") as uow:
                tokens = await self._exchange(uow, hash_secret(token))
        if tokens is None:
            _events.labels("refresh_refused").inc()
            raise RefreshTokenInvalid
        _events.labels("refreshed").inc()
        return tokens

    async def _exchange(self, uow: UnitOfWork, token_hash: bytes) -> Tokens | None:
        found, now = await store.lock_refresh(uow, token_hash), self._clock.now()
        if found is None or not found.is_open or now >= found.expires_at:
            return None
        if not self._seals.is_sealed(LOGIN_BEARER, token_hash.hex(), found.content(), found.seal):
            return None
        user = _self(found.app_id, found.user_id)
        if found.is_used:
            await store.end_login(uow, found.app_id, found.login_id, "reuse", now)
            self._audit.append(uow, user_event(user, found.app_id, found.user_id, "login.token_reused"))
            uow.after_commit(self._authenticator.forget)
            _events.labels("reused").inc()
            log.warning("refresh_token_reused", app_id=found.app_id, user_id=found.user_id, login_id=found.login_id)
            return None
        await store.use_refresh(uow, found.app_id, token_hash, now)
        return await self._issue(
            uow, found.app_id, found.login_id, found.user_id, found.access_token_seconds, found.expires_at
        )

    async def logout(self, token: str) -> None:
        """End the login of a refresh token, used or not, and all of its tokens. What is none ends nothing, and is not told."""
        if not is_token(REFRESH, token):
            return
        async with self._database.system("accounts") as uow:
            found = await store.lock_refresh(uow, hash_secret(token))
            if found is None or not await store.end_login(
                uow, found.app_id, found.login_id, "logout", self._clock.now()
            ):
                return
            user = _self(found.app_id, found.user_id)
            self._audit.append(uow, user_event(user, found.app_id, found.user_id, "login.ended"))
        _events.labels("signed_out").inc()
        self._authenticator.forget()

    # --- passwords ----------------------------------------------------------------------------------------------------

    async def change_password(self, principal: Principal, current: str, new: str) -> None:
        """Set another password for the caller; every login of it ends, this one too.

        Raises:
            CallerNotAllowed: not a user. AccountNotFound: the user signs in elsewhere. AccountsOff.
            PasswordWrong: the current one is not right. PasswordTooWeak. TooManyLogins. LoginsBusy.
        """
        if principal.kind != "user" or principal.user_id is None:
            raise CallerNotAllowed(f"expected a user, was {principal.kind}")
        app_id = principal.tenant
        async with self._database.tenant(app_id) as uow:
            await self._terms(uow, app_id)
            account = await store.find_account(uow, app_id, user_id=principal.user_id)
            if account is None:
                raise AccountNotFound
            check_password(new, account.name)
            await self._count(uow, app_id, "name", account.name)
        account = await self._proven(account, current)
        await self._replace(principal, app_id, account, await self._passwords.hash(new), account.hash)

    async def set_password(self, principal: Principal, user_id: str, new: str) -> None:
        """Set a password for somebody who has lost it; every login of the user ends. For the app and its admins.

        Raises:
            CallerNotAllowed: neither the app nor one of its admins. AccountsOff. AccountNotFound. PasswordTooWeak. LoginsBusy.
        """
        app_id = require_user_admin(principal)
        async with self._database.tenant(app_id) as uow:
            await self._terms(uow, app_id)
            account = await store.find_account(uow, app_id, user_id=user_id)
        if account is None:
            raise AccountNotFound
        check_password(new, account.name)
        await self._replace(principal, app_id, account, await self._passwords.hash(new), None)

    async def _replace(
        self, principal: Principal, app_id: AppId, account: Account, hashed: str, before: str | None
    ) -> None:
        """Set a password; `before` is the hash that must still be there, None: whichever."""
        async with self._database.tenant(app_id) as uow:
            now, known = self._clock.now(), await store.lock_account(uow, app_id, account.user_id)
            if known is None or before not in (None, known.hash):
                raise PasswordWrong  # somebody else has changed it meanwhile
            await store.set_password(uow, app_id, account.user_id, known.hash, hashed, now)
            await self._reseal(uow, app_id, known, hashed)
            await store.end_logins(uow, app_id, account.user_id, "password", now)
            await store.forgive_attempt(uow, app_id, "name", _digest(account.name), only_one=False)
            self._audit.append(uow, user_event(principal, app_id, account.user_id, "account.password_changed"))
        self._authenticator.forget()

    # --- parts --------------------------------------------------------------------------------------------------------

    async def _terms(self, uow: UnitOfWork, app_id: AppId) -> AppTerms:
        """The terms of an app with accounts; one that does not exist looks like one that has none."""
        app = await access_store.find_app(uow, app_id)
        if app is None or app.status != "active" or app.terms.accounts == "off":
            raise AccountsOff
        return app.terms

    async def _count(self, uow: UnitOfWork, app_id: AppId, kind: AttemptKind, who: str) -> None:
        now = self._clock.now()
        until = await store.count_attempt(
            uow, app_id, kind, _digest(who), now, lambda attempts: block_after(kind, attempts)
        )
        if until is not None:
            _events.labels("blocked").inc()
            raise TooManyLogins(retry_after_seconds=max(1, -int((now - until).total_seconds() // 1)))

    async def _proven(self, account: Account | None, password: str) -> Account:
        """The account, if the password is its own and its user may sign in."""
        is_right = await self._passwords.verify(None if account is None else account.hash, password)
        if account is None or not is_right or not account.is_active:
            _events.labels("refused").inc()
            raise PasswordWrong
        return account

    async def _reseal(self, uow: UnitOfWork, app_id: AppId, before: Account, hashed: str) -> None:
        after = replace(before, hash=hashed)
        content = (_content(app_id, before), _content(app_id, after))
        await self._seals.change(uow, app_id, Kind.ACCOUNT, before.user_id, *content)

    async def _issue(
        self, uow: UnitOfWork, app_id: AppId, login_id: str, user_id: UserId, access_seconds: int, ends_at: datetime
    ) -> Tokens:
        """New tokens of a login; none of them outlives it."""
        access_ends = min(self._clock.now() + timedelta(seconds=access_seconds), ends_at)
        access, access_hash = new_token(ACCESS)
        refresh, refresh_hash = new_token(REFRESH)
        for kind, token_hash, ends in (("access", access_hash, access_ends), ("refresh", refresh_hash, ends_at)):
            content = contents.of_login_token(app_id, login_id, user_id, kind, ends)
            seal = self._seals.code(LOGIN_BEARER, token_hash.hex(), content)
            await store.insert_token(uow, app_id, login_id, kind, token_hash, ends, seal)
        return Tokens(
            user_id=user_id,
            access=access,
            access_expires_at=access_ends,
            refresh=refresh,
            refresh_expires_at=ends_at,
        )


def _content(app_id: AppId, account: Account) -> Content:
    return contents.of_account(app_id, account.name, account.hash)


def _self(app_id: AppId, user_id: UserId) -> Principal:
    return Principal(kind="user", app_id=app_id, user_id=user_id)


def _digest(who: str) -> bytes:
    return hashlib.sha256(who.encode("utf-8", "surrogatepass")).digest()
