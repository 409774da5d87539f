"""What callers may do with orders: post, read, take, cancel, release and read secrets.

Refuses before it stores. Whose order it is says the owner row (apps and their users) or the signed address (external
makers and takers); how a swap goes on is settlement's business.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from eth_hash.auto import keccak

from lockstep.auctions import codec, store
from lockstep.auctions.book import Book, is_done, make_terms, tell
from lockstep.auctions.chain import check_signature, read_makers, read_taker
from lockstep.auctions.errors import (
    FillInvalid,
    HashlockUsed,
    NonceUsed,
    NotTheMaker,
    NotTheTaker,
    OrderNotFillable,
    OrderNotFound,
    OrderNotOpen,
    OrderSignatureConflict,
    TakerFundsLow,
)
from lockstep.auctions.ports import MakerTransactions, Wallets
from lockstep.auctions.rules import (
    BookRules,
    check_order,
    check_permit,
    check_takeable,
    check_windows,
    destination_amount,
    rate_bump,
    state_at,
)
from lockstep.auctions.schemas import PostFill, PostOrder, from_hex, to_hex
from lockstep.auctions.store import OrderFilter
from lockstep.auctions.types import LIVE_STATES, BookOrder, Order, OrderState, Owner, SignedOrder, Validity
from lockstep.chains.evm import Address, BlockRef, ChainRegistry, address_from_bytes, address_to_bytes
from lockstep.custody import Principal
from lockstep.kit.clock import Clock
from lockstep.kit.database import Database, UnitOfWork
from lockstep.kit.ids import WalletId, new_id
from lockstep.kit.paging import Page, decode_cursor, page_of
from lockstep.settlement import Call, Party, SecretMismatch, SecretTooLate, Swap, SwapService

COORDINATOR = "module:coordinator"
"""Whom a managed taker grants its session signer to."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Price:
    """The price of an order at a moment, computed from the signed curve."""

    order_hash: bytes
    at: int
    rate_bump: int
    destination_amount: int
    head: BlockRef


