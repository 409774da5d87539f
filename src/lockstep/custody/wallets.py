"""Wallets: making, showing and changing them.

An app acts for wallets without an owner. A wallet with an owner changes by its owner's token only, though the app may
always freeze it. A session signer sees its wallet and changes nothing. What a caller may not see does not exist for it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Literal

from lockstep.chains.evm import Address
from lockstep.custody import store
from lockstep.custody.access.store import is_user
from lockstep.custody.audit import AuditEvent
from lockstep.custody.base import Base, after_of, require_app_or_user
from lockstep.custody.errors import (
    CallerNotAllowed,
    OwnerRequired,
    UserNotFound,
    WalletNotFound,
)
from lockstep.custody.types import Principal, Wallet
from lockstep.custody.views import describe_wallet
from lockstep.kit.database import UnitOfWork
from lockstep.kit.ids import AppId, UserId, WalletId, new_id
from lockstep.kit.outbox import Event, append
from lockstep.kit.paging import Page, page_of
from lockstep.kit.telemetry import current_correlation_id


class WalletService(Base):
    """Everything about wallets that signs nothing."""

    async def create_wallet(
        self,
        uow: UnitOfWork,
        principal: Principal,
        *,
        policy_ids: Sequence[str] = (),
        owner_user_id: str | None = None,
        display_name: str | None = None,
    ) -> Wallet:
        """Have the signer make a key, and store the wallet. A user's wallet is owned by that user.

        Raises:
            CallerNotAllowed: neither an app nor a user, or a user for somebody else.
            PolicyNotFound, UserNotFound: the app has none with this id.
            SignerUnavailable: no key can be made at the moment.
        """
        app_id = require_app_or_user(principal)
        if principal.kind == "user":
            if owner_user_id not in (None, principal.user_id):
                raise CallerNotAllowed("a user makes wallets for itself only")
            owner_user_id = principal.user_id
        elif owner_user_id is not None and not await is_user(uow, app_id, owner_user_id):
            raise UserNotFound
        await self._check_policies(uow, principal, policy_ids)
        wallet_id, decision_id = WalletId(new_id()), new_id()
        signer = await self._executor.identity()
        key = await self._executor.generate_key(
            app_id, wallet_id, self._issuer.issue_generation(signer, app_id, wallet_id, decision_id)
        )
        wallet = Wallet(
            id=wallet_id,
            app_id=app_id,
            address=key.address,
            chain_type="ethereum",
            public_key=key.public_key,
            policy_ids=tuple(dict.fromkeys(policy_ids)),
            owner_user_id=None if owner_user_id is None else UserId(owner_user_id),
            display_name=display_name,
            status="active",
            version=1,
            created_at=self._clock.now(),
        )
        await store.insert_wallet(uow, wallet, key.share_set, key.auth_share, key.recovery_share)
        facts = {"address": wallet.address, "policy_ids": list(wallet.policy_ids), "owner": owner_user_id}
        await self._record(uow, principal, wallet, "wallet.created", {**facts, "decision_id": decision_id})
        return wallet

    async def get_wallet(self, principal: Principal, wallet_id: str) -> Wallet:
        """
        Raises:
            WalletNotFound: there is none for this caller.
        """
        async with self._database.tenant(principal.tenant) as uow:
            return await self._visible_wallet(uow, principal, wallet_id)

    async def list_wallets(
        self,
        principal: Principal,
        *,
        user_id: str | None = None,
        address: str | None = None,
        cursor: str | None = None,
        limit: int = 50,
    ) -> Page[Wallet]:
        """Wallets that the caller may see, oldest first: all of the app, those of the user, or the session's one."""
        own = principal.user_id if principal.kind == "user" else user_id
        only = principal.wallet_id if principal.kind == "session" else None
        nothing = principal.kind == "user" and user_id not in (None, principal.user_id)
        async with self._database.tenant(principal.tenant) as uow:
            wallets = await store.list_wallets(
                uow,
                principal.tenant,
                owner_user_id=own,
                wallet_id=only,
                address=address,
                after=after_of(cursor),
                limit=0 if nothing else limit + 1,
            )
        return page_of(wallets, limit, lambda wallet: (wallet.id,))

    async def update_wallet(
        self,
        principal: Principal,
        wallet_id: str,
        *,
        policy_ids: Sequence[str] | None = None,
        display_name: str | None = None,
        status: Literal["active", "frozen"] | None = None,
    ) -> Wallet:
        """Change what is given. Freezing takes effect at once, also for what is queued and not yet signed.

        Raises:
            WalletNotFound, PolicyNotFound: there is none for this caller.
            OwnerRequired: the app may only freeze a wallet that has an owner.
            CallerNotAllowed: a session signer.
        """
        app_id = require_app_or_user(principal)
        async with self._database.tenant(app_id) as uow:
            await store.lock_wallet(uow, app_id, wallet_id)
            wallet = await self._visible_wallet(uow, principal, wallet_id)
            only_freezes = status == "frozen" and policy_ids is None and display_name is None
            if principal.kind == "app" and wallet.owner_user_id is not None and not only_freezes:
                raise OwnerRequired("this wallet has an owner; the app may freeze it, everything else is the owner's")
            if policy_ids is not None:
                await self._check_policies(uow, principal, policy_ids)
            changed = replace(
                wallet,
                policy_ids=wallet.policy_ids if policy_ids is None else tuple(dict.fromkeys(policy_ids)),
                display_name=wallet.display_name if display_name is None else display_name,
                status=status or wallet.status,
            )
            if changed == wallet:
                return wallet
            wallet = await store.update_wallet(uow, changed, self._clock.now())
            facts = {"policy_ids": list(wallet.policy_ids), "status": wallet.status}
            await self._record(uow, principal, wallet, "wallet.changed", facts, "wallet_updated")
        return wallet

    async def find_wallet(self, uow: UnitOfWork, app_id: AppId, wallet_id: str) -> Wallet:
        """The wallet of an app.

        Raises:
            WalletNotFound: the app has none with this id.
        """
        wallet = await store.find_wallet(uow, app_id, wallet_id)
        if wallet is None:
            raise WalletNotFound
        return wallet

    async def list_visible(self, uow: UnitOfWork, principal: Principal) -> list[WalletId] | None:
        """The wallets whose doings a caller may see; None: all of its app's."""
        if principal.kind == "session":
            return [principal.wallet_id] if principal.wallet_id is not None else []
        if principal.kind == "user":
            return await store.list_owned_ids(uow, principal.tenant, principal.user_id) if principal.user_id else []
        return None

    async def find_wallet_by_address(self, uow: UnitOfWork, address: Address) -> Wallet | None:
        """The custody wallet with this address among those that the unit of work may see."""
        return await store.find_wallet_by_address(uow, address)

    async def _record(
        self,
        uow: UnitOfWork,
        principal: Principal,
        wallet: Wallet,
        action: str,
        facts: dict[str, Any],
        event: str = "wallet_created",
    ) -> None:
        self._audit.append(
            uow,
            AuditEvent(
                app_id=wallet.app_id,
                subject=wallet.id,
                actor=principal.label,
                action=action,
                resource=f"wallet:{wallet.id}",
                facts=facts,
                correlation_id=current_correlation_id(),
            ),
        )
        await append(
            uow,
            Event(
                topic="wallets",
                type=event,
                object_id=wallet.id,
                version=wallet.version,
                data=describe_wallet(wallet),
                app_id=wallet.app_id,
                correlation_id=current_correlation_id(),
            ),
        )
