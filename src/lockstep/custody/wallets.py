"""Wallets: showing and changing them. The registry makes and lists them.

An app acts for wallets without an owner. A wallet with an owner changes by its owner's token only, though the app may
always freeze it. A session signer sees its wallet and changes nothing. What a caller may not see does not exist for it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Literal

from lockstep.chains.evm import Address
from lockstep.custody import store
from lockstep.custody.audit import AuditEvent
from lockstep.custody.base import Base, require_app_or_user
from lockstep.custody.errors import OwnerRequired, WalletNotFound
from lockstep.custody.seals import Content, Kind, contents
from lockstep.custody.types import Principal, Wallet
from lockstep.custody.views import describe_wallet
from lockstep.kit.database import UnitOfWork
from lockstep.kit.ids import AppId, WalletId
from lockstep.kit.outbox import Event, append
from lockstep.kit.telemetry import current_correlation_id


class WalletService(Base):
    """Everything about wallets that signs nothing."""

    async def get_wallet(self, principal: Principal, wallet_id: str) -> Wallet:
        """
        Raises:
            WalletNotFound: there is none for this caller.
        """
        async with self._database.tenant(principal.tenant) as uow:
            return await self._visible_wallet(uow, principal, wallet_id)

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
            before, wallet = wallet, await store.update_wallet(uow, changed, self._clock.now())
            await self._reseal(uow, before, wallet)
            facts = {"policy_ids": list(wallet.policy_ids), "status": wallet.status}
            await self._record(uow, principal, wallet, "wallet.changed", facts)
        return wallet

    async def _reseal(self, uow: UnitOfWork, before: Wallet, after: Wallet) -> None:
        contents_of = (wallet_content(before), wallet_content(after))
        await self._seals.change(uow, after.app_id, Kind.WALLET, after.id, *contents_of)

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
        self, uow: UnitOfWork, principal: Principal, wallet: Wallet, action: str, facts: dict[str, Any]
    ) -> None:
        """Note a change of a wallet in the audit log, and tell those who follow it."""
        self._audit.append(uow, audit_event(principal, wallet, action, facts))
        await append(uow, stream_event(wallet, "wallet_updated"))


def audit_event(principal: Principal, wallet: Wallet, action: str, facts: dict[str, Any]) -> AuditEvent:
    """What somebody did to a wallet."""
    return AuditEvent(
        app_id=wallet.app_id,
        subject=wallet.id,
        actor=principal.label,
        action=action,
        resource=f"wallet:{wallet.id}",
        facts=facts,
        correlation_id=current_correlation_id(),
    )


def stream_event(wallet: Wallet, kind: str) -> Event:
    """A wallet as it is after a change."""
    return Event(
        topic="wallets",
        type=kind,
        object_id=wallet.id,
        version=wallet.version,
        data=describe_wallet(wallet),
        app_id=wallet.app_id,
        correlation_id=current_correlation_id(),
    )


def wallet_content(wallet: Wallet) -> Content:
    """What is sealed of a wallet."""
    return contents.of_wallet(
        wallet.app_id,
        wallet.address,
        wallet.owner_user_id,
        wallet.policy_ids,
        wallet.status,
        is_archived=wallet.archived_at is not None,
    )