class AuctionService:
    """Orders, as the API uses them."""

    def __init__(
        self,
        database: Database,
        clock: Clock,
        chains: ChainRegistry,
        rules: BookRules,
        book: Book,
        swaps: SwapService,
        wallets: Wallets,
        maker_transactions: MakerTransactions,
    ) -> None:
        self._database, self._clock, self._chains, self._rules = database, clock, chains, rules
        self._book, self._swaps, self._wallets, self._maker_transactions = book, swaps, wallets, maker_transactions

    # --- posting ------------------------------------------------------------------------------------------------------

    async def post_order(self, principal: Principal, posted: PostOrder) -> tuple[BookOrder, bool]:
        """Put a signed order into the book; the same order and signature again gives the stored one.

        Returns:
            The order, and whether it is new.
        Raises:
            Refuse: one code per fault, see the errors of this module; nothing is stored then.
        """
        order = posted.order.to_order(posted.source_chain, posted.source_factory)
        client = self._chains.get(order.source_chain)
        self._chains.get(order.destination.chain)
        signed = SignedOrder(
            order=order,
            hash=codec.order_digest(order),
            signature=from_hex(posted.signature),
            signature_kind=posted.signature_kind,
            permit=from_hex(posted.permit),
        )
        known = await self._find(signed.hash)
        if known is not None:
            return _same(known, signed), False
        head = await client.head()
        check_order(order, self._rules, head.timestamp)
        check_permit(signed.permit)
        self._swaps.check_terms(make_terms(order, signed.hash, bytes(20), signed.signature_kind, head.timestamp))
        await check_signature(client, signed, head)
        facts = (await read_makers(client, [order], head))[0]
        check_windows(order.time_locks, facts.minimum_window)
        if facts.is_nonce_used:
            raise NonceUsed(f"the nonce {order.nonce} is used on {order.source_chain}")
        if facts.is_hashlock_used:
            raise HashlockUsed
        now = self._clock.now()
        fresh = BookOrder(
            id=new_id(),
            signed=signed,
            document=posted.order.model_dump(mode="json"),
            state=state_at(order, head.timestamp),
            validity=facts.validity(signed),
            fills=(),
            cancel_requested_at=None,
            version=1,
            created_at=now,
            updated_at=now,
        )
        async with self._database.system("auctions") as uow:
            owner = await self._owner_for(uow, principal, order)
            collision = await store.insert_order(uow, fresh, now)
            if collision is None:
                if owner is not None:
                    await store.insert_owner(uow, signed.hash, owner)
                await tell(uow, fresh, "order_created")
        if collision == "hash":
            return _same(await self.get_order(signed.hash), signed), False
        if collision is not None:
            raise HashlockUsed if collision == "hashlock" else NonceUsed
        return fresh, True

    # --- reading ------------------------------------------------------------------------------------------------------

    async def get_order(self, order_hash: bytes) -> BookOrder:
        """An order by hash; the book is public.

        Raises:
            OrderNotFound.
        """
        order = await self._find(order_hash)
        if order is None:
            raise OrderNotFound
        return order

    async def list_orders(self, wanted: OrderFilter, cursor: str | None, limit: int) -> Page[BookOrder]:
        """Orders that fit the filter, the newest first."""
        before = str(decode_cursor(cursor, str)[0]) if cursor else None
        async with self._database.system("auctions") as uow:
            rows = await store.list_orders(uow, wanted, before, limit + 1)
        return page_of(rows, limit, lambda order: (order.id,))

    async def list_open(self, uow: UnitOfWork, limit: int) -> list[BookOrder]:
        """Open orders, the newest first, in the caller's transaction."""
        return await store.list_orders(uow, OrderFilter(state=OrderState.OPEN.value), None, limit)

    async def get_price(self, order_hash: bytes, at: int | None) -> Price:
        """The price at the head of the source chain, or at a moment.

        Raises:
            OrderNotFound.
        """
        order = (await self.get_order(order_hash)).signed.order
        head = await self._chains.get(order.source_chain).head()
        moment = head.timestamp if at is None else at
        return Price(
            order_hash=order_hash,
            at=moment,
            rate_bump=rate_bump(order.price, moment),
            destination_amount=destination_amount(order.price, moment),
            head=head,
        )

    # --- taking -------------------------------------------------------------------------------------------------------

    async def fill_order(self, principal: Principal, order_hash: bytes, asked: PostFill) -> Swap:
        """Take an order. The same taker again gets the same swap.

        Raises:
            OrderNotFound, OrderNotOpen, OrderNotFillable, OrderExpired, AuctionNotStarted, TakerNotAllowed, NotTheTaker,
            FillInvalid, TakerFundsLow, FillTaken; and what custody refuses about wallet and session signer.
        """
        order = await self.get_order(order_hash)
        head = await self._chains.get(order.signed.order.source_chain).head()
        async with self._database.system("auctions") as uow:
            taker, party = await self._taker(uow, principal, asked)
        existing = await self._existing_fill(principal, order, taker)
        if existing is not None:
            return existing
        if asked.mode == "managed":
            await self._check_taker_funds(order.signed.order, taker, head)
        async with self._database.system("auctions") as uow:
            locked = await store.find_order(uow, order_hash, lock=True)
            if locked is None:
                raise OrderNotFound
            self._check_open(locked)
            check_takeable(locked.signed, locked.state, taker, head.timestamp)
            offer = await self._book.find_offer(
                uow, order_hash, asked.fill_index, address_to_bytes(taker), head.timestamp
            )
            if offer is None:
                raise OrderNotFound
            call = _source_call(locked.signed) if asked.mode == "managed" else None
            if call is not None and principal.kind == "session" and party is not None and party.wallet_id is not None:
                # The coordinator signs through a session of its own: the caller must not reach further than its own does.
                await self._wallets.check_allowed(uow, principal, party.wallet_id, call)
            return await self._swaps.open_swap(
                uow,
                offer,
                mode=asked.mode,
                taker=party,
                source_call=None if call is None else call.data,
                chain_time=head.timestamp,
            )

    async def submit_secret(self, principal: Principal, order_hash: bytes, fill_index: int, secret: bytes) -> Swap:
        """Release the secret of a fill; only the maker may, and only when settlement's rule allows it.

        Raises:
            OrderNotFound, NotTheMaker, SwapNotFound, SecretMismatch, SecretTooEarly, SecretTooLate: nothing was stored.
        """
        order = await self.get_order(order_hash)
        await self._require_maker(principal, order)
        return await self._swaps.submit_secret(order_hash, fill_index, secret)

    async def hold_secret(self, principal: Principal, order_hash: bytes, fill_index: int, secret: bytes) -> datetime:
        """Keep the secret of a fill sealed, for the maker, and release it once settlement's rule allows it.

        The maker's choice: it then trusts this deployment to look at both escrows for it.

        Returns:
            Since when it has been held.
        Raises:
            OrderNotFound, NotTheMaker, SecretMismatch, SecretTooLate: nothing was stored.
        """
        order = await self.get_order(order_hash)
        await self._require_maker(principal, order)
        if keccak(secret) != order.signed.order.hashlock:
            raise SecretMismatch
        async with self._database.system("auctions") as uow:
            # First the swap, then the order: the order in which a step of the swap locks them.
            await self._swaps.lock_unreleased(uow, order_hash, fill_index)
            locked = await store.find_order(uow, order_hash, lock=True)
            if locked is None:
                raise OrderNotFound
            if is_done(locked):
                raise SecretTooLate(f"the order is {locked.state.value}", state=locked.state.value)
            return await self._book.hold_secret(uow, order_hash, fill_index, secret, self._clock.now())

    async def take_back_secret(self, principal: Principal, order_hash: bytes, fill_index: int) -> None:
        """Forget a secret that is held; the maker's client then releases it itself. Nothing held: nothing changes.

        Raises:
            OrderNotFound, NotTheMaker. SecretTooLate: it is out already.
        """
        await self._require_maker(principal, await self.get_order(order_hash))
        async with self._database.system("auctions") as uow:
            await self._swaps.lock_unreleased(uow, order_hash, fill_index)
            await store.delete_held_secrets(uow, order_hash)

    async def get_secret(self, principal: Principal, order_hash: bytes, fill_index: int) -> bytes:
        """The secret, for the taker of the fill: released, or shown on a chain.

        Raises:
            SwapNotFound, NotAParty, SecretNotReleased.
        """
        return await self._swaps.secret_for_taker(principal, order_hash, fill_index)

    # --- cancelling ---------------------------------------------------------------------------------------------------

    async def cancel_order(self, principal: Principal, order_hash: bytes) -> BookOrder:
        """Stop serving an order at once, and invalidate its nonce on chain where the maker's wallet is ours.

        It is `cancelled` only when the invalidation is final; until then a taker may still come first. Asking again sends
        the invalidation again if the last one ended without effect.

        Raises:
            OrderNotFound, NotTheMaker, OrderNotOpen; and what custody refuses.
        """
        order = await self.get_order(order_hash)
        await self._require_maker(principal, order)
        async with self._database.system("auctions") as uow:
            locked = await store.find_order(uow, order_hash, lock=True)
            if locked is None:
                raise OrderNotFound
            if locked.state not in LIVE_STATES:
                raise OrderNotOpen(f"the order is {locked.state.value}", state=locked.state.value)
            owner = await store.find_owner(uow, order_hash)
            if owner is not None and owner.wallet_id is not None:
                await self._maker_transactions.send(
                    uow,
                    principal,
                    owner.wallet_id,
                    Call(
                        chain=locked.signed.order.source_chain,
                        to=locked.signed.order.source_factory,
                        value=0,
                        data=codec.invalidate_nonce_call(locked.signed.order),
                    ),
                    idempotency_key=f"order:{to_hex(order_hash)}:cancel",
                )
            if locked.cancel_requested_at is not None:
                return locked
            now = self._clock.now()
            return await self._book.change(uow, locked, now, cancel_requested_at=now)

    # --- inside -------------------------------------------------------------------------------------------------------

    async def _find(self, order_hash: bytes) -> BookOrder | None:
        async with self._database.system("auctions") as uow:
            return await store.find_order(uow, order_hash)

    async def _owner_for(self, uow: UnitOfWork, principal: Principal, order: Order) -> Owner | None:
        """Who will own the order; a user or session posts for its own wallet, an external maker for its address."""
        if principal.kind == "external":
            if principal.address != order.maker:
                raise NotTheMaker(f"expected an order of {principal.address}, was of {order.maker}")
            return None
        app_id = principal.tenant
        wallet = await self._wallets.find_by_address(uow, app_id, order.maker)
        if principal.kind == "app":
            return Owner(
                app_id=app_id,
                user_id=wallet.owner_user_id if wallet else None,
                wallet_id=wallet.id if wallet else None,
            )
        is_own = wallet is not None and (
            (principal.kind == "user" and wallet.owner_user_id == principal.user_id)
            or (principal.kind == "session" and wallet.id == principal.wallet_id)
        )
        if wallet is None or not is_own:
            raise NotTheMaker("the maker is not a wallet of the caller")
        return Owner(app_id=app_id, user_id=wallet.owner_user_id, wallet_id=wallet.id)

    async def _require_maker(self, principal: Principal, order: BookOrder) -> None:
        if principal.kind == "external":
            if principal.address != order.signed.order.maker:
                raise NotTheMaker
            return
        async with self._database.system("auctions") as uow:
            owner = await store.find_owner(uow, order.signed.hash)
        if owner is None or owner.app_id != principal.app_id:
            raise NotTheMaker
        may: Mapping[str, bool] = {
            "app": True,
            "user": owner.user_id is not None and owner.user_id == principal.user_id,
            "session": owner.wallet_id is not None and owner.wallet_id == principal.wallet_id,
        }
        if not may.get(principal.kind, False):
            raise NotTheMaker

    async def _taker(self, uow: UnitOfWork, principal: Principal, asked: PostFill) -> tuple[Address, Party | None]:
        """Address of the taker, and who stands behind it."""
        if asked.mode == "managed":
            if asked.wallet_id is None or asked.taker is not None:
                raise FillInvalid("a managed taker names its wallet_id, and no taker")
            wallet, session_id = await self._wallets.get_for_taker(
                uow, principal, asked.wallet_id, asked.session_signer_id
            )
            return Address(wallet.address), Party(
                app_id=wallet.app_id,
                user_id=wallet.owner_user_id,
                wallet_id=wallet.id,
                session_id=session_id,
            )
        if asked.wallet_id is not None or asked.session_signer_id is not None or asked.taker is None:
            raise FillInvalid("an external taker names its address only")
        if principal.kind == "external":
            if principal.address != asked.taker:
                raise NotTheTaker(f"expected the taker {principal.address}, was {asked.taker}")
            return Address(asked.taker), None
        wallet_of_app = await self._wallets.find_by_address(uow, principal.tenant, asked.taker)
        if (
            wallet_of_app is None
            or (principal.kind == "user" and wallet_of_app.owner_user_id != principal.user_id)
            or (principal.kind == "session" and wallet_of_app.id != principal.wallet_id)
        ):
            raise NotTheTaker("the taker is not a wallet of the caller")
        return Address(asked.taker), Party(
            app_id=principal.tenant, user_id=wallet_of_app.owner_user_id, wallet_id=WalletId(wallet_of_app.id)
        )

    async def _existing_fill(self, principal: Principal, order: BookOrder, taker: Address) -> Swap | None:
        raw = address_to_bytes(taker)
        for fill in order.fills:
            if fill.taker == raw and fill.settlement_state != "cancelled":
                return await self._swaps.get_swap(principal, fill.swap_id)
        return None

    async def _check_taker_funds(self, order: Order, taker: Address, head: BlockRef) -> None:
        """A managed taker that cannot lock the destination would only cost the maker time."""
        client = self._chains.get(order.destination.chain)
        needed = destination_amount(order.price, head.timestamp)
        available = await read_taker(
            client,
            address_from_bytes(order.destination.token),
            taker,
            address_from_bytes(order.destination.factory),
            await client.head(),
        )
        if available < needed:
            raise TakerFundsLow(f"expected balance and allowance of {needed}, was {available}")

    def _check_open(self, order: BookOrder) -> None:
        if order.state not in LIVE_STATES:
            raise OrderNotOpen(f"the order is {order.state.value}", state=order.state.value)
        if order.cancel_requested_at is not None:
            raise OrderNotOpen("the maker has cancelled the order")
        if order.validity is not Validity.OK:
            raise OrderNotFillable(f"the order is {order.validity.value}", validity=order.validity.value)


def _source_call(signed: SignedOrder) -> Call:
    """The transaction by which a managed taker opens the source escrow."""
    order = signed.order
    return Call(
        chain=order.source_chain,
        to=order.source_factory,
        value=order.source_deposit,
        data=codec.create_source_call(signed),
    )


def _same(known: BookOrder, signed: SignedOrder) -> BookOrder:
    if known.signed.signature != signed.signature:
        raise OrderSignatureConflict
    return known
