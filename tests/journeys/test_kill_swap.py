"""Workers are killed at every step of the swap process, before the effect, after it and after the commit.

Three swaps run at once and pass every state between them: one settles (its secret is held, so that a step releases it),
in one the maker stays silent, one is abandoned by a taker of its own key. Each effect happens once on the chains, and everything ends as it does when nobody is killed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from tests.journeys.support import TERMINAL, Deployment, until
from tests.journeys.traders import LONG_LOCKS, Market

from lockstep.client import Swap
from lockstep.kit.crash import MOMENTS
from lockstep.settlement import SwapProcess

WORKERS = 3
SOON_PUBLIC = replace(
    LONG_LOCKS,
    source_public_withdrawal=2_000,
    source_cancellation=2_050,
    source_public_cancellation=2_100,
    destination_public_withdrawal=500,
    destination_cancellation=1_000,
)
"""The abandoned source can be cancelled by anyone after the first warp, the silent maker's not before the second."""
SETTLED = {
    "source escrows": 1,
    "source EscrowWithdrawal": 1,
    "source EscrowCancelled": 0,
    "source tokens left": 0,
    "source coins left": 0,
    "destination escrows": 1,
    "destination EscrowWithdrawal": 1,
    "destination EscrowCancelled": 0,
    "destination tokens left": 0,
    "destination coins left": 0,
}
REFUNDED = {
    **SETTLED,
    "source EscrowWithdrawal": 0,
    "source EscrowCancelled": 1,
    "destination EscrowWithdrawal": 0,
    "destination EscrowCancelled": 1,
}
ABANDONED = {**REFUNDED, "destination escrows": 0, "destination EscrowCancelled": 0}


@dataclass
class Outcome:
    """What a run left behind, in words that do not depend on ids, hashes and times."""

    swaps: dict[str, Swap]
    effects: dict[str, dict[str, int]]
    legs: dict[str, list[tuple[str, int]]]
    moved: dict[str, tuple[int, int]]
    """Tokens that each party has more than before, on both chains."""
    sent: dict[str, list[tuple[str, str]]]
    """Chain and state of every transaction of a wallet."""
    nonces: dict[str, dict[str, tuple[int, ...]]]
    """Nonces that a wallet used on each chain, counted from the first of this run."""
    coins_lost: dict[str, int]
    """Coins that a wallet has less than fees alone explain, over both chains."""


async def play(market: Market) -> dict[str, tuple[str, bytes]]:
    """The three swaps; id and order hash of each by name."""
    stranger = await market.log_in(market.strangers.resolver)
    good, silent = await market.offer(), await market.offer()
    left = await market.offer(time_locks=SOON_PUBLIC, least_amount=market.cast.sides[1].amount(3))
    await market.maker.hold_secret(good.name, good.secret)
    first, second = await asyncio.gather(market.take(good), market.take(silent))
    settling = asyncio.create_task(market.maker.wait_swap(first.id, 240.0))
    locked = await market.lock_source(left, stranger)
    third = next(fill.swap_id for fill in (await stranger.get_order(left.name)).fills)
    await asyncio.gather(
        settling,
        market.wait_state(market.resolver, second.id, "both_final"),
        market.wait_state(stranger, third, "destination_locking"),
    )
    await market.warp(LONG_LOCKS.destination_cancellation + 120)
    await asyncio.gather(
        stranger.wait_swap(third, 120), market.wait_state(market.resolver, second.id, "source_cancelling")
    )
    assert locked.immutables["amount"] == left.order.source_amount
    await market.warp(LONG_LOCKS.source_cancellation - LONG_LOCKS.destination_cancellation)
    await market.resolver.wait_swap(second.id, 120)
    return {"settled": (first.id, good.hash), "silent": (second.id, silent.hash), "abandoned": (third, left.hash)}


