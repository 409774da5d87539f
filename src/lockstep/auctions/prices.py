"""The price clock: prices of open orders at the heads of their chains, for those who watch. Ephemeral, never stored."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import structlog

from lockstep.auctions import store
from lockstep.auctions.rules import destination_amount, rate_bump
from lockstep.auctions.schemas import to_hex
from lockstep.auctions.types import BookOrder
from lockstep.chains.evm import BlockRef, ChainRegistry
from lockstep.kit.clock import Clock, pause
from lockstep.kit.database import Database
from lockstep.kit.errors import Retry

log = structlog.get_logger(__name__)

REFRESH = timedelta(seconds=1)
"""How old the list of open orders may be; an order that closes in between gets a last, harmless price."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PriceUpdate:
    """A message of type `price_update` on the topic `orders`: no sequence, worth nothing when the next one is there."""

    order_hash: str
    as_of: datetime
    """Time of the block that the price holds for."""
    data: dict[str, Any]
    """Carries the members by which the topic is filtered."""


class PriceClock:
    """Computes prices when a chain has a new head. Runs in each process that has watchers."""

    def __init__(self, database: Database, clock: Clock, chains: ChainRegistry) -> None:
        self._database, self._clock, self._chains = database, clock, chains
        self._orders: list[BookOrder] = []
        self._read_at: datetime | None = None
        self._told: dict[bytes, tuple[int, int]] = {}

    async def run(
        self,
        stop: asyncio.Event,
        emit: Callable[[PriceUpdate], None],
        is_watched: Callable[[], bool] = lambda: True,
        milliseconds: int = 250,
    ) -> None:
        """Emit a price per open order and new head, as long as somebody watches."""
        while not stop.is_set():
            if is_watched():
                async with self._chains.watching():
                    await self._run_watched(stop, emit, is_watched, milliseconds)
            await pause(stop, timedelta(milliseconds=milliseconds).total_seconds())

    async def _run_watched(
        self,
        stop: asyncio.Event,
        emit: Callable[[PriceUpdate], None],
        is_watched: Callable[[], bool],
        milliseconds: int,
    ) -> None:
        while is_watched() and not stop.is_set():
            try:
                for update in await self.tick():
                    emit(update)
            except (Retry, psycopg.Error) as error:
                log.warning("price_clock_waits", reason=type(error).__name__)
            await pause(stop, timedelta(milliseconds=milliseconds).total_seconds())

    async def tick(self, watched: Collection[bytes] | None = None) -> list[PriceUpdate]:
        """Prices that were not told yet for the heads of now; of the watched order hashes, or all.

        Raises:
            NodeUnavailable, NodeError, DatabaseUnavailable: try again.
        """
        await self._refresh()
        orders = [order for order in self._orders if watched is None or order.signed.hash in watched]
        heads: dict[str, BlockRef] = {}
        for chain in {order.signed.order.source_chain for order in orders}:
            heads[chain] = (await self._chains.get(chain).heads.newest()).ref
        updates = []
        for order in orders:
            head = heads[order.signed.order.source_chain]
            amount = destination_amount(order.signed.order.price, head.timestamp)
            if self._told.get(order.signed.hash) == (head.number, amount):
                continue
            self._told[order.signed.hash] = (head.number, amount)
            updates.append(make_update(order, head))
        return updates

    async def _refresh(self) -> None:
        now = self._clock.now()
        if self._read_at is not None and now - self._read_at < REFRESH:
            return
        async with self._database.system("auctions") as uow:
            self._orders = await store.list_open(uow)
        self._read_at = now
        open_hashes = {order.signed.hash for order in self._orders}
        self._told = {order_hash: told for order_hash, told in self._told.items() if order_hash in open_hashes}


def make_update(order: BookOrder, head: BlockRef) -> PriceUpdate:
    """The price of an order at a block of its source chain."""
    terms = order.signed.order
    order_hash = to_hex(order.signed.hash)
    return PriceUpdate(
        order_hash=order_hash,
        as_of=datetime.fromtimestamp(head.timestamp, UTC),
        data={
            "hash": order_hash,
            "maker": terms.maker,
            "source_chain": terms.source_chain,
            "source_factory": terms.source_factory,
            "source_token": terms.source_token,
            "destination_chain": terms.destination.chain,
            "destination_token": to_hex(terms.destination.token),
            "state": order.state.value,
            "validity": order.validity.value,
            "rate_bump": rate_bump(terms.price, head.timestamp),
            "destination_amount": str(destination_amount(terms.price, head.timestamp)),
            "as_of": {
                "chain": head.chain,
                "block_number": str(head.number),
                "block_hash": to_hex(head.hash),
                "timestamp": head.timestamp,
            },
        },
    )
