"""Swaps from a signed order to their end: settled under custody, settled between strangers, undone when a right ends."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from itertools import groupby

import pytest
from tests.journeys.support import FIRST, Deployment, Listener, until
from tests.journeys.traders import LONG_LOCKS, Market

from lockstep.app.demo import swaps
from lockstep.client import Swap

ROAD = [
    "source_locking",
    "source_locked",
    "destination_locking",
    "destination_locked",
    "both_final",
    "secret_released",
    "destination_withdrawing",
    "destination_withdrawn",
    "source_withdrawing",
    "settled",
]


def moved(before: dict[str, tuple[int, int]], after: dict[str, tuple[int, int]]) -> dict[str, tuple[int, int]]:
    """What each party gained on both chains, of those that gained or lost anything."""
    gained = {name: (after[name][0] - held[0], after[name][1] - held[1]) for name, held in before.items()}
    return {name: both for name, both in gained.items() if both != (0, 0)}


def road(deployment: Deployment, swap_id: str) -> list[str]:
    """The states that a swap went through; waiting where it stands is not a move."""
    query = "select to_state from process_steps where kind = 'swap' and process_id = %s order by version"
    return [state for state, _ in groupby(row["to_state"] for row in deployment.rows(query, swap_id))]


def test_swap__managed_resolver__settles_and_the_stream_tells_every_step(market: Market) -> None:
    deployment, before = market.deployment, market.run(market.tokens())
    caller = market.caller(market.cast.app)
    orders = {"topic": "orders", "types": ["order_created", "order_updated", "price_update"]}
    with Listener(caller, orders, {"topic": "swaps"}, {"topic": "escrows"}) as stream:
        made = market.run(market.offer(start_bump=200_000, auction_seconds=5))
        stream.wait(lambda f: f.get("type") == "price_update" and f["id"] == made.name, "a price")
        until(
            lambda: stream.frames and prices(stream, made.name)[-1:] == [made.order.price.end_amount],
            "the price to fall to its end",
        )
        swap = market.run(market.take(made))
        assert market.run(market.take(made)).id == swap.id
        settled = market.run(market.settle(made, swap.id))
        stream.wait(lambda f: f.get("id") == swap.id and f["data"]["state"] == "settled", "the end of the swap")
        stream.wait(lambda f: f.get("id") == made.name and f["data"].get("state") == "filled", "the order to be filled")
        told = stream.events(swap.id)
        falling = prices(stream, made.name)
        types = {frame["type"] for frame in stream.frames if frame.get("id") == made.name}
        escrows = {f["id"] for f in stream.frames if f.get("topic") == "escrows" and "seq" in f}

    amount, price = made.order.source_amount, made.order.price.end_amount
    assert moved(before, market.run(market.tokens())) == {"maker": (-amount, price), "resolver": (amount, -price)}
    assert road(deployment, swap.id) == ROAD
    assert [state for state, _ in groupby(event["data"]["state"] for event in told)] == ["matched", *ROAD]
    assert [event["version"] for event in told] == sorted({event["version"] for event in told})
    assert len(falling) >= 2
    assert falling == sorted(falling, reverse=True)
    assert types >= {"order_created", "order_updated", "price_update"}
    assert len(escrows) >= 2
    names = [entry.name for entry in market.run(market.maker.get_swap_timeline(swap.id))]
    assert {"source_created", "destination_created", "destination_withdrawn", "source_withdrawn"} <= set(names)
    assert settled.source.escrow is not None
    assert settled.destination.escrow is not None


def prices(stream: Listener, name: str) -> list[int]:
    """Prices of an order that the stream told, in order."""
    frames = [frame for frame in list(stream.frames) if frame["type"] == "price_update" and frame["id"] == name]
    return [int(frame["data"]["destination_amount"]) for frame in frames]


@pytest.mark.timeout(240)
def test_swap__of_strangers_as_programs_with_their_own_keys__settles(market: Market) -> None:
    before = market.run(market.tokens())

    async def play() -> tuple[bool, bool, str]:
        maker, resolver, name = await swaps.swap_of_strangers(market.deployment.stack, market.cast, market.strangers)
        ended = await asyncio.gather(maker.ended_well(120), resolver.ended_well(120))
        return ended[0], ended[1], name

    maker_ended, resolver_ended, name = market.run(play(), 200)

    assert (maker_ended, resolver_ended) == (True, True)
    gained = moved(before, market.run(market.tokens()))
    assert gained.keys() == {"foreign maker", "foreign resolver"}
    sold, paid = gained["foreign resolver"]
    assert sold > 0 > paid
    assert gained["foreign maker"] == (-sold, -paid)

    def is_known() -> bool:
        order = market.run(market.cast.app.get_order(name))
        return order.state == "filled" and order.fills[0].settlement_state == "settled"

    until(is_known, "the book to know")


@pytest.fixture
def brief_market(deployment: Deployment) -> Iterator[Market]:
    """Traders whose rights are taken away."""
    opened = Market.open(deployment)
    yield opened
    opened.close()


@pytest.mark.timeout(240)
def test_swap__session_revoked_after_the_source_escrow__the_coordinator_gives_everything_back(
    brief_market: Market,
) -> None:
    market, deployment = brief_market, brief_market.deployment
    before = market.run(market.tokens())
    wallet = market.cast.resolver.wallet.id
    deployment.ask("evm_setIntervalMining", 0, chain=FIRST)
    try:
        made = market.run(market.offer())
        swap = market.run(market.take(made))
        legs = until(
            lambda: deployment.rows("select transaction_id as id from swap_legs where swap_id = %s", swap.id), "a leg"
        )
        market.caller(market.resolver).wait_transaction(legs[0]["id"], "broadcast")
        market.run(market.resolver.revoke_session_signer(wallet, market.cast.coordinator_session))
    finally:
        deployment.ask("evm_setIntervalMining", 1, chain=FIRST)

    async def until_public() -> Swap:
        await market.wait_state(market.resolver, swap.id, "source_cancelling")
        await market.warp(LONG_LOCKS.source_public_cancellation + 10)
        return await market.resolver.wait_swap(swap.id, 120)

    ended = market.run(until_public())

    assert ended.state == "refunded", ended.reason
    assert market.run(market.tokens()) == before
    effects = market.run(market.effects(made.hash))
    assert (effects["source escrows"], effects["source EscrowCancelled"], effects["destination escrows"]) == (1, 1, 0)
    assert (effects["source tokens left"], effects["source coins left"]) == (0, 0)
    sent = deployment.rows("select leg from swap_legs where swap_id = %s order by created_at", swap.id)
    assert sent[-1]["leg"] == "source_public_cancel"
