"""The swaps: two of a custody maker with a managed resolver, one between strangers, one whose resolver stops."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from eth_account import Account
from eth_account.signers.local import LocalAccount

from lockstep.app.demo import external_maker, external_resolver
from lockstep.app.demo.cast import COINS, Cast
from lockstep.app.demo.chain import Side, warp
from lockstep.app.demo.external_maker import DEMO_TIME_LOCKS, Trade
from lockstep.app.demo.own_node import OwnNode
from lockstep.app.demo.processes import Program
from lockstep.app.demo.report import Report
from lockstep.app.demo.watch import Watcher
from lockstep.app.devnet.machine import write_private
from lockstep.app.stack import Stack
from lockstep.chains.evm import Address
from lockstep.client import AsyncClient, Swap, SwapOrder, order_hash, order_typed_data

BOT = "lockstep.app.demo.resolver_bot"
SOLD, LEAST = 1_000, 2_000
"""Whole tokens that a maker sells, and the least it wants for them."""
BOT_PAYS = (2_060, 1_000)
"""The bot's worst price: whole destination tokens per whole source tokens."""


@dataclass(frozen=True, slots=True)
class Offer:
    """An order of the custody maker in the book; the secret stays with the maker's client."""

    order: SwapOrder
    hash: bytes
    secret: bytes = field(repr=False)

    @property
    def name(self) -> str:
        return "0x" + self.hash.hex()


@asynccontextmanager
async def own_nodes(cast: Cast, finality_blocks: int) -> AsyncIterator[tuple[OwnNode, OwnNode]]:
    """Both chains as the parties see them, without asking Lockstep."""
    first, second = (
        OwnNode(side.chain, side.node.url, side.factory, finality_blocks=finality_blocks) for side in cast.sides
    )
    async with first, second:
        yield first, second


@asynccontextmanager
async def resolver_bot(stack: Stack, cast: Cast) -> AsyncIterator[Program]:
    """The resolver's bot, in a process of its own, with nothing but its session's token."""
    source, destination = cast.sides
    worst = f"{destination.amount(BOT_PAYS[0])}/{source.amount(BOT_PAYS[1])}"
    bot = await Program.start(
        BOT,
        *("--api", stack.url, "--wallet-id", cast.resolver.wallet.id, "--worst-price", worst),
        *("--session-signer-id", cast.coordinator_session),
        *("--source-chain", source.chain, "--destination-chain", destination.chain),
        environment={"RESOLVER_TOKEN": cast.bot_token},
    )
    try:
        await bot.wait_for("watching")
        yield bot
    finally:
        await bot.stop()


async def offer(cast: Cast, nodes: tuple[OwnNode, OwnNode], *, start_bump: int, least: int = LEAST) -> Offer:
    """Sign an order through `POST /v1/wallets/{id}/rpc` and put it into the book."""
    source = cast.sides[0]
    secret = secrets.token_bytes(32)
    order = await external_maker.make_order(
        cast.maker.wallet.address, trade(cast, start_bump=start_bump, least=least), secret, *nodes
    )
    signature = await cast.maker.client.sign_typed_data(
        cast.maker.wallet.id, order_typed_data(order, nodes[0].chain_id, source.factory)
    )
    await cast.maker.client.post_order(order, signature, source_chain=source.chain, source_factory=source.factory)
    return Offer(order, order_hash(order, nodes[0].chain_id, source.factory), secret)


def trade(cast: Cast, *, start_bump: int, least: int = LEAST) -> Trade:
    """What is sold and wanted; the auction falls for twelve seconds."""
    source, destination = cast.sides
    return Trade(
        source_token=source.token,
        source_amount=source.amount(SOLD),
        destination_token=destination.token,
        least_amount=destination.amount(least),
        start_bump=start_bump,
        auction_seconds=12,
    )


async def auction(
    cast: Cast, nodes: tuple[OwnNode, OwnNode], watcher: Watcher, bot: Program, report: Report
) -> tuple[Offer, Swap]:
    """An order, its falling price, and the bot that takes it when it pays."""
    report.act("3 · A Dutch auction: the price falls until the resolver's bot takes it")
    source, destination = cast.sides
    made = await offer(cast, nodes, start_bump=800_000)
    report.happened(
        f"maker offers {source.words(source.amount(SOLD))} for at least {destination.words(destination.amount(LEAST))}"
    )
    await watcher.wait("orders", "order_created", made.name)
    swap_id = await bot.wait_for_fact("order_taken", "order_hash", made.name, "swap_id")
    swap = await cast.maker.client.get_swap(swap_id)
    await watcher.wait("orders", "order_updated", made.name)
    prices = [
        int(event.data["destination_amount"])
        for event in watcher.events
        if event.type == "price_update" and event.id == made.name
    ]
    report.say("prices: " + " → ".join(destination.words(price) for price in prices[:6]))
    report.happened(f"the bot took the order at {destination.words(swap.destination.amount)}")
    report.claim(
        "the stream showed the order, its falling price and the fill",
        len(prices) >= 2
        and prices == sorted(prices, reverse=True)
        and prices[0] > prices[-1]
        and not watcher.has_gaps(),
        seen=prices,
    )
    worst = destination.amount(BOT_PAYS[0]) * SOLD // BOT_PAYS[1]
    report.claim("the bot took it only when it paid", swap.destination.amount <= worst, seen=swap.destination.amount)
    return made, swap


