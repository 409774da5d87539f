"""Making apps, secrets, administrators and wallet logins."""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final

from lockstep.chains.evm import Address, BadSignature, personal_digest, recover_address
from lockstep.custody.access import store
from lockstep.custody.access.authenticator import Authenticator
from lockstep.custody.access.login import login_message, read_login_message
from lockstep.custody.access.secrets import WALLET_LOGIN, Secret, new_secret, new_token
from lockstep.custody.access.tokens import check_issuer
from lockstep.custody.access.types import App, AppSecret, Issuer, NewSecret, WalletLogin
from lockstep.custody.audit import AuditEvent, AuditLog
from lockstep.custody.errors import (
    AppNotFound,
    CallerNotAllowed,
    IssuerInvalid,
    LastSecret,
    LoginInvalid,
    LoginReplayed,
    SecretExpiryInvalid,
    SecretNotFound,
)
from lockstep.custody.seals import Kind, Seals, contents
from lockstep.custody.seals.service import DEPLOYMENT
from lockstep.custody.types import Principal
from lockstep.kit.clock import Clock, rfc3339
from lockstep.kit.database import Database, UnitOfWork
from lockstep.kit.ids import AppId, new_id

LOGIN_LIFETIME: Final = timedelta(hours=1)
MAX_ISSUERS: Final = 10


