"""Twenty swaps at once, from the signing of the orders to the finality of the last leg, against the same swaps by hand.

Ours: makers and takers in custody, everything through the public API, the legs sent by Lockstep; each maker's client
checks both escrows through its own nodes before it submits its secret. By hand: the bare transactions of the same
orders with `eth-account` keys to the same nodes, each swap strictly step by step, each step final before the next;
no estimate, no policy, no record, and nobody who would finish or undo a swap. Same contracts, time locks and finality.
"""

from __future__ import annotations

import asyncio
import secrets
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

from eth_account import Account
from eth_account.signers.local import LocalAccount

from benchmarks.figures import Figure
from benchmarks.machine import cpu_of
from lockstep.app.demo import external_maker, policies
from lockstep.app.demo.chain import Side
from lockstep.app.demo.external_maker import Trade
from lockstep.app.demo.own_node import DESTINATION, FACTORY, SOURCE, TOKEN, OwnNode
from lockstep.app.devnet.contracts import send as send_from_faucet
from lockstep.app.devnet.devnet import DevnetConfig
from lockstep.app.stack import Stack, StackConfig
from lockstep.chains.evm import to_checksum
from lockstep.client import (
    FINAL_SWAP_STATES,
    AdminCredentials,
    AppCredentials,
    AsyncClient,
    Event,
    Subscription,
    SwapOrder,
    TimeLocks,
    Wallet,
    hashlock,
    order_hash,
    order_typed_data,
)
from lockstep.kit.clock import SystemClock

SWAPS = 20
SOLD, LEAST = 1_000, 2_000
"""Whole tokens of each order."""
COINS = 10**18
TIME_LOCKS = TimeLocks(
    source_withdrawal=1,
    source_public_withdrawal=1_800,
    source_cancellation=2_400,
    source_public_cancellation=2_700,
    destination_withdrawal=1,
    destination_public_withdrawal=900,
    destination_cancellation=1_200,
)
"""Withdrawals open as soon as the contracts allow, everything else is far away: what is measured is the way, not a wait."""
GAS = 1_000_000
GAS_PRICE = 10 * 10**9
SECONDS_AT_MOST = 240.0


async def run() -> list[Figure]:
    with tempfile.TemporaryDirectory(prefix="lockstep-bench-") as folder:
        async with Stack(StackConfig(devnet=DevnetConfig(folder=Path(folder) / "devnet"))) as stack:
            sides = _sides(stack)
            async with _nodes(stack, sides) as nodes:
                baseline = await _by_hand(sides, nodes)
                return [await _ours(stack, sides, nodes, baseline)]


def _sides(stack: Stack) -> tuple[Side, Side]:
    first, second = (
        Side(node, at.factory, at.token.address, at.token.symbol, at.token.decimals)
        for node, at in zip(stack.devnet.chains, stack.devnet.deployments, strict=True)
    )
    return first, second


@asynccontextmanager
async def _nodes(stack: Stack, sides: tuple[Side, Side]) -> AsyncIterator[tuple[OwnNode, OwnNode]]:
    finality = stack.devnet.config.finality_blocks
    first, second = (OwnNode(side.chain, side.node.url, side.factory, finality_blocks=finality) for side in sides)
    async with first, second:
        yield first, second


def _trade(sides: tuple[Side, Side]) -> Trade:
    source, destination = sides
    return Trade(
        source_token=source.token,
        source_amount=source.amount(SOLD),
        destination_token=destination.token,
        least_amount=destination.amount(LEAST),
        start_bump=0,
        time_locks=TIME_LOCKS,
        valid_seconds=3_600,
    )


