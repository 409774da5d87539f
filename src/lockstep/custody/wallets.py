"""Wallets: showing and changing them. The registry makes and lists them.

An app acts for wallets without an owner. A wallet with an owner changes by that user's token, or by signatures of the keys
that own it, only; though the app may always freeze it. A session signer sees its wallet and changes nothing. What a caller may not see does not exist for it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from lockstep.chains.evm import Address
from lockstep.custody import store
from lockstep.custody.audit import AuditEvent
from lockstep.custody.authority.guard import resolve_owner
from lockstep.custody.authority.types import NewOwner
from lockstep.custody.base import Base, require_app_or_user
from lockstep.custody.errors import WalletNotFound
from lockstep.custody.seals import Content, Kind, contents
from lockstep.custody.types import Principal, Wallet
from lockstep.custody.views import describe_wallet
from lockstep.kit.database import UnitOfWork
from lockstep.kit.ids import AppId, UserId, WalletId
from lockstep.kit.outbox import Event, append
from lockstep.kit.telemetry import current_correlation_id


@dataclass(frozen=True, slots=True, kw_only=True)
class WalletChange:
    """What is to change about a wallet; None stays."""

    policy_ids: Sequence[str] | None = None
    display_name: str | None = None
    status: Literal["active", "frozen"] | None = None
    owner: NewOwner | None = None


class WalletService(Base):
    """Everything about wallets that signs nothing."""

    async def get_wallet(self, principal: Principal, wallet_id: str) -> Wallet:
        """
        Raises:
            WalletNotFound: there is none for this caller.
        """
        async with self._database.tenant(principal.tenant) as uow:
            if principal.oversees_app:
                return await self.find_wallet(uow, principal.tenant, wallet_id)
            return await self._visible_wallet(uow, principal, wallet_id)

    async def update_wallet(
        self,
        principal: Principal,
        wallet_id: str,
        *,
        policy_ids: Sequence[str] | None = None,
        display_name: str | None = None,
        status: Literal["active", "frozen"] | None = None,
        owner: NewOwner | None = None,
    ) -> Wallet:
        """Change what is given. Freezing takes effect at once, also for what is queued and not yet signed.

        Raises:
            WalletNotFound, PolicyNotFound, UserNotFound, OwnerNotFound: there is none for this caller.
            OwnerRequired, AuthorizationInsufficient: the app alone may only freeze a wallet that has an owner.
            OwnerInvalid: see `resolve_owner`. RequestReplayed: the same signed request again.
            CallerNotAllowed: a session signer.
        """
        app_id = require_app_or_user(principal)
        change = WalletChange(policy_ids=policy_ids, display_name=display_name, status=status, owner=owner)
        async with self._database.tenant(app_id) as uow:
            return await self.change_wallet(uow, principal, wallet_id, change)

    async def change_wallet(
        self, uow: UnitOfWork, principal: Principal, wallet_id: str, change: WalletChange
    ) -> Wallet:
        """`update_wallet` in the caller's transaction."""
        app_id = require_app_or_user(principal)
        await store.lock_wallet(uow, app_id, wallet_id)
        wallet = await self._visible_wallet(uow, principal, wallet_id)
        by: tuple[str, ...] = ()
        if principal.kind != "app" or change != WalletChange(status="frozen"):
            refusal = "this wallet has an owner; the app may freeze it, everything else is the owner's"
            by = await self._require_owner(uow, principal, wallet, refusal)
        if change.policy_ids is not None:
            await self._check_policies(uow, principal, change.policy_ids)
        changed = replace(
            wallet,
            policy_ids=wallet.policy_ids if change.policy_ids is None else tuple(dict.fromkeys(change.policy_ids)),
            display_name=wallet.display_name if change.display_name is None else change.display_name,
            status=change.status or wallet.status,
        )
        if change.owner is not None:
            owner = await resolve_owner(uow, app_id, change.owner)
            changed = replace(
                changed,
                owner_user_id=None if owner.user_id is None else UserId(owner.user_id),
                owner_key_id=owner.key_id,
                owner_quorum_id=owner.quorum_id,
            )
        if changed == wallet:
            return wallet
        before, wallet = wallet, await store.update_wallet(uow, changed, self._clock.now())
        await self._reseal(uow, before, wallet)
        facts: dict[str, Any] = {"policy_ids": list(wallet.policy_ids), "status": wallet.status}
        if change.owner is not None:
            facts |= {"owner_user_id": wallet.owner_user_id, "owner_id": wallet.owner_id}
        if by:
            facts["authorized_by"] = list(by)
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
        if principal.kind == "user" and not principal.oversees_app:
            return await store.list_owned_ids(uow, principal.tenant, principal.user_id) if principal.user_id else []
        return None

    async def require_wallet(self, uow: UnitOfWork, principal: Principal, wallet_id: str) -> Wallet:
        """A wallet that the caller may see.

        Raises:
            WalletNotFound: there is none for this caller.
        """
        return await self._visible_wallet(uow, principal, wallet_id)

    async def require_owner(self, uow: UnitOfWork, principal: Principal, wallet: Wallet) -> None:
        """Refuse what only the owner of a wallet may do.

        Raises:
            OwnerRequired, AuthorizationInsufficient, RequestReplayed: as named.
        """
        await self._require_owner(uow, principal, wallet, "this wallet has an owner; only the owner does this")

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
        wallet.native_address,
        wallet.owner_user_id,
        wallet.owner_id,
        wallet.policy_ids,
        wallet.status,
        is_archived=wallet.archived_at is not None,
    )