class AccessService:
    """Apps and their credentials, and logins of wallets outside custody."""

    def __init__(
        self,
        database: Database,
        audit: AuditLog,
        authenticator: Authenticator,
        seals: Seals,
        clock: Clock,
        *,
        origins: Sequence[str],
        known_issuers: Sequence[Issuer] = (),
    ) -> None:
        """
        Args:
            origins: public origins of this deployment, ``https://host[:port]``; the first one is offered in messages.
            known_issuers: issuers that an app may name without saying where their keys are.
        """
        self._database = database
        self._audit = audit
        self._authenticator = authenticator
        self._seals = seals
        self._clock = clock
        self._origins = tuple(origin.rstrip("/") for origin in origins)
        self._known_issuers = {(known.issuer, known.audience): known for known in known_issuers}

    async def create_app(
        self, principal: Principal, name: str, issuers: Sequence[Issuer] = ()
    ) -> tuple[App, NewSecret]:
        """Make an app and its first secret, whose text is shown only here.

        Raises:
            CallerNotAllowed: not an administrator.
            IssuerInvalid: an issuer that cannot work.
        """
        require_admin(principal)
        issuers = self._complete(issuers)
        secret, now = new_secret("app"), self._clock.now()
        app = App(id=AppId(new_id()), name=name, status="active", issuers=tuple(issuers), created_at=now)
        secret_id = new_id()
        async with self._database.system("create_app") as uow:
            await store.insert_app(uow, app)
            await self._seals.add(uow, app.id, Kind.APP, {app.id: contents.of_app(app.id, app.status)})
            await self._seals.add(uow, app.id, Kind.APP_ACCESS, {app.id: store.access_content(app)})
            await insert_secret(uow, self._seals, app.id, secret_id, secret, now)
            self._audit.append(
                uow,
                access_event(app.id, principal, "app.created"),
                access_event(app.id, principal, "secret.created", secret_id),
            )
        return app, NewSecret(id=secret_id, text=secret.text)

    async def get_app(self, app_id: AppId) -> App:
        """
        Raises:
            AppNotFound: there is none with this id.
        """
        async with self._database.tenant(app_id) as uow:
            app = await store.find_app(uow, app_id)
        if app is None:
            raise AppNotFound
        return app

    async def set_issuers(self, principal: Principal, app_id: AppId, issuers: Sequence[Issuer]) -> App:
        """Replace the issuers whose users the app knows.

        Raises:
            CallerNotAllowed: not an administrator.
            AppNotFound, IssuerInvalid: as named.
        """
        require_admin(principal)
        issuers = self._complete(issuers)
        async with self._database.system("set_issuers") as uow:
            before = await store.lock_app(uow, app_id)
            if before is None:
                raise AppNotFound
            app = await store.update_issuers(uow, app_id, tuple(issuers))
            await self._seals.change(
                uow, app_id, Kind.APP_ACCESS, app_id, store.access_content(before), store.access_content(app)
            )
            self._audit.append(uow, access_event(app_id, principal, "app.issuers_changed"))
        self._authenticator.forget()
        return app

    def _complete(self, issuers: Sequence[Issuer]) -> tuple[Issuer, ...]:
        """The issuers, with the keys of those that this deployment knows; all of them hold."""
        found = tuple(
            self._known_issuers.get((each.issuer, each.audience), each) if _has_no_keys(each) else each
            for each in issuers
        )
        _check_issuers(found)
        return found

    async def create_secret(self, principal: Principal, expires_at: datetime | None = None) -> NewSecret:
        """Make another secret for the caller's app; the old ones stay good until they expire or are revoked.

        Raises:
            CallerNotAllowed: not the app itself. SecretExpiryInvalid: see `check_expiry`.
        """
        app_id, now = _require_app(principal), self._clock.now()
        check_expiry(expires_at, now)
        secret, secret_id = new_secret("app"), new_id()
        async with self._database.tenant(app_id) as uow:
            await insert_secret(uow, self._seals, app_id, secret_id, secret, now, expires_at)
            self._audit.append(uow, access_event(app_id, principal, "secret.created", secret_id))
        return NewSecret(id=secret_id, text=secret.text, expires_at=expires_at)

    async def rotate_secrets(
        self, principal: Principal, overlap: timedelta, expires_at: datetime | None = None
    ) -> NewSecret:
        """Make a new secret, and let all others end once the overlap is over, in which both are good.

        Raises:
            CallerNotAllowed: not the app itself. SecretExpiryInvalid: see `check_expiry`.
        """
        app_id, now = _require_app(principal), self._clock.now()
        check_expiry(expires_at, now)
        secret, secret_id, ends_at = new_secret("app"), new_id(), now + overlap
        async with self._database.tenant(app_id) as uow:
            old = await store.lock_active_secrets(uow, app_id, now)
            ending = [one for one in old if one.expires_at is None or one.expires_at > ends_at]
            for one in ending:
                ended = await store.update_secret(uow, replace(one, expires_at=ends_at))
                await self._seals.change(uow, app_id, Kind.SECRET, one.id, one.content(), ended.content())
            await insert_secret(uow, self._seals, app_id, secret_id, secret, now, expires_at)
            facts = {"ending": [one.id for one in ending], "ends_at": rfc3339(ends_at)}
            self._audit.append(uow, access_event(app_id, principal, "secret.rotated", secret_id, facts=facts))
        self._authenticator.forget()
        return NewSecret(id=secret_id, text=secret.text, expires_at=expires_at)

    async def list_secrets(self, principal: Principal) -> list[AppSecret]:
        """What is known of the secrets of the caller's app; never their text.

        Raises:
            CallerNotAllowed: not the app itself.
        """
        app_id = _require_app(principal)
        async with self._database.tenant(app_id) as uow:
            return await store.list_secrets(uow, app_id, self._clock.now())

    async def revoke_secret(self, principal: Principal, secret_id: str) -> None:
        """End a secret: at once in this process, within two seconds in others.

        Raises:
            CallerNotAllowed: not the app itself.
            SecretNotFound: the app has none with this id.
            LastSecret: no other secret is active.
        """
        app_id = _require_app(principal)
        async with self._database.tenant(app_id) as uow:
            active = await store.lock_active_secrets(uow, app_id, self._clock.now())
            if [one.id for one in active] == [secret_id]:
                raise LastSecret
            before = await store.lock_secret(uow, app_id, secret_id)
            if before is None:
                raise SecretNotFound
            after = await store.update_secret(uow, replace(before, is_active=False))
            if after != before:
                content = (before.content(), after.content())
                await self._seals.change(uow, app_id, Kind.SECRET, secret_id, *content)
            self._audit.append(uow, access_event(app_id, principal, "secret.revoked", secret_id))
        self._authenticator.forget()

    def login_message(self, address: Address, chain_id: int) -> str:
        """A message that logs this address in once it is signed; nothing is stored yet."""
        nonce = secrets.token_hex(16)
        return login_message(
            address=address, origin=self._origins[0], chain_id=chain_id, nonce=nonce, now=self._clock.now()
        )

    async def login(self, message: str, signature: bytes) -> WalletLogin:
        """Log in with an own key; the token is good for an hour and shown only here.

        Raises:
            LoginInvalid: the message does not hold, or was not signed by the address that it names.
            LoginReplayed: the message was used before.
        """
        now = self._clock.now()
        login = read_login_message(message, self._origins, now)
        try:
            signer = recover_address(personal_digest(message.encode()), signature)
        except BadSignature as error:
            raise LoginInvalid(f"the signature does not hold: {error.detail}") from error
        if signer != login.address:
            raise LoginInvalid("the message was not signed by the address that it names")
        token, token_hash = new_token(WALLET_LOGIN)
        expires_at = now + LOGIN_LIFETIME
        async with self._database.system("wallet_login") as uow:
            if not await store.insert_external_session(uow, token_hash, login.address, login.nonce, now, expires_at):
                raise LoginReplayed
            content = contents.of_login(login.address, expires_at)
            await self._seals.add(uow, DEPLOYMENT, Kind.LOGIN, {token_hash.hex(): content})
        return WalletLogin(token=token, address=login.address, expires_at=expires_at)