async def _fund(sides: tuple[Side, Side], makers: Sequence[str], takers: Sequence[str]) -> None:
    """Coins on both chains for everybody, and to each side what it sells."""
    for side, sellers, amount in ((sides[0], makers, SOLD), (sides[1], takers, LEAST)):
        coins: list[dict[str, Any]] = [{"to": address, "value": hex(COINS)} for address in (*makers, *takers)]
        tokens = [
            {"to": side.token, "data": "0x" + TOKEN.encode("mint", (address, side.amount(amount))).hex()}
            for address in sellers
        ]
        await send_from_faucet(side.node, [{**one, "gas": hex(200_000)} for one in (*coins, *tokens)])


async def _check_paid(sides: tuple[Side, Side], makers: Sequence[str], takers: Sequence[str]) -> None:
    """Both sides hold what they were to get, and nothing of what they gave."""
    for side, owners, amount in (
        (sides[1], makers, LEAST),
        (sides[0], takers, SOLD),
        (sides[0], makers, 0),
        (sides[1], takers, 0),
    ):
        for owner in owners:
            if (held := await side.tokens_of(owner)) != side.amount(amount):
                raise RuntimeError(f"expected {side.words(side.amount(amount))} with {owner}, was {side.words(held)}")


# --- by hand ----------------------------------------------------------------------------------------------------------


class _Chain:
    """A node, its newest block for everybody who waits for one, and transactions without more ado."""

    def __init__(self, node: OwnNode) -> None:
        self.node = node
        self._number = 0
        self._news = asyncio.Condition()

    async def follow(self) -> None:
        while True:
            number = (await self.node.head()).number
            if number > self._number:
                async with self._news:
                    self._number = number
                    self._news.notify_all()
            await asyncio.sleep(0.05)

    async def wait_block(self, number: int) -> None:
        async with self._news:
            await self._news.wait_for(lambda: self._number >= number)

    async def send_final(self, account: LocalAccount, nonce: int, to: str, data: bytes, value: int) -> dict[str, Any]:
        """The receipt of a transaction, once it is final."""
        transaction: dict[str, Any] = {
            "type": 2,
            "chainId": self.node.chain_id,
            "nonce": nonce,
            "to": to_checksum(to),
            "value": value,
            "data": data,
            "gas": GAS,
            "maxPriorityFeePerGas": 10**9,
            "maxFeePerGas": GAS_PRICE,
        }
        signed = account.sign_transaction(transaction)
        sent = await self.node.rpc("eth_sendRawTransaction", "0x" + bytes(signed.raw_transaction).hex())
        while (receipt := await self.node.rpc("eth_getTransactionReceipt", sent)) is None:
            await self.wait_block(self._number + 1)
        if receipt["status"] != "0x1":
            raise RuntimeError(f"{sent} was mined and failed")
        await self.wait_block(int(receipt["blockNumber"], 16) + self.node.finality_blocks)
        return dict(receipt)


async def _by_hand(sides: tuple[Side, Side], nodes: tuple[OwnNode, OwnNode]) -> float:
    """Seconds that the swaps take by hand."""
    makers, takers = ([Account.create() for _ in range(SWAPS)] for _ in range(2))
    names = [one.address for one in makers], [one.address for one in takers]
    await _fund(sides, *names)
    source, destination = (_Chain(node) for node in nodes)
    following = [asyncio.create_task(chain.follow()) for chain in (source, destination)]
    try:
        async with asyncio.TaskGroup() as group:
            for chain, side, owners in ((source, sides[0], makers), (destination, sides[1], takers)):
                approve = TOKEN.encode("approve", (side.factory, 2**256 - 1))
                for owner in owners:
                    group.create_task(chain.send_final(owner, 0, side.token, approve, 0))
        began = time.perf_counter()
        async with asyncio.timeout(SECONDS_AT_MOST), asyncio.TaskGroup() as group:
            for maker, taker in zip(makers, takers, strict=True):
                group.create_task(_swap_by_hand(_trade(sides), maker, taker, source, destination))
        seconds = time.perf_counter() - began
    finally:
        for task in following:
            task.cancel()
        await asyncio.gather(*following, return_exceptions=True)
    await _check_paid(sides, *names)
    return seconds


