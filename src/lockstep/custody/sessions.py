"""Session signers: somebody else may sign for a wallet, for a time and inside its policies.

Granted by the owner (or the app where there is none), revoked by owner and app alike. They can only narrow what the
wallet may do.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from lockstep.custody import store
from lockstep.custody.access.secrets import SESSION, new_token
from lockstep.custody.audit import AuditEvent
from lockstep.custody.authority.store import find_owner
from lockstep.custody.base import Base, after_of, require_app_or_user
from lockstep.custody.errors import (
    SessionAmbiguous,
    SessionInvalid,
    SessionSignerNotFound,
)
from lockstep.custody.limits.schema import MAX_WINDOW, MIN_WINDOW
from lockstep.custody.seals import Content, Kind, Seals, contents
from lockstep.custody.types import Principal, SessionSigner, Wallet
from lockstep.custody.view import Method
from lockstep.custody.views import describe_session
from lockstep.custody.wallets import wallet_content
from lockstep.kit.database import UnitOfWork
from lockstep.kit.ids import AppId, WalletId, new_id
from lockstep.kit.outbox import Event, append
from lockstep.kit.paging import Page, page_of
from lockstep.kit.telemetry import current_correlation_id

MAX_SESSION: Final = timedelta(days=366)
_MODULE = re.compile(r"module:([a-z][a-z_]{1,40})")


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionTerms:
    """What a session signer is to be allowed."""

    expires_at: datetime
    allowed_methods: Sequence[str]
    policy_ids: Sequence[str] = ()
    max_value_per_transaction: int | None = None
    """Smallest unit of the native coin. Tokens are limited by policies."""
    max_total_value: int | None = None
    """Most native coin in all, over all chains together; everything that moves it counts, however it is wrapped."""
    max_value_per_window: int | None = None
    window_seconds: int | None = None
    """Length of its rolling window, 3600 to 259200."""
    max_transactions: int | None = None
    """Most requests that are signed or sent, of every kind."""
    grantee: str = "token"
    """``token``; ``key`` for whoever signs with the key; or ``module:<name>`` for a module of this deployment."""
    authorization_key_id: str | None = None
    """Key that must sign each request, also of who has the token."""
    display_name: str | None = None


class SessionService(Base):
    """Session signers of wallets."""

    async def create_session_signer(
        self, principal: Principal, wallet_id: str, terms: SessionTerms
    ) -> tuple[SessionSigner, str | None]:
        """Grant somebody else to sign for a wallet, inside the wallet's own policies; returns the token where there is
        one, which is shown only here.

        Raises:
            WalletNotFound, PolicyNotFound: there is none for this caller.
            OwnerRequired, AuthorizationInsufficient: the wallet has an owner, who has not authorised it.
            SessionInvalid: an end in the past or too far away, no methods, unknown ones, or an unknown module; a key that
                cannot stand for a session signer.
            CallerNotAllowed: a session signer grants nothing.
        """
        app_id, now = require_app_or_user(principal), self._clock.now()
        self._check_terms(terms, now)
        token, token_hash = new_token(SESSION) if terms.grantee == "token" else (None, None)
        session = SessionSigner(
            id=new_id(),
            app_id=app_id,
            wallet_id=WalletId(wallet_id),
            grantee=terms.grantee,
            display_name=terms.display_name,
            allowed_methods=tuple(dict.fromkeys(terms.allowed_methods)),
            policy_ids=tuple(dict.fromkeys(terms.policy_ids)),
            max_value_per_transaction=terms.max_value_per_transaction,
            max_total_value=terms.max_total_value,
            max_value_per_window=terms.max_value_per_window,
            window_seconds=terms.window_seconds,
            max_transactions=terms.max_transactions,
            authorization_key_id=terms.authorization_key_id,
            status="active",
            expires_at=terms.expires_at,
            created_at=now,
            revoked_at=None,
        )
        async with self._database.tenant(app_id) as uow:
            wallet = await self._visible_wallet(uow, principal, wallet_id)
            await self._seals.check(uow, app_id, [(Kind.WALLET, wallet.id, wallet_content(wallet))])
            refusal = "this wallet has an owner; only the owner grants session signers"
            by = await self._require_owner(uow, principal, wallet, refusal)
            if terms.authorization_key_id is not None:
                await store.lock_wallet(uow, app_id, wallet_id)
                await self._check_key(uow, wallet, terms, now)
            await self._check_policies(uow, principal, terms.policy_ids)
            await store.insert_session(uow, session, token_hash, principal.label)
            await self._seals.add(uow, app_id, Kind.SESSION, {session.id: _content(session)})
            if token_hash is not None:
                content = contents.of_session_token(app_id, session.id)
                await self._seals.add(uow, app_id, Kind.SESSION_TOKEN, {token_hash.hex(): content})
            await self._record_session(uow, principal, session, "session_signer.created", by)
        return session, token

    async def list_session_signers(
        self, principal: Principal, wallet_id: str, *, cursor: str | None = None, limit: int = 50
    ) -> Page[SessionSigner]:
        """Session signers of a wallet, oldest first, ended ones too.

        Raises:
            WalletNotFound: there is none for this caller.
            CallerNotAllowed: a session signer does not see the others.
        """
        app_id = require_app_or_user(principal)
        async with self._database.tenant(app_id) as uow:
            await self._visible_wallet(uow, principal, wallet_id)
            sessions = await store.list_sessions(uow, app_id, wallet_id, after=after_of(cursor), limit=limit + 1)
        return page_of(sessions, limit, lambda session: (session.id,))

    async def revoke_session_signer(self, principal: Principal, wallet_id: str, session_id: str) -> SessionSigner:
        """End a session signer at once: what it has queued is not signed any more. Owner and app both may.

        Raises:
            WalletNotFound, SessionSignerNotFound: there is none for this caller.
            CallerNotAllowed: a session signer.
        """
        app_id = require_app_or_user(principal)
        async with self._database.tenant(app_id) as uow:
            await self._visible_wallet(uow, principal, wallet_id)
            before = await store.lock_session(uow, app_id, wallet_id, session_id)
            if before is None:
                raise SessionSignerNotFound
            if before.status == "revoked":
                return before
            session = await end_session(uow, self._seals, before, self._clock.now())
            await self._record_session(uow, principal, session, "session_signer.revoked")
        self._authenticator.forget()
        return session

    async def find_module_principal(
        self, uow: UnitOfWork, module: str, app_id: AppId, wallet_id: str
    ) -> Principal | None:
        """As whom a module may act for a wallet now: the session signer granted to it; None when there is none."""
        session = await store.find_module_session(uow, app_id, wallet_id, f"module:{module}", self._clock.now())
        if session is None:
            return None
        return Principal(kind="session", app_id=app_id, wallet_id=session.wallet_id, session_id=session.id, name=module)

    async def find_actor(self, principal: Principal, wallet_id: str) -> Principal:
        """As whom a caller acts for a wallet: as the session signer whose key signed the request, or as itself.

        Such a key never acts as anything else for the wallet, so its limits hold whoever owns the wallet.

        Raises:
            SessionAmbiguous: the keys of several session signers signed it.
        """
        proof = principal.proof
        if principal.kind != "app" or proof is None:
            return principal
        async with self._database.tenant(principal.tenant) as uow:
            sessions = await store.list_key_sessions(uow, principal.tenant, wallet_id, self._clock.now())
        found = [session_id for session_id, key in sessions if proof.covers(key)]
        if len(found) > 1:
            raise SessionAmbiguous
        if not found:
            return principal
        return Principal(
            kind="session",
            app_id=principal.app_id,
            wallet_id=WalletId(wallet_id),
            session_id=found[0],
            proof=proof,
        )

    async def _check_key(self, uow: UnitOfWork, wallet: Wallet, terms: SessionTerms, now: datetime) -> None:
        """It must be clear as whom a key signs."""
        key_id = terms.authorization_key_id
        key = await find_owner(uow, wallet.app_id, key_id)
        if key is None or key.kind != "authorization_key" or not all(one.is_active for one in key.keys):
            raise SessionInvalid("expected an active authorization key of the app as authorization_key_id")
        owner = await find_owner(uow, wallet.app_id, wallet.owner_id)
        if owner is not None and key_id in {one.id for one in owner.all_keys()}:
            raise SessionInvalid("the key belongs to the owner of the wallet; a session signer has one of its own")
        if terms.grantee != "key":
            return
        if key_id in {one.id for _, one in await store.list_key_sessions(uow, wallet.app_id, wallet.id, now)}:
            raise SessionInvalid("the key stands for another session signer of this wallet; revoke that one first")

    def _check_terms(self, terms: SessionTerms, now: datetime) -> None:
        if not now < terms.expires_at <= now + MAX_SESSION:
            raise SessionInvalid(f"expected an end in the future, at most {MAX_SESSION.days} days away")
        unknown = [method for method in terms.allowed_methods if method not in set(Method)]
        if unknown or not terms.allowed_methods:
            raise SessionInvalid(f"expected one or more of {', '.join(Method)} as allowed methods")
        if (terms.max_value_per_window is None) != (terms.window_seconds is None):
            raise SessionInvalid("expected max_value_per_window and window_seconds together, or none of them")
        if terms.window_seconds is not None and not MIN_WINDOW <= terms.window_seconds <= MAX_WINDOW:
            raise SessionInvalid(f"expected window_seconds from {MIN_WINDOW} to {MAX_WINDOW}")
        if (terms.grantee == "key") > (terms.authorization_key_id is not None):
            raise SessionInvalid("expected authorization_key_id, by which the session signer is found")
        if terms.grantee not in ("token", "key"):
            if terms.authorization_key_id is not None:
                raise SessionInvalid("a module of this deployment signs no requests; leave authorization_key_id out")
            found = _MODULE.fullmatch(terms.grantee)
            if found is None or found.group(1) not in self._modules:
                expected = ", ".join(f"module:{name}" for name in sorted(self._modules))
                raise SessionInvalid(f"expected token, key or {expected} as the grantee")

    async def _record_session(
        self,
        uow: UnitOfWork,
        principal: Principal,
        session: SessionSigner,
        action: str,
        by: tuple[str, ...] = (),
    ) -> None:
        shown = describe_session(session)
        self._audit.append(
            uow,
            AuditEvent(
                app_id=session.app_id,
                subject=session.wallet_id,
                actor=principal.label,
                action=action,
                resource=f"wallet:{session.wallet_id}",
                facts={"session_signer": shown, **({"authorized_by": list(by)} if by else {})},
                correlation_id=current_correlation_id(),
            ),
        )
        await append(
            uow,
            Event(
                topic="wallets",
                type=action.replace(".", "_"),
                object_id=session.id,
                version=2 if session.status == "revoked" else 1,
                data=shown,
                app_id=session.app_id,
                correlation_id=current_correlation_id(),
            ),
        )


async def end_session(uow: UnitOfWork, seals: Seals, session: SessionSigner, now: datetime) -> SessionSigner:
    """End an active session signer that is locked."""
    ended = await store.revoke_session(uow, session, now)
    await seals.change(uow, session.app_id, Kind.SESSION, session.id, _content(session), _content(ended))
    return ended


def _content(session: SessionSigner) -> Content:
    return contents.of_session(
        session.app_id,
        session.wallet_id,
        session.grantee,
        session.authorization_key_id,
        session.status,
        session.expires_at,
        session.allowed_methods,
        session.policy_ids,
        session.max_value_per_transaction,
        (session.max_total_value, session.max_value_per_window, session.window_seconds, session.max_transactions),
    )
