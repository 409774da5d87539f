"""The book itself: what an order hash stands for, how fills change an order, and what readers are told of it.

Implements the port by which settlement asks for terms. Every change of an order goes through here, with its event.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from typing import Any

from lockstep.auctions import store
from lockstep.auctions.ports import SecretVault
from lockstep.auctions.rules import destination_amount, state_at
from lockstep.auctions.schemas import to_hex
from lockstep.auctions.types import LIVE_STATES, BookOrder, Fill, Order, OrderState, Validity
from lockstep.chains.evm import address_to_bytes
from lockstep.kit.clock import Clock, rfc3339
from lockstep.kit.database import UnitOfWork
from lockstep.kit.outbox import Event, append
from lockstep.settlement import TERMINAL_STATES, Offer, Party, Swap, SwapState, SwapTerms

_NOTHING_LOCKED = frozenset({SwapState.MATCHED, SwapState.SOURCE_LOCKING, SwapState.CANCELLED})
"""States of a swap in which no source escrow stands for its fill."""
_SECRET_OVER = TERMINAL_STATES | {
    SwapState.SECRET_RELEASED,
    SwapState.DESTINATION_WITHDRAWING,
    SwapState.DESTINATION_WITHDRAWN,
    SwapState.SOURCE_WITHDRAWING,
}
"""States of a swap in which its secret is out, or will not be."""


class Book:
    """Orders, as settlement sees them."""

    def __init__(self, clock: Clock, vault: SecretVault) -> None:
        self._clock, self._vault = clock, vault

    async def find_offer(
        self, uow: UnitOfWork, order_hash: bytes, fill_index: int, taker: bytes, at: int
    ) -> Offer | None:
        """The terms of a fill for a taker at the price of a moment of the source chain; None for an unknown order."""
        order = await store.find_order(uow, order_hash)
        if order is None or fill_index != 0:
            return None
        owner = await store.find_owner(uow, order_hash)
        return Offer(
            terms=make_terms(order.signed.order, order_hash, taker, order.signed.signature_kind, at),
            maker=Party(app_id=owner.app_id, user_id=owner.user_id, wallet_id=owner.wallet_id) if owner else None,
        )

    async def hold_secret(
        self, uow: UnitOfWork, order_hash: bytes, fill_index: int, secret: bytes, now: datetime
    ) -> datetime:
        """Keep the secret of a fill sealed; returns since when."""
        sealed = self._vault.seal(order_hash, fill_index, secret)
        return await store.insert_held_secret(uow, order_hash, fill_index, sealed, now)

    async def find_held_secret(self, uow: UnitOfWork, order_hash: bytes, fill_index: int) -> bytes | None:
        """The secret that the maker left with us; None: none, or none that opens."""
        sealed = await store.find_held_secret(uow, order_hash, fill_index)
        return None if sealed is None else self._vault.open(order_hash, fill_index, sealed)

    async def forget_expired(self, uow: UnitOfWork, expired_before: datetime) -> int:
        """Forget held secrets of orders that expired before this and have no swap that could need one; how many."""
        return await store.delete_expired_secrets(uow, expired_before, sorted(_SECRET_OVER))

    async def on_swap_changed(self, uow: UnitOfWork, swap: Swap) -> None:
        """Take the state of a swap over into its fill; an order whose source escrow stands is filled."""
        order = await store.find_order(uow, swap.terms.order_hash, lock=True)
        if order is None:
            return
        now = self._clock.now()
        fill = Fill(
            fill_index=swap.terms.fill_index,
            swap_id=swap.id,
            taker=swap.terms.taker,
            mode=swap.mode,
            settlement_state=swap.state,
            source_amount=swap.terms.source_amount,
            destination_amount=swap.terms.destination_amount,
            is_consumed=swap.source_escrow is not None and swap.state not in _NOTHING_LOCKED,
        )
        if not await store.upsert_fill(uow, order.signed.hash, fill, now):
            return
        fills = (*(one for one in order.fills if one.swap_id != fill.swap_id), fill)
        state = order.state
        if any(one.is_consumed for one in fills):
            state = OrderState.FILLED
        elif state is OrderState.FILLED:
            # The source escrow left its chain; whether the order can still be taken the next head will say.
            state = OrderState.OPEN
        await self.change(uow, replace(order, fills=fills), now, state=state)

    async def change(
        self,
        uow: UnitOfWork,
        order: BookOrder,
        now: datetime,
        *,
        state: OrderState | None = None,
        validity: Validity | None = None,
        cancel_requested_at: datetime | None = None,
    ) -> BookOrder:
        """Write a change of an order, which the caller has locked, and tell readers."""
        changed = replace(
            order,
            state=state or order.state,
            validity=validity or order.validity,
            cancel_requested_at=cancel_requested_at or order.cancel_requested_at,
            version=order.version + 1,
            updated_at=now,
        )
        await store.update_order(
            uow,
            order.signed.hash,
            state=changed.state,
            validity=changed.validity,
            cancel_requested_at=changed.cancel_requested_at,
            now=now,
        )
        if is_done(changed) and changed.state is not OrderState.EXPIRED:
            # Of an expired order a source escrow of its last block may not have been seen yet: the keeper forgets later.
            await store.delete_held_secrets(uow, changed.signed.hash)
        await tell(uow, changed, "order_updated")
        return changed

    async def advance(self, uow: UnitOfWork, order: BookOrder, chain_time: int, final_block: int) -> None:
        """Move a live order, which the caller has locked, by its chain's time or by a final invalidation."""
        invalidated = await store.find_invalidated_block(uow, order.signed.hash)
        if invalidated is not None and invalidated <= final_block:
            await self.change(uow, order, self._clock.now(), state=OrderState.CANCELLED)
            return
        state = state_at(order.signed.order, chain_time)
        if state is not order.state and order.state in LIVE_STATES:
            await self.change(uow, order, self._clock.now(), state=state)


