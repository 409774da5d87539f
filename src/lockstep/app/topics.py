"""The topics of the stream and what a new subscriber is shown first. Knows where modules keep their objects, no rules."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from lockstep.app.stream import Filter, Snapshot, Topic, Topics, matches
from lockstep.auctions import FILTER_MEMBERS, AuctionService
from lockstep.auctions import describe as describe_order
from lockstep.custody import CustodyService, Principal, WalletFilter
from lockstep.kit.database import UnitOfWork
from lockstep.kit.ids import AppId
from lockstep.transactions import TransactionsService
from lockstep.transactions import public as describe_transaction

PRICE_UPDATE = "price_update"
_ALL = WalletFilter(include_archived=True)
_SCANNED = 500
"""How many objects a snapshot looks through, newest first."""


def make_topics(custody: CustodyService, auctions: AuctionService, transactions: TransactionsService) -> Topics:
    """All topics. Orders and escrows are public; transactions, swaps and wallets belong to apps."""

    async def owned_wallets(principal: Principal) -> frozenset[str]:
        found: set[str] = set()
        page = await custody.list_wallets(principal, _ALL, limit=100)
        while True:
            found.update(wallet.id for wallet in page.items)
            if page.next_cursor is None:
                return frozenset(found)
            page = await custody.list_wallets(principal, _ALL, cursor=page.next_cursor, limit=100)

    async def open_orders(uow: UnitOfWork, _: AppId | None) -> list[tuple[str, dict[str, Any]]]:
        found = await auctions.list_open(uow, _SCANNED)
        return [(order["hash"], order) for order in map(describe_order, found)]

    async def recent_transactions(uow: UnitOfWork, app_id: AppId | None) -> list[tuple[str, dict[str, Any]]]:
        if app_id is None:
            return []
        page = await transactions.list(uow, app_id, limit=100)
        return [(each.id, describe_transaction(each)) for each in page.items]

    return Topics(
        [
            Topic(
                name="orders",
                audience="public",
                members=FILTER_MEMBERS,
                ephemeral=frozenset({PRICE_UPDATE}),
                snapshot=_filtered(open_orders),
            ),
            Topic(
                name="escrows", audience="public", members=frozenset({"chain", "order_hash", "taker", "side", "state"})
            ),
            Topic(
                name="transactions",
                audience="app",
                members=frozenset({"wallet_id", "chain", "state"}),
                snapshot=_filtered(recent_transactions),
            ),
            Topic(name="swaps", audience="app", members=frozenset({"order_hash", "state", "mode"}), wallet_member=None),
            Topic(name="wallets", audience="app", members=frozenset({"id", "status"}), wallet_member="id"),
        ],
        owned_wallets,
    )


_Find = Callable[[UnitOfWork, AppId | None], Awaitable[list[tuple[str, dict[str, Any]]]]]


def _filtered(find: _Find) -> Snapshot:
    """A snapshot of what was found, narrowed as the subscription's events will be."""

    async def snapshot(uow: UnitOfWork, app_id: AppId | None, wanted: Filter, limit: int) -> list[dict[str, Any]]:
        found = [data for object_id, data in await find(uow, app_id) if matches(wanted, object_id, data)]
        return found[:limit]

    return snapshot