def observe(market: Market) -> Outcome:
    """Play, and look at what is left."""
    deployment, sides = market.deployment, market.cast.sides
    wallets = {
        "maker": (market.cast.maker.wallet.id, market.cast.maker.wallet.address),
        "resolver": (market.cast.resolver.wallet.id, market.cast.resolver.wallet.address),
        "coordinator": (market.coordinator()["wallet_id"], market.coordinator()["address"]),
    }

    def coins() -> dict[str, int]:
        return {
            name: sum(deployment.balance(address, side.chain) for side in sides)
            for name, (_, address) in wallets.items()
        }

    def transactions(wallet_id: str) -> list[dict[str, Any]]:
        return deployment.rows("select * from transactions where wallet_id = %s order by chain, nonce", wallet_id)

    tokens, before = market.run(market.tokens()), coins()
    known = {row["id"] for wallet_id, _ in wallets.values() for row in transactions(wallet_id)}
    first = {name: {side.chain: deployment.nonce(a, side.chain) for side in sides} for name, (_, a) in wallets.items()}
    played = market.run(play(market), 400)

    def new(name: str) -> list[dict[str, Any]]:
        return [row for row in transactions(wallets[name][0]) if row["id"] not in known]

    until(lambda: all(row["state"] in TERMINAL for name in wallets for row in new(name)), "every transaction to end")
    after, tokens_after = coins(), market.run(market.tokens())
    for name, (_, address) in wallets.items():
        for side in sides:
            used = [row["nonce"] for row in new(name) if row["chain"] == side.chain]
            begin = first[name][side.chain]
            assert used == list(range(begin, begin + len(used))), (name, side.chain, used)
            assert deployment.nonce(address, side.chain) == begin + len(used)
    fees = {name: sum(int(row["gas_used"] * row["effective_gas_price"]) for row in new(name)) for name in wallets}
    return Outcome(
        swaps={
            name: market.run(market.cast.app.get_swap(swap_id) if name != "abandoned" else _foreign(market, swap_id))
            for name, (swap_id, _) in played.items()
        },
        effects={name: market.run(market.effects(order_hash)) for name, (_, order_hash) in played.items()},
        legs={
            name: [
                (row["leg"], row["attempt"])
                for row in deployment.rows(
                    "select leg, attempt from swap_legs where swap_id = %s order by 1, 2", swap_id
                )
            ]
            for name, (swap_id, _) in played.items()
        },
        moved={
            name: (tokens_after[name][0] - held[0], tokens_after[name][1] - held[1]) for name, held in tokens.items()
        },
        sent={name: [(row["chain"], row["state"]) for row in new(name)] for name in wallets},
        nonces={
            name: {
                side.chain: tuple(r["nonce"] - first[name][side.chain] for r in new(name) if r["chain"] == side.chain)
                for side in sides
            }
            for name in wallets
        },
        coins_lost={name: before[name] - after[name] - fees[name] for name in wallets},
    )


async def _foreign(market: Market, swap_id: str) -> Swap:
    return await (await market.log_in(market.strangers.resolver)).get_swap(swap_id)


@pytest.mark.timeout(600)
def test_swaps__workers_killed_at_every_step__each_effect_happens_once(
    make_deployment: Callable[..., Deployment], tmp_path: Path
) -> None:
    deployment = make_deployment()
    market = Market.open(deployment)
    undisturbed = observe(market)

    folder = tmp_path / "crashes"
    folder.mkdir()
    crashing = {"LOCKSTEP_CRASH_FOLDER": str(folder), "LOCKSTEP_CRASH_STEPS": "swap."}

    async def replace_workers() -> None:
        await deployment.stack.stop_role("work-1")
        for number in range(1, WORKERS + 1):
            deployment.stack.start_role(f"work-{number}", "work", crashing)

    deployment.run(replace_workers())
    killed = observe(market)

    registered = {f"swap.{state}.{moment}" for state in SwapProcess.states for moment in MOMENTS}
    visited = {file.name for file in folder.iterdir()}
    assert visited == registered
    until(lambda: sum(r.restarts for r in deployment.stack.roles.values()) >= len(registered), "all workers to be back")
    for outcome in (undisturbed, killed):
        states = {name: swap.state for name, swap in outcome.swaps.items()}
        assert states == {"settled": "settled", "silent": "refunded", "abandoned": "refunded"}
        assert outcome.effects == {"settled": SETTLED, "silent": REFUNDED, "abandoned": ABANDONED}
        source, destination = (side.amount(many) for side, many in zip(market.cast.sides, (1, 2), strict=True))
        assert outcome.moved == {
            "maker": (-source, destination),
            "resolver": (source, -destination),
            "foreign maker": (0, 0),
            "foreign resolver": (0, 0),
        }
        assert {state for sent in outcome.sent.values() for _, state in sent} == {"final"}
        # The stranger forfeits its deposit to who did its duty; nobody else pays more than fees.
        assert outcome.coins_lost == {"maker": 0, "resolver": 0, "coordinator": -market.trade().deposit_wei}
    assert killed.legs == undisturbed.legs
    assert killed.sent == undisturbed.sent
    assert killed.nonces == undisturbed.nonces
    assert deployment.command("audit", "verify").returncode == 0
