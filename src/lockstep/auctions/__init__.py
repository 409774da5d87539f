"""Dutch-auction orders: what makers sign, what they cost at a moment, the book, and how orders are taken.

Knows orders and prices; how a fill is settled is settlement's business, which asks the `Book` what an order stands for.
"""

from lockstep.auctions.api import router
from lockstep.auctions.book import Book, describe
from lockstep.auctions.codec import ORDER_TYPES, create_source_call, order_digest, typed_data
from lockstep.auctions.follower import NAME, BookFollower
from lockstep.auctions.keeper import BookKeeper
from lockstep.auctions.ports import MakerTransactions, Wallets
from lockstep.auctions.prices import PriceClock, PriceUpdate
from lockstep.auctions.rules import BookRules, destination_amount, rate_bump
from lockstep.auctions.service import COORDINATOR, AuctionService
from lockstep.auctions.types import (
    BookOrder,
    Destination,
    Order,
    OrderState,
    PriceCurve,
    PricePoint,
    SignedOrder,
    Validity,
)

FILTER_MEMBERS = frozenset(
    {"maker", "source_chain", "source_token", "destination_chain", "destination_token", "state", "validity"}
)
"""Members of the events of topic `orders` by which it can be filtered."""

__all__ = [
    "COORDINATOR",
    "FILTER_MEMBERS",
    "NAME",
    "ORDER_TYPES",
    "AuctionService",
    "Book",
    "BookFollower",
    "BookKeeper",
    "BookOrder",
    "BookRules",
    "Destination",
    "MakerTransactions",
    "Order",
    "OrderState",
    "PriceClock",
    "PriceCurve",
    "PricePoint",
    "PriceUpdate",
    "SignedOrder",
    "Validity",
    "Wallets",
    "create_source_call",
    "describe",
    "destination_amount",
    "order_digest",
    "rate_bump",
    "router",
    "typed_data",
]