def is_done(order: BookOrder) -> bool:
    """Whether no secret of this order can be asked for any more: it takes no taker, and every swap of it has ended or has
    its secret."""
    return order.state not in LIVE_STATES and all(fill.settlement_state in _SECRET_OVER for fill in order.fills)


def make_terms(order: Order, order_hash: bytes, taker: bytes, signature_kind: Any, at: int) -> SwapTerms:
    """Chain-neutral terms of a whole fill, at the price of a moment of the source chain."""
    return SwapTerms(
        order_hash=order_hash,
        fill_index=0,
        hashlock=order.hashlock,
        maker=address_to_bytes(order.maker),
        receiver=order.destination.receiver,
        taker=taker,
        source_chain=order.source_chain,
        source_factory=address_to_bytes(order.source_factory),
        source_token=address_to_bytes(order.source_token),
        source_amount=order.source_amount,
        source_deposit=order.source_deposit,
        destination_chain=order.destination.chain,
        destination_factory=order.destination.factory,
        destination_token=order.destination.token,
        destination_amount=destination_amount(order.price, at),
        destination_deposit=order.destination_deposit,
        time_locks=order.time_locks,
        expires_at=order.expiry,
        signature_kind=signature_kind,
    )


async def tell(uow: UnitOfWork, order: BookOrder, event: str) -> None:
    """Append the order as it stands now to the public topic."""
    await append(
        uow,
        Event(
            topic="orders",
            type=event,
            object_id=to_hex(order.signed.hash),
            version=order.version,
            app_id=None,
            data=describe(order),
        ),
    )


def describe(order: BookOrder) -> dict[str, Any]:
    """Public representation of an order; the flat members are those that readers filter by."""
    signed, terms = order.signed, order.signed.order
    return {
        "hash": to_hex(signed.hash),
        "maker": terms.maker,
        "source_chain": terms.source_chain,
        "source_factory": terms.source_factory,
        "source_token": terms.source_token,
        "destination_chain": terms.destination.chain,
        "destination_token": to_hex(terms.destination.token),
        "order": dict(order.document),
        "signature": to_hex(signed.signature),
        "signature_kind": signed.signature_kind,
        "permit": to_hex(signed.permit),
        "state": order.state.value,
        "validity": order.validity.value,
        "remaining": str(order.remaining),
        "fills": [
            {
                "fill_index": fill.fill_index,
                "swap_id": fill.swap_id,
                "taker": to_hex(fill.taker),
                "mode": fill.mode,
                "settlement_state": fill.settlement_state,
                "source_amount": str(fill.source_amount),
                "destination_amount": str(fill.destination_amount),
            }
            for fill in order.fills
        ],
        "cancel_requested_at": rfc3339(order.cancel_requested_at) if order.cancel_requested_at else None,
        "version": order.version,
        "created_at": rfc3339(order.created_at),
        "updated_at": rfc3339(order.updated_at),
    }
