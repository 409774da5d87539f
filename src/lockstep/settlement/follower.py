"""Follows the factories and escrows of one chain: keeps those of orders we know, ignores strangers', wakes swaps.

A source escrow of a known order by a taker that has no swap yet opens one: external takers need not ask us first.
Everything written for a dropped block is deleted again; swaps then look at the chains themselves.
"""

from __future__ import annotations

from collections.abc import Sequence

import structlog

from lockstep.chains.evm import (
    Address,
    BlockRef,
    ChainRegistry,
    Log,
    LogFilter,
    MalformedCalldata,
    address_from_bytes,
)
from lockstep.kit import processes
from lockstep.kit.clock import Clock
from lockstep.kit.database import UnitOfWork
from lockstep.kit.outbox import Event, append
from lockstep.settlement import escrow_store, store
from lockstep.settlement.escrows import (
    EscrowEvent,
    LogPlace,
    decode_escrow_event,
    decode_lock,
    escrow_topics,
    factory_topics,
    find_created,
)
from lockstep.settlement.ports import OrderBook
from lockstep.settlement.service import KIND, SwapService
from lockstep.settlement.types import Lock, Side, SwapTerms

log = structlog.get_logger(__name__)

NAME = "settlement"
"""Of the checkpoint."""


class EscrowFollower:
    """What settlement does with the logs of a chain; one instance serves all chains."""

    def __init__(self, chains: ChainRegistry, book: OrderBook, swaps: SwapService, clock: Clock) -> None:
        self._chains, self._book, self._swaps, self._clock = chains, book, swaps, clock

    async def wanted(self, uow: UnitOfWork, chain: str) -> Sequence[LogFilter]:
        """Escrows that our factory creates, and the end of those that are open: anybody may emit the same events."""
        factory = self._chains.get(chain).config.contracts["EscrowFactory"]
        known = [address_from_bytes(one) for one in await escrow_store.list_open_addresses(uow, chain)]
        return [LogFilter(addresses=[factory], topics=factory_topics()), *_endings(known)]

    def also_wanted(self, logs: Sequence[Log]) -> Sequence[LogFilter]:
        """The end of escrows that were created in the same blocks."""
        return _endings([escrow for entry in logs if (escrow := find_created(entry)) is not None])

    async def execute(self, uow: UnitOfWork, block: BlockRef, logs: Sequence[Log]) -> None:
        """Keep what belongs to known orders and wake their swaps."""
        for entry in logs:
            place = LogPlace(
                chain=block.chain,
                block_number=block.number,
                block_hash=block.hash,
                block_time=block.timestamp,
                transaction_hash=entry.transaction_hash,
                log_index=entry.log_index,
            )
            raw = {"topics": entry.topics, "data": entry.data}
            try:
                lock = decode_lock(entry.address, raw, place)
                event = decode_escrow_event(entry.address, raw, place) if lock is None else None
            except MalformedCalldata as error:
                # Anyone may emit an event with our topic; one that does not decode is no escrow of ours.
                log.info("foreign_log_ignored", chain=block.chain, address=entry.address, reason=error.detail)
                continue
            if lock is not None:
                await self._keep_lock(uow, lock)
            elif event is not None:
                await self._keep_event(uow, event)

    async def unwind(self, uow: UnitOfWork, to_block: BlockRef) -> None:
        """Forget the blocks above this one and wake the swaps that rested on them."""
        for order_hash in await escrow_store.delete_above(uow, to_block.chain, to_block.number):
            await self._wake(uow, order_hash)

    async def on_head(self, uow: UnitOfWork, head: BlockRef) -> None:
        """Wake the swaps that wait for blocks or for a moment of this chain."""
        due = await store.list_due_at_head(uow, head.chain, head.timestamp)
        await processes.wake(uow, KIND, due, self._clock.now())

    async def _keep_lock(self, uow: UnitOfWork, lock: Lock) -> None:
        order_hash = lock.immutables.order_hash
        offer = await self._book.find_offer(uow, order_hash, lock.fill_index, lock.immutables.taker, lock.block_time)
        # Anyone may deploy a factory that announces our order, with the address of an escrow that is still to come or
        # with a secret that is none; only the factories that the maker signed count.
        if offer is None or (lock.chain, lock.factory) != _place(offer.terms, lock.side):
            return
        if lock.side is Side.SOURCE:
            # Processes are locked before orders, as their own steps do it.
            await self._wake(uow, order_hash)
            await self._swaps.attach_source(uow, offer)
        await escrow_store.insert_lock(uow, lock)
        await self._tell(uow, lock, "open")
        await self._wake(uow, order_hash)

    async def _keep_event(self, uow: UnitOfWork, event: EscrowEvent) -> None:
        lock = await escrow_store.find_lock(uow, event.chain, event.address)
        if lock is None:
            return
        await escrow_store.insert_event(uow, event)
        await self._tell(uow, lock, event.kind)
        await self._wake(uow, lock.immutables.order_hash)

    async def _wake(self, uow: UnitOfWork, order_hash: bytes) -> None:
        await processes.wake(uow, KIND, await store.list_open_for_fill(uow, order_hash), self._clock.now())

    async def _tell(self, uow: UnitOfWork, lock: Lock, state: str) -> None:
        words = lock.immutables
        await append(
            uow,
            Event(
                topic="escrows",
                type="escrow_updated",
                object_id=f"{lock.chain}:0x{lock.address.hex()}",
                version=0 if state == "open" else 1,
                app_id=None,
                data={
                    "chain": lock.chain,
                    "address": "0x" + lock.address.hex(),
                    "side": lock.side.value,
                    "state": state,
                    "order_hash": "0x" + words.order_hash.hex(),
                    "hashlock": "0x" + words.hashlock.hex(),
                    "taker": "0x" + words.taker.hex(),
                    "token": "0x" + words.token.hex(),
                    "amount": str(words.amount),
                    "block_number": str(lock.block_number),
                },
            ),
        )


def _endings(escrows: Sequence[Address]) -> list[LogFilter]:
    return [LogFilter(addresses=escrows, topics=escrow_topics())] if escrows else []


def _place(terms: SwapTerms, side: Side) -> tuple[str, bytes]:
    """Chain and factory of a side, as the maker signed them."""
    if side is Side.SOURCE:
        return terms.source_chain, terms.source_factory
    return terms.destination_chain, terms.destination_factory
