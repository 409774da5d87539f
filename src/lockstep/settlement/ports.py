"""What settlement needs from others; the composition root wires it."""

from __future__ import annotations

from typing import Protocol

from lockstep.kit.database import UnitOfWork
from lockstep.settlement.types import Offer, Swap


class OrderBook(Protocol):
    """Who knows what an order hash stands for; auctions implements it."""

    async def find_offer(
        self, uow: UnitOfWork, order_hash: bytes, fill_index: int, taker: bytes, at: int
    ) -> Offer | None:
        """The terms of a fill for a taker at the price of a moment of the source chain; None for an unknown order."""
        ...

    async def find_held_secret(self, uow: UnitOfWork, order_hash: bytes, fill_index: int) -> bytes | None:
        """The secret that the maker left with us, to be released when swap rule 4 allows it; None: it keeps it itself."""
        ...

    async def on_swap_changed(self, uow: UnitOfWork, swap: Swap) -> None:
        """A swap moved: take its state over into the fill, in the same database transaction."""
        ...