async def _swap_by_hand(
    wanted: Trade, maker: LocalAccount, taker: LocalAccount, source: _Chain, destination: _Chain
) -> None:
    secret = secrets.token_bytes(32)
    order = await external_maker.make_order(maker.address, wanted, secret, source.node, destination.node)
    typed = order_typed_data(order, source.node.chain_id, source.node.factory)
    signature = bytes(maker.sign_typed_data(full_message=typed).signature)

    create = FACTORY.encode("createSource", (order.members(), signature, b""))
    receipt = await source.send_final(taker, 0, source.node.factory, create, order.deposits.source)
    first = _created("SourceEscrowCreated", receipt)
    terms = first["terms"]
    immutables = {
        **first["immutables"],
        "maker": "0x" + terms["receiver"].hex(),
        "token": "0x" + terms["token"].hex(),
        "amount": terms["amount"],
        "safetyDeposit": terms["safetyDeposit"],
    }
    cancellation = (first["immutables"]["timelocks"] >> 224) + TIME_LOCKS.source_cancellation
    create = FACTORY.encode("createDestination", (immutables, cancellation))
    receipt = await destination.send_final(taker, 1, destination.node.factory, create, terms["safetyDeposit"])
    second = _created("DestinationEscrowCreated", receipt)

    withdraw = DESTINATION.encode("withdraw", (secret, second["immutables"]))
    await destination.send_final(taker, 2, second["escrow"], withdraw, 0)
    await source.send_final(taker, 1, first["escrow"], SOURCE.encode("withdraw", (secret, first["immutables"])), 0)


def _created(event: str, receipt: dict[str, Any]) -> dict[str, Any]:
    decoded = [FACTORY.decode_event(log) for log in receipt["logs"]]
    return next(dict(one.args) for one in decoded if one is not None and one.name == event)


# --- ours -------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Offer:
    """An order in the book and the secret that its maker keeps."""

    order: SwapOrder
    hash: bytes
    secret: bytes


async def _ours(stack: Stack, sides: tuple[Side, Side], nodes: tuple[OwnNode, OwnNode], baseline: float) -> Figure:
    async with AsyncClient(stack.url, AdminCredentials(stack.admin_credential)) as admin:
        made = await admin.create_app("Benchmark")
        app = admin.as_caller(AppCredentials(made.app.id, made.secret))
        makers, takers = await _make_wallets(app, sides)
        names = [one.address for one in makers], [one.address for one in takers]
        await _fund(sides, *names)
        await _approve(app, sides, makers, takers)
        parts = {name: role.process.pid for name, role in stack.roles.items()} | {
            "postgres": stack.devnet.postgres.pid or 0
        }
        used = cpu_of(parts)
        async with app.stream(Subscription(topic="swaps")) as stream:
            began = time.perf_counter()
            offers: dict[str, _Offer] = {}
            reached: dict[str, float] = {}
            settled = 0

            async def open_swap(maker: Wallet, taker: Wallet) -> None:
                made = await _offer(app, maker, sides, nodes)
                offers["0x" + made.hash.hex()] = made
                await app.fill_order("0x" + made.hash.hex(), mode="managed", wallet_id=taker.id)

            async with asyncio.timeout(SECONDS_AT_MOST), asyncio.TaskGroup() as group:
                for maker, taker in zip(makers, takers, strict=True):
                    group.create_task(open_swap(maker, taker))
                seen: set[tuple[str, str]] = set()
                async for message in stream:
                    if not isinstance(message, Event) or (message.id, message.data["state"]) in seen:
                        continue
                    state = str(message.data["state"])
                    seen.add((message.id, state))
                    reached[state] = round(time.perf_counter() - began, 2)
                    if state == "both_final":
                        group.create_task(_release(app, offers[message.data["order_hash"]], nodes))
                    elif state in FINAL_SWAP_STATES:
                        if state != "settled":
                            raise RuntimeError(f"a swap ended as {state}: {message.data['reason']}")
                        settled += 1
                        if settled == SWAPS:
                            break
            seconds = time.perf_counter() - began
        used = {name: round(spent - used[name], 2) for name, spent in cpu_of(parts).items()}
    await _check_paid(sides, *names)
    return Figure(
        name="swap",
        value=seconds,
        unit="s",
        baseline=baseline,
        ratio=baseline / seconds,
        wanted={"ratio": 0.3},
        more={
            "swaps": SWAPS,
            "last_swap_reached_s": reached,
            "block_seconds": stack.devnet.config.block_seconds,
            "finality_blocks": stack.devnet.config.finality_blocks,
            "cpu_s": used,
        },
    )