async def settle(cast: Cast, nodes: tuple[OwnNode, OwnNode], made: Offer, swap_id: str) -> Swap:
    """The maker's client: check both escrows through own nodes, then submit the secret, then wait for the end."""
    _, locked = await external_maker.wait_for_locks(made.order, made.hash, *nodes)
    await external_maker.release_secret(cast.maker.client, made.hash, made.secret, nodes[1], locked)
    return await cast.maker.client.wait_swap(swap_id, 120)


async def wait_state(client: AsyncClient, swap_id: str, states: tuple[str, ...]) -> Swap:
    """The swap as soon as it is in one of the states, or has ended."""
    return await client.wait_for(
        lambda: client.get_swap(swap_id),
        lambda swap: swap.state in states or swap.is_over,
        what=f"swap {swap_id} to reach {' or '.join(states)}",
        every_seconds=0.1,
    )


@dataclass(frozen=True, slots=True)
class Strangers:
    """A maker and a resolver with keys of their own, which Lockstep never sees."""

    maker: LocalAccount
    resolver: LocalAccount
    folder: Path


async def make_strangers(stack: Stack, cast: Cast) -> Strangers:
    """Make two keys outside Lockstep and give them what they need."""
    source, destination = cast.sides
    maker, resolver = Account.create(), Account.create()
    folder = stack.devnet.folder / "strangers"
    folder.mkdir(exist_ok=True)
    for name, account in (("maker", maker), ("resolver", resolver)):
        write_private(folder / f"{name}.key", account.key.hex())
        for side in cast.sides:
            await stack.devnet.fund(side.chain, Address(account.address.lower()), COINS)
    await stack.devnet.mint(source.chain, Address(maker.address.lower()), source.amount(10_000))
    await stack.devnet.mint(destination.chain, Address(resolver.address.lower()), destination.amount(10_000))
    return Strangers(maker, resolver, folder)


async def swap_of_strangers(stack: Stack, cast: Cast, strangers: Strangers) -> tuple[Program, Program, str]:
    """Two scripts trade with each other; Lockstep keeps the book, watches and tells. Returns them and the order."""
    source, destination = cast.sides
    places = (
        *("--api", stack.url),
        *("--source-chain", source.chain, "--source-rpc", source.node.url, "--source-factory", source.factory),
        *("--destination-chain", destination.chain, "--destination-rpc", destination.node.url),
        *("--destination-factory", destination.factory),
        *("--finality-blocks", str(stack.devnet.config.finality_blocks)),
    )
    wanted = trade(cast, start_bump=200_000, least=LEAST + 500)  # more than the bot pays
    maker = await Program.start(
        "lockstep.app.demo.external_maker",
        *places,
        *("--key-file", str(strangers.folder / "maker.key")),
        *("--source-token", wanted.source_token, "--source-amount", str(wanted.source_amount)),
        *("--destination-token", wanted.destination_token, "--least-amount", str(wanted.least_amount)),
        *("--start-bump", str(wanted.start_bump), "--auction-seconds", str(wanted.auction_seconds)),
    )
    posted = await maker.wait_for("order_posted")
    resolver = await Program.start(
        "lockstep.app.demo.external_resolver",
        *places,
        *("--key-file", str(strangers.folder / "resolver.key"), "--order-hash", posted["order_hash"]),
    )
    return maker, resolver, str(posted["order_hash"])


async def abandoned(
    stack: Stack, cast: Cast, strangers: Strangers, nodes: tuple[OwnNode, OwnNode], report: Report
) -> None:
    """A resolver locks the source and stops: after the cancellation opens, everybody has theirs back."""
    report.act("5b · A resolver stops after the source escrow: every token comes back")
    source = cast.sides[0]
    before = await holdings(cast.sides, strangers.maker.address), await holdings(cast.sides, strangers.resolver.address)
    async with AsyncClient(stack.url) as anybody:
        maker = await external_maker.log_in(anybody, strangers.maker, nodes[0].chain_id)
        resolver = await external_maker.log_in(anybody, strangers.resolver, nodes[0].chain_id)
        order = await external_maker.make_order(
            strangers.maker.address, trade(cast, start_bump=200_000, least=LEAST + 500), secrets.token_bytes(32), *nodes
        )
        own_hash = await external_maker.post_order(maker, strangers.maker, order, nodes[0])
        seen = await external_resolver.register(resolver, strangers.resolver, "0x" + own_hash.hex(), nodes[0])
        locked = await external_resolver.lock_source(strangers.resolver, seen, *nodes)
        held = await source.tokens_of(locked.escrow)
        report.happened(f"a resolver locked {source.words(held)} in {locked.escrow} and stopped")
        await warp(cast.sides, DEMO_TIME_LOCKS.source_public_cancellation + 5)
        report.say("time passes until anyone may cancel")
        swap_id = next(fill.swap_id for fill in (await maker.get_order(seen.hash)).fills)
        swap = await maker.wait_swap(swap_id, 90)
    report.happened(f"the coordinator cancelled it: {swap.state}")
    after = await holdings(cast.sides, strangers.maker.address), await holdings(cast.sides, strangers.resolver.address)
    report.claim("the swap ended as refunded", swap.state == "refunded", seen=(swap.state, swap.reason))
    report.claim(
        "every token is back with its owner, the escrow is empty",
        before == after and await source.tokens_of(locked.escrow) == 0,
        seen=(before, after),
    )


async def holdings(sides: tuple[Side, Side], account: str) -> tuple[int, int]:
    """Tokens of an account on both chains."""
    first, second = await asyncio.gather(*(side.tokens_of(account) for side in sides))
    return first, second
