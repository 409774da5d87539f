"""Keeps the validity of live orders true: asks the makers' chains again and again. One process of the deployment leads.

Also forgets the secrets that were left here for orders that nobody took.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import timedelta

import psycopg
import structlog

from lockstep.auctions import store
from lockstep.auctions.book import Book
from lockstep.auctions.chain import read_makers
from lockstep.auctions.types import LIVE_STATES, BookOrder, Validity
from lockstep.chains.evm import BlockRef, ChainRegistry, EvmClient, NodeError
from lockstep.kit.clock import Clock, pause
from lockstep.kit.database import Database
from lockstep.kit.errors import LockstepError, Retry

log = structlog.get_logger(__name__)

EVERY = timedelta(seconds=2)
BATCH = 40
"""Orders per look at a chain: five calls each."""
FORGET_EVERY = timedelta(hours=1)
FORGET_AFTER = timedelta(days=1)
"""How long a secret outlives its expired order: longer than a chain needs to show us an escrow of the last block."""


class BookKeeper:
    """Refreshes the validity of live orders."""

    def __init__(self, database: Database, clock: Clock, chains: ChainRegistry, book: Book) -> None:
        self._database, self._clock, self._chains, self._book = database, clock, chains, book
        self._forgets_at = clock.now()

    async def run(self, stop: asyncio.Event) -> None:
        """Look while leading; wait to lead otherwise. Faults of nodes and the database are waited out."""
        while not stop.is_set():
            try:
                async with self._database.leadership("auctions.keeper") as lead:
                    while lead is not None and not stop.is_set() and not lead.closed:
                        await lead.execute("select 1")  # the lock lives and dies with this connection
                        await self._forget_sometimes()
                        if await self.look_once() < BATCH:
                            await pause(stop, 0.5)
            except (Retry, psycopg.Error) as error:
                log.warning("book_keeper_waits", reason=type(error).__name__)
            await pause(stop, 0.5)

    async def look_once(self) -> int:
        """Look at the orders that were unseen for longest; returns how many of a chain at most."""
        most = 0
        for client in self._chains:
            try:
                most = max(most, await self._look_at(client.chain))
            except LockstepError as error:
                # One chain that does not answer must not keep the orders of the others from being looked at.
                log.warning("book_keeper_skips", chain=client.chain, code=error.code)
        return most

    async def _forget_sometimes(self) -> None:
        now = self._clock.now()
        if now >= self._forgets_at:
            self._forgets_at = now + FORGET_EVERY
            await self.forget_once()

    async def forget_once(self) -> int:
        """Forget held secrets of orders that expired `FORGET_AFTER` ago; returns how many."""
        async with self._database.system("auctions") as uow:
            return await self._book.forget_expired(uow, self._clock.now() - FORGET_AFTER)

    async def _look_at(self, chain: str) -> int:
        now = self._clock.now()
        async with self._database.system("auctions") as uow:
            orders = await store.list_unchecked(uow, chain, now - EVERY, BATCH)
        if not orders:
            return 0
        client = self._chains.get(chain)
        validities = await self._read(client, orders, (await client.heads.newest()).ref)
        async with self._database.system("auctions") as uow:
            # Also those that could not be read: they must not stand first in the queue for ever.
            await store.mark_checked(uow, [order.signed.hash for order in orders], now)
            for order in orders:
                validity = validities.get(order.signed.hash, order.validity)
                if validity is order.validity:
                    continue
                locked = await store.find_order(uow, order.signed.hash, lock=True)
                if locked is not None and locked.state in LIVE_STATES and locked.validity is not validity:
                    await self._book.change(uow, locked, now, validity=validity)
        return len(orders)

    async def _read(self, client: EvmClient, orders: Sequence[BookOrder], head: BlockRef) -> dict[bytes, Validity]:
        """Validity by order hash. A token is any contract that its maker likes: one whose call a node cannot answer is
        left out, and costs the orders around it nothing but a question of their own."""
        try:
            facts = await read_makers(client, [order.signed.order for order in orders], head)
        except NodeError as error:
            if len(orders) > 1:
                apart = [await self._read(client, [order], head) for order in orders]
                return {order_hash: validity for one in apart for order_hash, validity in one.items()}
            log.warning("book_keeper_skips", order_hash=orders[0].signed.hash.hex(), code=error.code)
            return {}
        return {order.signed.hash: fact.validity(order.signed) for order, fact in zip(orders, facts, strict=True)}
