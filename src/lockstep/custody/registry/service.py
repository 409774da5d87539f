"""Making wallets, one or many at once, finding them, and putting them away.

Nothing is locked and no connection is held while the signer makes keys: what a wallet is to be is looked at before, and
again in the transaction that stores it. A key whose wallet is not stored after all belongs to nothing and signs nothing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, Final

from lockstep.chains.cardano import Network, address_text, enterprise_address
from lockstep.custody import store
from lockstep.custody.access.store import list_unknown_users
from lockstep.custody.authority.guard import resolve_owner
from lockstep.custody.authority.store import list_quorums_of_user
from lockstep.custody.authority.types import NewOwner
from lockstep.custody.base import after_of, require_app_or_user
from lockstep.custody.errors import CallerNotAllowed, ExternalIdTaken, UserNotFound
from lockstep.custody.execution import Curve, NewKey
from lockstep.custody.idempotency import Claim, IdempotencyStore, Outcome
from lockstep.custody.registry.store import insert_wallets, list_taken, list_wallets, set_archived
from lockstep.custody.registry.types import NewWallet, WalletFilter
from lockstep.custody.seals import Kind
from lockstep.custody.types import Principal, Wallet
from lockstep.custody.wallets import WalletService, audit_event, stream_event, wallet_content
from lockstep.kit.database import UnitOfWork
from lockstep.kit.errors import LockstepError
from lockstep.kit.ids import AppId, UserId, WalletId, new_id
from lockstep.kit.outbox import append
from lockstep.kit.paging import Page, page_of

_CURVES: Final[dict[str, Curve]] = {"ethereum": "secp256k1", "cardano": "ed25519"}
Made = tuple[Wallet, NewKey, str]
"""A wallet that is not stored yet, its key, and the id of the decision to make it."""


class WalletRegistry(WalletService):
    """The wallets of an app as a whole."""

    idempotency: IdempotencyStore
    _cardano_network: Network

    async def create_wallet(self, principal: Principal, wanted: NewWallet | None = None) -> Wallet:
        """See `create_wallets`."""
        return (await self.create_wallets(principal, [wanted or NewWallet()]))[0]

    async def create_wallets(self, principal: Principal, wanted: Sequence[NewWallet]) -> list[Wallet]:
        """Have the signer make keys, and store the wallets, all or none. A user's wallet is owned by that user.

        Raises:
            CallerNotAllowed: neither an app nor a user, or a user for somebody else.
            PolicyNotFound, UserNotFound: the app has none with this id. TooManyPolicies.
            ExternalIdTaken: another wallet of the app has it.
            SignerUnavailable: no key can be made at the moment.
        """
        app_id = require_app_or_user(principal)
        async with self._database.tenant(app_id) as uow:
            checked = await self._check_wanted(uow, principal, wanted)
        made = await self._make(app_id, checked)
        async with self._database.tenant(app_id) as uow:
            return await self._keep(uow, principal, checked, made)

    async def create_wallets_once(
        self,
        principal: Principal,
        wanted: Sequence[NewWallet],
        claim: Claim,
        describe: Callable[[list[Wallet]], dict[str, Any]],
    ) -> Outcome:
        """Make wallets once per idempotency key; `describe` makes the body of the answer.

        Raises:
            IdempotencyKeyReused, IdempotencyInProgress: see `IdempotencyStore`. Others: see `create_wallets`.
        """
        app_id = require_app_or_user(principal)

        async def keep(uow: UnitOfWork, made: Sequence[Made]) -> Outcome:
            return Outcome(201, describe(await self._keep(uow, principal, wanted, made)))

        return await self.idempotency.once(
            lambda: self._database.tenant(app_id),
            claim,
            lambda uow: self._check_wanted(uow, principal, wanted),
            lambda checked: self._make(app_id, checked),
            keep,
        )

    async def list_wallets(
        self, principal: Principal, wanted: WalletFilter | None = None, *, cursor: str | None = None, limit: int = 50
    ) -> Page[Wallet]:
        """Wallets that the caller may see, oldest first: all of the app for who oversees it, those of the user, or the
        session's one."""
        wanted = wanted or WalletFilter()
        sees_own_only = principal.kind == "user" and not principal.oversees_app
        if sees_own_only:
            if wanted.user_id not in (None, principal.user_id):
                return Page([], None)
            wanted = replace(wanted, user_id=principal.user_id)
        async with self._database.tenant(principal.tenant) as uow:
            shared = None
            if sees_own_only and principal.user_id is not None:
                shared = await list_quorums_of_user(uow, principal.tenant, principal.user_id)
            wallets = await list_wallets(
                uow,
                principal.tenant,
                wanted,
                quorum_ids=shared,
                wallet_id=principal.wallet_id if principal.kind == "session" else None,
                after=after_of(cursor),
                limit=limit + 1,
            )
        return page_of(wallets, limit, lambda wallet: (wallet.id,))

    async def set_archived(self, principal: Principal, wallet_id: str, archived: bool) -> Wallet:
        """Put a wallet away, or back into use: whoever may change it. It signs nothing from then on, also of what is queued.

        Raises:
            WalletNotFound: there is none for this caller.
            OwnerRequired, AuthorizationInsufficient: the wallet has an owner, who has not authorised it.
            CallerNotAllowed: a session signer.
        """
        app_id = require_app_or_user(principal)
        async with self._database.tenant(app_id) as uow:
            await store.lock_wallet(uow, app_id, wallet_id)
            wallet = await self._visible_wallet(uow, principal, wallet_id)
            refusal = "this wallet has an owner; only the owner archives and restores it"
            by = await self._require_owner(uow, principal, wallet, refusal)
            if archived == (wallet.archived_at is not None):
                return wallet
            now = self._clock.now()
            before, wallet = wallet, await set_archived(uow, wallet, now if archived else None, now)
            await self._reseal(uow, before, wallet)
            facts = {"authorized_by": list(by)} if by else {}
            await self._record(uow, principal, wallet, "wallet.archived" if archived else "wallet.restored", facts)
        return wallet

    # --- making -------------------------------------------------------------------------------------------------------

    async def _check_wanted(
        self, uow: UnitOfWork, principal: Principal, wanted: Sequence[NewWallet]
    ) -> Sequence[NewWallet]:
        """The wallets with their owners, if all of them can be made."""
        app_id = require_app_or_user(principal)
        if principal.kind == "user":
            if any(one.owner_id is not None or one.owner_user_id not in (None, principal.user_id) for one in wanted):
                raise CallerNotAllowed("a user makes wallets for itself only")
            wanted = [replace(one, owner_user_id=principal.user_id) for one in wanted]
        else:
            owners = {one.owner_user_id for one in wanted if one.owner_user_id is not None}
            if owners and (unknown := await list_unknown_users(uow, app_id, sorted(owners))):
                raise UserNotFound(f"there is no user {unknown[0][:64]}")
        wanted = await _with_owners(uow, app_id, wanted)
        for policy_ids in {one.policy_ids for one in wanted}:
            await self._check_policies(uow, principal, policy_ids)
        names = Counter(one.external_id for one in wanted if one.external_id is not None)
        twice = [name for name, count in names.items() if count > 1]
        if twice or (names and (twice := await list_taken(uow, app_id, sorted(names)))):
            raise ExternalIdTaken(f"the external id {twice[0]} is taken", external_id=twice[0])
        return wanted

    async def _make(self, app_id: AppId, wanted: Sequence[NewWallet]) -> list[Made]:
        """Have the signer make all keys."""
        signer = await self._executor.identity()
        ids = [(WalletId(new_id()), new_id()) for _ in wanted]
        keys = await self._executor.generate_keys(
            app_id,
            [
                (
                    wallet_id,
                    self._issuer.issue_generation(signer, app_id, wallet_id, decision_id, _CURVES[one.chain_type]),
                )
                for one, (wallet_id, decision_id) in zip(wanted, ids, strict=True)
            ],
        )
        made: list[Made] = []
        now = self._clock.now()
        for one, (wallet_id, decision_id), key in zip(wanted, ids, keys, strict=True):
            if isinstance(key, LockstepError):
                raise key
            wallet = Wallet(
                id=wallet_id,
                app_id=app_id,
                address=key.address,
                native_address=self._native_address(one, key),
                chain_type=one.chain_type,
                public_key=key.public_key,
                policy_ids=tuple(dict.fromkeys(one.policy_ids)),
                owner_user_id=None if one.owner_user_id is None else UserId(one.owner_user_id),
                owner_key_id=one.owned_by.key_id,
                owner_quorum_id=one.owned_by.quorum_id,
                display_name=one.display_name,
                external_id=one.external_id,
                status="active",
                version=1,
                created_at=now,
            )
            made.append((wallet, key, decision_id))
        return made

    def _native_address(self, wanted: NewWallet, key: NewKey) -> str | None:
        if wanted.chain_type == "ethereum":
            return None
        return address_text(enterprise_address(key.public_key, self._cardano_network))

    async def _keep(
        self, uow: UnitOfWork, principal: Principal, wanted: Sequence[NewWallet], made: Sequence[Made]
    ) -> list[Wallet]:
        """Store the wallets, if everything that they rest on still holds."""
        await self._check_wanted(uow, principal, wanted)
        await insert_wallets(uow, [(wallet, key) for wallet, key, _ in made])
        wallets = [wallet for wallet, _, _ in made]
        sealed = {str(wallet.id): wallet_content(wallet) for wallet in wallets}
        await self._seals.add(uow, principal.tenant, Kind.WALLET, sealed)
        self._audit.append(
            uow,
            *(
                audit_event(
                    principal,
                    wallet,
                    "wallet.created",
                    {
                        "address": wallet.address,
                        "policy_ids": list(wallet.policy_ids),
                        "owner": wallet.owner_user_id or wallet.owner_id,
                        "external_id": wallet.external_id,
                        "decision_id": decision_id,
                    },
                )
                for wallet, _, decision_id in made
            ),
        )
        await append(uow, *(stream_event(wallet, "wallet_created") for wallet in wallets))
        return wallets


async def _with_owners(uow: UnitOfWork, app_id: AppId, wanted: Sequence[NewWallet]) -> list[NewWallet]:
    """The wallets with what the ids of keys and quorums stand for."""
    news = {NewOwner(user_id=one.owner_user_id, owner_id=one.owner_id) for one in wanted if one.owner_id is not None}
    owners = {new.owner_id: await resolve_owner(uow, app_id, new) for new in news}
    return [replace(one, owned_by=owners.get(one.owner_id, one.owned_by)) for one in wanted]
