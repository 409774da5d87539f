"""What the services of custody share: who may see what, and which policies somebody may attach."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from lockstep.custody import store
from lockstep.custody.access.authenticator import Authenticator
from lockstep.custody.audit import AuditLog
from lockstep.custody.authority.guard import require_owner
from lockstep.custody.authority.sealing import owner_rows
from lockstep.custody.authority.store import find_owner
from lockstep.custody.errors import (
    CallerNotAllowed,
    OwnerRequired,
    PolicyNotFound,
    TooManyPolicies,
    WalletNotFound,
)
from lockstep.custody.execution import AuthorizationIssuer, Executor
from lockstep.custody.seals import Seals
from lockstep.custody.types import Policy, Principal, Wallet
from lockstep.kit.clock import Clock
from lockstep.kit.database import Database, UnitOfWork
from lockstep.kit.ids import AppId
from lockstep.kit.paging import decode_cursor

MAX_POLICIES: Final = 10
"""Policies of one wallet or session signer."""


class Base:
    """The parts that every service of custody works with."""

    def __init__(
        self,
        *,
        database: Database,
        executor: Executor,
        issuer: AuthorizationIssuer,
        audit: AuditLog,
        seals: Seals,
        authenticator: Authenticator,
        clock: Clock,
        modules: frozenset[str] = frozenset({"coordinator"}),
    ) -> None:
        """
        Args:
            modules: names to which session signers may be granted without a token.
        """
        self._database = database
        self._executor = executor
        self._issuer = issuer
        self._audit = audit
        self._seals = seals
        self._authenticator = authenticator
        self._clock = clock
        self._modules = modules

    async def _visible_wallet(self, uow: UnitOfWork, principal: Principal, wallet_id: str) -> Wallet:
        wallet = await store.find_wallet(uow, principal.tenant, wallet_id)
        if wallet is None or (principal.kind == "session" and wallet.id != principal.wallet_id):
            raise WalletNotFound
        if principal.kind == "user" and wallet.owner_user_id != principal.user_id:
            owner = await find_owner(uow, wallet.app_id, wallet.owner_id)
            if owner is None or principal.user_id not in set(owner.all_users()):
                raise WalletNotFound
        return wallet

    async def _require_owner(
        self, uow: UnitOfWork, principal: Principal, owned: Wallet | Policy, refusal: str
    ) -> tuple[str, ...]:
        """Refuse what only the owner may do: a user by its token, keys by their signatures, the app where there is none.
        Returns the identities of the keys and users that authorised.

        Raises:
            OwnerRequired, AuthorizationInsufficient, RequestReplayed: as named.
        """
        owner = await find_owner(uow, owned.app_id, owned.owner_id)
        if owner is not None:
            await self._seals.check(uow, owned.app_id, list(owner_rows(owned.app_id, owner)))
            return await require_owner(uow, principal, owner)
        if owned.owner_id is not None or owned.owner_user_id != principal.user_id:
            raise OwnerRequired(refusal)
        return ()

    async def _check_policies(self, uow: UnitOfWork, principal: Principal, policy_ids: Sequence[str]) -> None:
        """Policies are attached by who may see them; a user's one by anybody who acts for the app."""
        if not policy_ids:
            return
        if len(policy_ids) > MAX_POLICIES:
            raise TooManyPolicies(f"expected at most {MAX_POLICIES} policies, was {len(policy_ids)}")
        known = await store.known_policies(uow, principal.tenant, policy_ids)
        for policy_id in policy_ids:
            owner = known.get(policy_id)
            if policy_id not in known or (principal.kind == "user" and owner not in (None, principal.user_id)):
                raise PolicyNotFound(f"there is no policy {policy_id[:64]}")


def require_app_or_user(principal: Principal) -> AppId:
    if principal.kind not in ("app", "user"):
        raise CallerNotAllowed(f"expected the app or a user of it, was {principal.kind}")
    return principal.tenant


def after_of(cursor: str | None) -> str | None:
    """The id behind which a page begins."""
    return None if cursor is None else str(decode_cursor(cursor, str)[0])