async def insert_secret(
    uow: UnitOfWork,
    seals: Seals,
    app_id: AppId,
    secret_id: str,
    secret: Secret,
    now: datetime,
    expires_at: datetime | None = None,
) -> None:
    """Store a new secret of an app under its seal."""
    await store.insert_secret(uow, secret_id, app_id, secret.prefix, secret.hash, now, expires_at)
    content = contents.of_secret(app_id, secret.prefix, secret.hash, "active", expires_at)
    await seals.add(uow, app_id, Kind.SECRET, {secret_id: content})


async def bootstrap_admin(database: Database, seals: Seals, clock: Clock) -> NewSecret | None:
    """Make the first administrator's credential; None when there is one already. Its text is shown only here."""
    secret, now = new_secret("admin"), clock.now()
    async with database.system("bootstrap") as uow:
        await store.lock_admins(uow)
        if await store.has_admin(uow):
            return None
        admin_id = new_id()
        await store.insert_admin(uow, admin_id, secret.prefix, secret.hash, now)
        content = contents.of_admin(secret.prefix, secret.hash, "active")
        await seals.add(uow, DEPLOYMENT, Kind.ADMIN, {admin_id: content})
    return NewSecret(id=admin_id, text=secret.text)


def require_admin(principal: Principal) -> None:
    """
    Raises:
        CallerNotAllowed: not an administrator.
    """
    if principal.kind != "admin":
        raise CallerNotAllowed(f"expected an administrator, was {principal.kind}")


def _require_app(principal: Principal) -> AppId:
    if principal.kind != "app":
        raise CallerNotAllowed(f"expected the app's own credentials, was {principal.kind}")
    return principal.tenant


def _check_issuers(issuers: Sequence[Issuer]) -> None:
    if len(issuers) > MAX_ISSUERS:
        raise IssuerInvalid(f"expected at most {MAX_ISSUERS} issuers, was {len(issuers)}")
    if len({issuer.issuer for issuer in issuers}) != len(issuers):
        raise IssuerInvalid("an issuer is named twice")
    for issuer in issuers:
        check_issuer(issuer)


def _has_no_keys(issuer: Issuer) -> bool:
    return (issuer.jwks, issuer.jwks_url, issuer.jwks_file) == (None, None, None)


def check_expiry(expires_at: datetime | None, now: datetime) -> None:
    """
    Raises:
        SecretExpiryInvalid: a secret that would be born dead.
    """
    if expires_at is not None and expires_at <= now:
        raise SecretExpiryInvalid(f"expected a time after {rfc3339(now)}")


def access_event(
    app_id: AppId,
    principal: Principal,
    action: str,
    secret_id: str | None = None,
    *,
    facts: Mapping[str, object] | None = None,
) -> AuditEvent:
    """What somebody did to an app or one of its secrets."""
    return AuditEvent(
        app_id=app_id,
        subject=app_id,
        actor=principal.label,
        action=action,
        resource=f"secret:{secret_id}" if secret_id else f"app:{app_id}",
        facts=facts or {},
    )
