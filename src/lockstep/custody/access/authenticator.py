"""From headers to a principal: the one place where credentials are checked.

What was checked is remembered for two seconds by the hash of the credentials, so that a busy caller costs no query per
request. Whatever must end at once (a session signer, a frozen wallet) is looked at again in the transaction that
decides; two seconds are the most by which a revoked app secret lives on.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime, timedelta
from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import Final, Generic, TypeVar
from weakref import WeakValueDictionary

from lockstep.custody.access import store
from lockstep.custody.access.secrets import ACCESS, SESSION, WALLET_LOGIN, hash_secret, is_token, prefix_of
from lockstep.custody.access.tokens import TokenVerifier
from lockstep.custody.access.types import App
from lockstep.custody.errors import (
    AddressNotAllowed,
    AdminCredentialInvalid,
    AppCredentialsInvalid,
    CredentialsMissing,
    SessionTokenInvalid,
    TokenExpired,
    TokenInvalid,
    UserDisabled,
)
from lockstep.custody.seals import AuthorityTampered, Kind, Seals, contents
from lockstep.custody.seals.service import DEPLOYMENT
from lockstep.custody.types import Principal
from lockstep.kit.clock import Clock
from lockstep.kit.database import Database, UnitOfWork
from lockstep.kit.ids import AppId, is_id, new_id

REMEMBER: Final = timedelta(seconds=2)
MAX_REMEMBERED: Final = 20_000
_NOBODY: Final = bytes(32)

T = TypeVar("T")


class Authenticator:
    """Checks credentials."""

    def __init__(self, database: Database, tokens: TokenVerifier, seals: Seals, clock: Clock) -> None:
        self._database = database
        self._tokens = tokens
        self._seals = seals
        self._clock = clock
        self._apps: _Memory[App] = _Memory(clock)
        self._principals: _Memory[Principal] = _Memory(clock)

    async def authenticate(
        self,
        *,
        app_id: str | None = None,
        app_secret: str | None = None,
        authorization: str | None = None,
        address: str | None = None,
    ) -> Principal:
        """Who sends these headers: ``X-App-Id``, ``X-App-Secret`` and ``Authorization``.

        Args:
            address: of the client, as the trusted proxies say; None: not known.

        App headers alone are the app; with a bearer token of a user they are that user. A session token, the
        access token of an account, a wallet login or an administrator's credential stands for itself; the first two may
        come with their app's headers.

        Raises:
            CredentialsMissing: nothing, or only half of what is needed.
            AppCredentialsInvalid, TokenInvalid, TokenExpired, SessionTokenInvalid, AdminCredentialInvalid: as named.
            UserDisabled: its tokens have ended with it.
            AddressNotAllowed: the app's secret is right, and may not be used from there.
            IssuerUnavailable: the public keys of the user's issuer cannot be read at the moment.
        """
        bearer = _bearer(authorization)
        if app_id is None and app_secret is None:
            if bearer is None:
                raise CredentialsMissing("expected X-App-Id and X-App-Secret, or a bearer token")
            return await self._by_token(bearer)
        if app_id is None or app_secret is None:
            raise CredentialsMissing("expected both X-App-Id and X-App-Secret")
        app = await self._app(app_id, app_secret)
        if app.terms.allowed_networks and not is_inside(address, app.terms.allowed_networks):
            raise AddressNotAllowed
        if bearer is None:
            return Principal(kind="app", app_id=app.id)
        if bearer.startswith((SESSION, ACCESS)):
            principal = await self._by_token(bearer)
            if principal.app_id != app.id:
                raise SessionTokenInvalid if bearer.startswith(SESSION) else TokenInvalid
            return principal
        return await self._user(app, bearer)

    def forget(self) -> None:
        """Forget everything remembered: after a revocation in this process."""
        self._apps.clear()
        self._principals.clear()

    async def _app(self, app_id: str, secret: str) -> App:
        prefix = prefix_of("app", secret)
        if not is_id(app_id) or prefix is None:
            raise AppCredentialsInvalid
        digest = hash_secret(secret)

        async def load() -> tuple[App, datetime | None]:
            async with self._database.system("authenticate") as uow:
                stored, now = await store.find_secret(uow, prefix), self._clock.now()
                known = stored.hash if stored else _NOBODY
                matches = hmac.compare_digest(known, digest)
                if stored is None or not matches or not stored.is_active or stored.app.status != "active":
                    raise AppCredentialsInvalid
                if stored.expires_at is not None and now >= stored.expires_at:
                    raise AppCredentialsInvalid
                if not hmac.compare_digest(stored.app.id, app_id):
                    raise AppCredentialsInvalid
                await self._check_app(uow, stored)
                await store.touch_secret(uow, stored.app.id, stored.id, now)
            return stored.app, stored.expires_at

        return await self._apps.get(_memory_key("app", app_id, secret), load)

    async def _check_app(self, uow: UnitOfWork, stored: store.StoredSecret) -> None:
        app = stored.app
        await self._seals.check(
            uow,
            app.id,
            [
                (Kind.APP, app.id, contents.of_app(app.id, app.status)),
                (Kind.APP_ACCESS, app.id, store.access_content(app)),
                (Kind.SECRET, stored.id, stored.content()),
            ],
        )

    async def _user(self, app: App, token: str) -> Principal:
        async def load() -> tuple[Principal, datetime | None]:
            issuer, subject, expires_at = await self._tokens.verify(token, app.issuers)
            async with self._database.tenant(app.id) as uow:
                user, is_new = await store.find_or_insert_user(
                    uow, new_id(), app.id, issuer.issuer, subject, self._clock.now()
                )
                if is_new:
                    await self._seals.add(uow, app.id, Kind.USER, {user.id: user.content()})
                else:
                    await self._seals.check(uow, app.id, [(Kind.USER, user.id, user.content())])
            if user.status != "active":
                raise UserDisabled
            return Principal(kind="user", app_id=app.id, user_id=user.id, role=user.role), expires_at

        return await self._principals.get(_memory_key("user", app.id, token), load)

    async def _by_token(self, token: str) -> Principal:
        if is_token(SESSION, token):
            return await self._principals.get(_memory_key("session", "", token), lambda: self._load_session(token))
        if is_token(WALLET_LOGIN, token):
            return await self._principals.get(_memory_key("wallet", "", token), lambda: self._load_login(token))
        if is_token(ACCESS, token):
            return await self._principals.get(_memory_key("account", "", token), lambda: self._load_account(token))
        if prefix_of("admin", token) is not None:
            return await self._principals.get(_memory_key("admin", "", token), lambda: self._load_admin(token))
        if token.startswith((SESSION, WALLET_LOGIN)):
            raise SessionTokenInvalid
        if token.startswith(ACCESS):
            raise TokenInvalid
        raise CredentialsMissing("a user's token needs X-App-Id and X-App-Secret next to it")

    async def _load_session(self, token: str) -> tuple[Principal, datetime | None]:
        token_hash = hash_secret(token)
        async with self._database.system("authenticate") as uow:
            session = await store.find_session(uow, token_hash)
            if session is None or session.status != "active" or session.app_status != "active":
                raise SessionTokenInvalid
            content = contents.of_session_token(session.app_id, session.id)
            await self._seals.check(uow, session.app_id, [(Kind.SESSION_TOKEN, token_hash.hex(), content)])
        if self._clock.now() >= session.expires_at:
            raise TokenExpired("the session signer has expired")
        principal = Principal(kind="session", app_id=session.app_id, wallet_id=session.wallet_id, session_id=session.id)
        return principal, session.expires_at

    async def _load_login(self, token: str) -> tuple[Principal, datetime | None]:
        token_hash = hash_secret(token)
        async with self._database.system("authenticate") as uow:
            login = await store.find_external_session(uow, token_hash)
            if login is None:
                raise SessionTokenInvalid
            await self._seals.check(uow, DEPLOYMENT, [(Kind.LOGIN, token_hash.hex(), contents.of_login(*login))])
        address, expires_at = login
        if self._clock.now() >= expires_at:
            raise TokenExpired("the login has expired")
        return Principal(kind="external", address=address), expires_at

    async def _load_account(self, token: str) -> tuple[Principal, datetime | None]:
        async with self._database.system("authenticate") as uow:
            login = await store.find_login(uow, token_hash := hash_secret(token))
            if login is None or not login.is_open:
                raise TokenInvalid
            user = login.user
            if not self._seals.is_sealed(store.LOGIN_BEARER, token_hash.hex(), login.content(), login.seal):
                raise AuthorityTampered("the token has no seal or a wrong one")
            await self._seals.check(uow, user.app_id, [(Kind.USER, user.id, user.content())])
        if user.status != "active":
            raise UserDisabled
        if self._clock.now() >= login.expires_at:
            raise TokenExpired
        return Principal(kind="user", app_id=user.app_id, user_id=user.id, role=user.role), login.expires_at

    async def _load_admin(self, token: str) -> tuple[Principal, datetime | None]:
        async with self._database.system("authenticate") as uow:
            found = await store.find_admin(uow, prefix_of("admin", token) or "")
            admin_id, known, is_active = found or ("", _NOBODY, False)
            if not hmac.compare_digest(known, hash_secret(token)) or not is_active:
                raise AdminCredentialInvalid
            content = contents.of_admin(prefix_of("admin", token) or "", known, "active")
            await self._seals.check(uow, DEPLOYMENT, [(Kind.ADMIN, admin_id, content)])
            await store.touch_admin(uow, admin_id, self._clock.now())
        return Principal(kind="admin", name=admin_id), None


class _Memory(Generic[T]):
    """Values by the hash of the credentials that they stand for; one load at a time for each."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._values: dict[bytes, tuple[T, datetime]] = {}
        self._locks: WeakValueDictionary[bytes, asyncio.Lock] = WeakValueDictionary()

    async def get(self, key: bytes, load: Callable[[], Awaitable[tuple[T, datetime | None]]]) -> T:
        """The remembered value, or what `load` returns with the moment at which it ends by itself."""
        if (value := self._find(key)) is not None:
            return value
        lock = self._locks.get(key)
        if lock is None:
            lock = self._locks[key] = asyncio.Lock()
        async with lock:
            if (value := self._find(key)) is not None:
                return value
            value, ends_at = await load()
            until = self._clock.now() + REMEMBER
            while len(self._values) >= MAX_REMEMBERED:
                self._values.pop(next(iter(self._values)))
            self._values.pop(key, None)
            self._values[key] = (value, until if ends_at is None else min(until, ends_at))
            return value

    def clear(self) -> None:
        self._values.clear()

    def _find(self, key: bytes) -> T | None:
        known = self._values.get(key)
        return known[0] if known is not None and self._clock.now() < known[1] else None


def is_inside(address: str | None, networks: Sequence[IPv4Network | IPv6Network]) -> bool:
    """Whether an address lies in one of the networks; one that cannot be read does not."""
    try:
        found = ip_address(address or "")
    except ValueError:
        return False
    if isinstance(found, IPv6Address) and found.ipv4_mapped is not None:
        found = found.ipv4_mapped
    return any(found in network for network in networks)


def _memory_key(kind: str, app_id: AppId | str, credential: str) -> bytes:
    return hashlib.sha256(f"{kind}\n{app_id}\n{credential}".encode("utf-8", "surrogatepass")).digest()


def _bearer(authorization: str | None) -> str | None:
    if authorization is None:
        return None
    scheme, _, token = authorization.partition(" ")
    if scheme.lower() != "bearer" or not token.strip():
        raise TokenInvalid("expected Authorization: Bearer <token>")
    return token.strip()