async def _make_wallets(app: AsyncClient, sides: tuple[Side, Side]) -> tuple[list[Wallet], list[Wallet]]:
    """Wallets of makers and takers under the policies of the demo; the takers' with a session for the coordinator."""
    source = sides[0]
    by_chain = {side.chain: (str(side.factory), str(side.token)) for side in sides}
    nobody = "0x000000000000000000000000000000000000bea7"
    of_maker = await app.create_policy(
        policies.wallet_of_maker(
            chain=source.chain, token=source.token, factory=source.factory, payee=nobody, most_wei=0
        )
    )
    of_taker = await app.create_policy(policies.wallet_of_resolver(sides=by_chain, friend=nobody))
    of_session = await app.create_policy(policies.session_of_bot(sides=by_chain))
    makers = [await app.create_wallet(policy_ids=[of_maker.id]) for _ in range(SWAPS)]
    takers = [await app.create_wallet(policy_ids=[of_taker.id]) for _ in range(SWAPS)]
    for taker in takers:
        await app.create_session_signer(
            taker.id,
            expires_at=SystemClock().now() + timedelta(hours=1),
            allowed_methods=["eth_sendTransaction"],
            policy_ids=[of_session.id],
            max_value_per_transaction=policies.DEPOSIT,
            grantee="module:coordinator",
        )
    return makers, takers


async def _approve(
    app: AsyncClient, sides: tuple[Side, Side], makers: Sequence[Wallet], takers: Sequence[Wallet]
) -> None:
    """Let the factories take what is sold."""
    sent = [
        await app.send_transaction(
            wallet.id, side.chain, to=side.token, data=TOKEN.encode("approve", (side.factory, 2**256 - 1))
        )
        for side, wallets in ((sides[0], makers), (sides[1], takers))
        for wallet in wallets
    ]
    for ended in await asyncio.gather(*(app.wait_transaction(one) for one in sent)):
        if not (ended.state == "final" and ended.succeeded):
            raise RuntimeError(f"an approval ended as {ended.state}")


async def _offer(app: AsyncClient, maker: Wallet, sides: tuple[Side, Side], nodes: tuple[OwnNode, OwnNode]) -> _Offer:
    """Sign an order through the API and put it into the book."""
    source, secret = sides[0], secrets.token_bytes(32)
    order = await external_maker.make_order(maker.address, _trade(sides), secret, *nodes)
    if order.hashlock_info != hashlock(secret):
        raise RuntimeError("the order has another hashlock")
    typed = order_typed_data(order, nodes[0].chain_id, source.factory)
    signature = await app.sign_typed_data(maker.id, typed)
    await app.post_order(order, signature, source_chain=source.chain, source_factory=source.factory)
    return _Offer(order, order_hash(order, nodes[0].chain_id, source.factory), secret)


async def _release(app: AsyncClient, made: _Offer, nodes: tuple[OwnNode, OwnNode]) -> None:
    """The maker's client: check both escrows through own nodes, then submit the secret."""
    _, locked = await external_maker.wait_for_locks(made.order, made.hash, *nodes)
    await external_maker.release_secret(app, made.hash, made.secret, nodes[1], locked)
