"""Follows invalidated nonces on one chain, and moves orders by the chain's time: open, expired, cancelled.

An order is cancelled only once the block of its invalidation is final; until then only its validity says so.
"""

from __future__ import annotations

from collections.abc import Sequence

from lockstep.auctions import codec, store
from lockstep.auctions.book import Book
from lockstep.auctions.types import LIVE_STATES, Validity
from lockstep.chains.evm import BlockRef, ChainRegistry, Log, LogFilter, address_to_bytes
from lockstep.kit.clock import Clock
from lockstep.kit.database import UnitOfWork

NAME = "auctions"
"""Of the checkpoint."""


class BookFollower:
    """What the book does with the logs of a chain; one instance serves all chains."""

    def __init__(self, chains: ChainRegistry, book: Book, clock: Clock) -> None:
        self._chains, self._book, self._clock = chains, book, clock

    async def wanted(self, uow: UnitOfWork, chain: str) -> Sequence[LogFilter]:  # noqa: ARG002 - known beforehand
        """Invalidations at our factory."""
        factory = self._chains.get(chain).config.contracts["EscrowFactory"]
        return [LogFilter(addresses=[factory], topics=[codec.factory().topic("NonceInvalidated")])]

    def also_wanted(self, logs: Sequence[Log]) -> Sequence[LogFilter]:  # noqa: ARG002 - they create no contracts
        """Nothing else."""
        return []

    async def execute(self, uow: UnitOfWork, block: BlockRef, logs: Sequence[Log]) -> None:
        """Note which live orders their maker has invalidated."""
        for entry in logs:
            event = codec.factory().decode_event({"topics": entry.topics, "data": entry.data})
            if event is None:
                continue
            maker, nonce = address_to_bytes(event.args["maker"]), event.args["nonce"]
            hashes = await store.list_invalidated(uow, block.chain, address_to_bytes(entry.address), maker, nonce)
            for order_hash in hashes:
                order = await store.find_order(uow, order_hash, lock=True)
                if order is None:
                    continue
                now = self._clock.now()
                await store.set_invalidated(uow, order_hash, block.number)
                if order.state not in LIVE_STATES:
                    continue  # its fill has left the chain with another branch; its swap has not looked yet
                await self._book.change(
                    uow,
                    order,
                    now,
                    validity=Validity.NONCE_USED,
                    cancel_requested_at=order.cancel_requested_at or now,
                )

    async def unwind(self, uow: UnitOfWork, to_block: BlockRef) -> None:
        """Forget invalidations above this block; whether the nonce is used the next look at the maker says."""
        for order_hash in await store.list_invalidated_above(uow, to_block.chain, to_block.number):
            await store.set_invalidated(uow, order_hash, None)

    async def on_head(self, uow: UnitOfWork, head: BlockRef) -> None:
        """Move the orders that this block's time or finality moves."""
        final = await self._chains.get(head.chain).final_number(head)
        for order in await store.list_due(uow, head.chain, head.timestamp, final):
            await self._book.advance(uow, order, head.timestamp, final)
