"""A block with an escrow disappears: what rested on it is unwound, followed again, and the swap still ends whole."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from tests.journeys.support import FIRST, SECOND, Deployment, until
from tests.journeys.traders import Market

from lockstep.app.demo import external_maker, external_resolver
from lockstep.app.demo.own_node import FACTORY
from lockstep.app.demo.swaps import Offer


@pytest.fixture(scope="module")
def shaken(make_deployment: Callable[..., Deployment]) -> Iterator[Market]:
    """Makers and takers on chains that lose blocks."""
    opened = Market.open(make_deployment())
    yield opened
    opened.close()


@contextmanager
def blocks_by_hand(market: Market, chain: str) -> Iterator[None]:
    """No block comes by itself on a chain."""
    market.deployment.ask("evm_setIntervalMining", 0, chain=chain)
    try:
        yield
    finally:
        market.deployment.ask("evm_setIntervalMining", 1, chain=chain)


def pending(market: Market, chain: str) -> bool:
    """Whether a transaction waits for a block."""
    return int(market.deployment.ask("txpool_status", chain=chain)["pending"], 16) > 0


def escrows(market: Market, made: Offer) -> list[bytes]:
    """Addresses of the escrows of an order that the deployment knows of, as the chains are followed now."""
    rows = market.deployment.rows("select address from escrows where order_hash = %s order by side", made.hash)
    return [bytes(row["address"]) for row in rows]


def steps(market: Market, swap_id: str) -> list[tuple[str, str]]:
    """State and reason of every step of a swap."""
    rows = market.deployment.rows(
        "select to_state, reason from process_steps where kind = 'swap' and process_id = %s order by version", swap_id
    )
    return [(row["to_state"], row["reason"]) for row in rows]


def whole(market: Market, made: Offer, before: dict[str, tuple[int, int]], parties: tuple[str, str]) -> None:
    """Exactly one of each effect, and every token with its rightful side."""
    effects = market.run(market.effects(made.hash))
    expected = dict.fromkeys(effects, 0)
    for side in ("source", "destination"):
        expected[f"{side} escrows"] = expected[f"{side} EscrowWithdrawal"] = 1
    assert effects == expected
    maker, taker = parties
    amount, price = made.order.source_amount, made.order.price.end_amount
    after = market.run(market.tokens())
    moved = {name: (after[name][0] - before[name][0], after[name][1] - before[name][1]) for name in before}
    assert moved == {**dict.fromkeys(before, (0, 0)), maker: (-amount, price), taker: (amount, -price)}


@pytest.mark.timeout(240)
@pytest.mark.parametrize("side", ["source", "destination"])
def test_swap__managed_whose_escrow_is_reorganised_away__locks_again_and_settles(shaken: Market, side: str) -> None:
    chain, state = (FIRST, "source_locked") if side == "source" else (SECOND, "destination_locked")
    market, before = shaken, shaken.run(shaken.tokens())
    made = market.run(market.offer())
    with blocks_by_hand(market, chain):
        swap = market.run(market.take(made))
        until(lambda: pending(market, chain), "the transaction that locks")
        market.deployment.mine(chain=chain)
        market.run(market.wait_state(market.resolver, swap.id, state))
        known = escrows(market, made)
        assert len(known) == (1 if side == "source" else 2)

        market.deployment.ask("anvil_reorg", 1, [], chain=chain)
        market.deployment.mine(chain=chain)
        until(lambda: set(known) - set(escrows(market, made)), "the escrow to be forgotten", 60)
    settled = market.run(market.settle(made, swap.id))
    assert settled.state == "settled", (settled.state, settled.reason)
    told = steps(market, swap.id)
    assert (f"{side}_locking", f"the {side} escrow left its chain") in told
    assert [state_ for state_, _ in told].count(state) >= 2
    until(lambda: market.run(market.maker.get_order(made.name)).state == "filled", "the book to know")
    whole(market, made, before, ("maker", "resolver"))


@pytest.mark.timeout(240)
def test_swap__external_whose_source_is_reorganised_away__is_open_again_until_it_is_locked_again(
    shaken: Market,
) -> None:
    market, strangers, nodes = shaken, shaken.strangers, shaken.nodes
    before = market.run(market.tokens())
    maker = market.run(market.log_in(strangers.maker))
    resolver = market.run(market.log_in(strangers.resolver))

    async def post() -> Offer:
        order, secret = await market.order(strangers.maker.address)
        await external_maker.post_order(maker, strangers.maker, order, nodes[0])
        await nodes[1].approve(strangers.resolver, market.cast.sides[1].token, order.price.end_amount)
        return Offer(order, market.hash(order), secret)

    async def lock() -> None:
        members, deposit = made.order.members(), made.order.deposits.source
        await nodes[0].send(
            strangers.resolver,
            FACTORY,
            nodes[0].factory,
            "createSource",
            members,
            seen.signature,
            seen.permit,
            value=deposit,
        )

    made = market.run(post())
    seen = market.run(external_resolver.register(resolver, strangers.resolver, made.name, nodes[0]))
    swap_id = market.run(resolver.get_order(made.name)).fills[0].swap_id
    with blocks_by_hand(market, FIRST):
        locking = market.begin(lock())
        until(lambda: pending(market, FIRST), "the transaction that locks")
        market.deployment.mine()
        locking.result(30)
        market.run(market.wait_state(resolver, swap_id, "source_locked"))
        assert market.run(resolver.get_order(made.name)).state == "filled"

        market.deployment.ask("anvil_reorg", 1, [])
        market.deployment.mine()
        until(lambda: not escrows(market, made), "the escrow to be forgotten", 60)
        market.run(market.wait_state(resolver, swap_id, "source_locking"))
        until(lambda: market.run(resolver.get_order(made.name)).state == "open", "the order to be open again")

    async def go_on() -> str:
        if not await nodes[0].list_locks("source", made.hash):
            await lock()  # the node did not put it back into its pool
        (on_source,) = await nodes[0].list_locks("source", made.hash)
        while not await nodes[0].is_final(on_source):
            await nodes[0].wait_until((await nodes[0].head()).time + 1)
        on_destination = await external_resolver.lock_destination(strangers.resolver, seen, on_source, nodes[1])
        await market.wait_state(maker, swap_id, "both_final")
        await external_maker.release_secret(maker, made.hash, made.secret, nodes[1], on_destination)
        await external_resolver.claim(strangers.resolver, made.secret, nodes[0], on_source, nodes[1], on_destination)
        return (await maker.wait_swap(swap_id, 120)).state

    assert market.run(go_on()) == "settled"
    assert len(escrows(market, made)) == 2
    whole(market, made, before, ("foreign maker", "foreign resolver"))
