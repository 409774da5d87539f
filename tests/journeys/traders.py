"""Makers and takers for stories about swaps, on a deployment: the demo's actors, with trades as a story needs them.

Everything here runs in the deployment's loop, through the public client and the parties' own nodes.
"""

from __future__ import annotations

import asyncio
import base64
import io
import json
import secrets
from collections.abc import Awaitable, Coroutine, Iterable, Mapping
from concurrent.futures import Future
from contextlib import redirect_stdout
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from eth_account.signers.local import LocalAccount
from tests.journeys.support import Caller, Deployment

from lockstep.app.demo import cast as actors
from lockstep.app.demo import external_maker, external_resolver, swaps
from lockstep.app.demo.cast import Cast
from lockstep.app.demo.chain import warp
from lockstep.app.demo.external_maker import Trade
from lockstep.app.demo.own_node import SOURCE, OwnNode, SeenLock
from lockstep.app.demo.report import Report
from lockstep.app.demo.swaps import Offer, Strangers
from lockstep.client import AsyncClient, BookOrder, Swap, SwapOrder, TimeLocks, order_hash, order_typed_data

T = TypeVar("T")

LONG_LOCKS = TimeLocks(
    source_withdrawal=3,
    source_public_withdrawal=3_000,
    source_cancellation=4_000,
    source_public_cancellation=9_000,
    destination_withdrawal=3,
    destination_public_withdrawal=1_500,
    destination_cancellation=2_000,
)
"""Time enough for everything that a story does between two warps."""
_OUTCOMES = ("EscrowWithdrawal", "EscrowCancelled")


@dataclass
class Market:
    """Two custody actors (a maker, a resolver) and two strangers with keys of their own, all of them funded."""

    deployment: Deployment
    cast: Cast
    strangers: Strangers
    nodes: tuple[OwnNode, OwnNode]

    @classmethod
    def open(cls, deployment: Deployment) -> Market:
        """Assemble the actors; both factories are approved."""
        return deployment.run(cls._open(deployment), 120)

    @classmethod
    async def _open(cls, deployment: Deployment) -> Market:
        stack, report = deployment.stack, Report(out=io.StringIO())
        cast = await actors.assemble(stack, report)
        await actors.approve_factories(cast, report)
        strangers = await swaps.make_strangers(stack, cast)
        first, second = (
            OwnNode(side.chain, side.node.url, side.factory, finality_blocks=stack.devnet.config.finality_blocks)
            for side in cast.sides
        )
        await asyncio.gather(first.__aenter__(), second.__aenter__())
        return cls(deployment, cast, strangers, (first, second))

    def close(self) -> None:
        """Close the connections to the nodes."""
        for node in self.nodes:
            self.deployment.run(node.__aexit__(None, None, None))

    def run(self, work: Awaitable[T], seconds: float = 180.0) -> T:
        """Do something in the deployment's loop; what the outside parties tell is swallowed."""

        async def do() -> T:
            return await work

        with redirect_stdout(io.StringIO()):
            return self.deployment.run(do(), seconds)

    def begin(self, work: Coroutine[Any, Any, T]) -> Future[T]:
        """Begin something in the deployment's loop that a test ends with `result`."""
        return asyncio.run_coroutine_threadsafe(work, self.deployment.loop)

    # --- callers --------------------------------------------------------------------------------------------------------

    @property
    def maker(self) -> AsyncClient:
        return self.cast.maker.client

    @property
    def resolver(self) -> AsyncClient:
        return self.cast.resolver.client

    def caller(self, client: AsyncClient) -> Caller:
        """Somebody as a blocking caller, to send what no client would."""
        credentials = client.credentials
        return Caller(self.deployment.url, dict(credentials.headers()) if credentials else {})

    async def log_in(self, account: LocalAccount) -> AsyncClient:
        """A client that acts as a key's address."""
        return await external_maker.log_in(AsyncClient(self.deployment.url), account, self.nodes[0].chain_id)

    # --- orders ---------------------------------------------------------------------------------------------------------

    def trade(self, **changes: Any) -> Trade:
        """One source token for two of the destination, at a price that stands still."""
        source, destination = self.cast.sides
        standing = Trade(
            source_token=source.token,
            source_amount=source.amount(1),
            destination_token=destination.token,
            least_amount=destination.amount(2),
            start_bump=0,
            time_locks=LONG_LOCKS,
        )
        return replace(standing, **changes)

    async def order(self, maker: str | None = None, **changes: Any) -> tuple[SwapOrder, bytes]:
        """An order of the custody maker (or of another address), and its secret."""
        secret = secrets.token_bytes(32)
        address = maker or self.cast.maker.wallet.address
        return await external_maker.make_order(address, self.trade(**changes), secret, *self.nodes), secret

    def hash(self, order: SwapOrder) -> bytes:
        return order_hash(order, self.nodes[0].chain_id, self.nodes[0].factory)

    async def sign(self, order: SwapOrder) -> bytes:
        """The custody maker's signature."""
        document = order_typed_data(order, self.nodes[0].chain_id, self.nodes[0].factory)
        return await self.maker.sign_typed_data(self.cast.maker.wallet.id, document)

    def sign_with(self, account: LocalAccount, order: SwapOrder) -> bytes:
        """The signature of an own key."""
        document = order_typed_data(order, self.nodes[0].chain_id, self.nodes[0].factory)
        return bytes(account.sign_typed_data(full_message=document).signature)

    def body(self, order: SwapOrder, signature: bytes, **changes: Any) -> dict[str, Any]:
        """What `POST /v1/orders` takes."""
        return {
            "source_chain": self.nodes[0].chain,
            "source_factory": self.nodes[0].factory,
            "order": order.wire(),
            "signature": "0x" + signature.hex(),
            **changes,
        }

    async def post(self, client: AsyncClient, order: SwapOrder, signature: bytes, permit: bytes = b"") -> BookOrder:
        return await client.post_order(
            order,
            signature,
            source_chain=self.nodes[0].chain,
            source_factory=self.nodes[0].factory,
            permit=permit,
        )

    async def offer(self, **changes: Any) -> Offer:
        """An order of the custody maker in the book."""
        order, secret = await self.order(**changes)
        await self.post(self.maker, order, await self.sign(order))
        return Offer(order, self.hash(order), secret)

    async def take(self, made: Offer) -> Swap:
        """The custody resolver takes it, managed."""
        return await self.resolver.fill_order(
            made.name,
            mode="managed",
            wallet_id=self.cast.resolver.wallet.id,
            session_signer_id=self.cast.coordinator_session,
        )

    async def settle(self, made: Offer, swap_id: str, seconds: float = 240.0) -> Swap:
        """The maker's client checks both escrows, reveals, and waits for the end."""
        _, locked = await external_maker.wait_for_locks(made.order, made.hash, *self.nodes)
        await external_maker.release_secret(self.maker, made.hash, made.secret, self.nodes[1], locked)
        return await self.maker.wait_swap(swap_id, seconds)

    async def lock_source(self, made: Offer, api: AsyncClient) -> SeenLock:
        """The stranger takes an order and opens the source escrow with its own key."""
        seen = await external_resolver.register(api, self.strangers.resolver, made.name, self.nodes[0])
        return await external_resolver.lock_source(self.strangers.resolver, seen, *self.nodes)

    async def wait_state(self, client: AsyncClient, swap_id: str, *states: str, seconds: float = 120.0) -> Swap:
        """The swap in one of the states; it must not end elsewhere."""
        swap = await client.wait_for(
            lambda: client.get_swap(swap_id),
            lambda seen: seen.state in states or seen.is_over,
            what=f"swap {swap_id} to reach {' or '.join(states)}",
            timeout_seconds=seconds,
            every_seconds=0.1,
        )
        assert swap.state in states, (swap.state, swap.reason)
        return swap

    async def wait_order(self, made: Offer, **wanted: object) -> BookOrder:
        """The order once its members are these."""
        return await self.maker.wait_for(
            lambda: self.maker.get_order(made.name),
            lambda seen: all(getattr(seen, name) == value for name, value in wanted.items()),
            what=f"order {made.name} to have {wanted}",
        )

    # --- what stands on the chains ----------------------------------------------------------------------------------------

    async def warp(self, seconds: int) -> None:
        await warp(self.cast.sides, seconds)

    async def effects(self, order_hash: bytes) -> dict[str, int]:
        """How often each effect of an order stands on the chains, and what its escrows still hold."""
        counted: dict[str, int] = {}
        for name, node, side in zip(("source", "destination"), self.nodes, self.cast.sides, strict=True):
            locks = await node.list_locks("source" if name == "source" else "destination", order_hash)
            counted[f"{name} escrows"] = len(locks)
            for event in _OUTCOMES:
                topic = "0x" + SOURCE.topic(event).hex()
                wanted = {"topics": [topic], "fromBlock": "0x0", "toBlock": "latest"}
                logs = [await node.rpc("eth_getLogs", {**wanted, "address": lock.escrow}) for lock in locks]
                counted[f"{name} {event}"] = sum(len(each) for each in logs)
            counted[f"{name} tokens left"] = sum([await side.tokens_of(lock.escrow) for lock in locks])
            counted[f"{name} coins left"] = sum([await side.coins_of(lock.escrow) for lock in locks])
        return counted

    async def tokens(self) -> dict[str, tuple[int, int]]:
        """Tokens of everybody on both chains."""
        accounts = {
            "maker": self.cast.maker.wallet.address,
            "resolver": self.cast.resolver.wallet.address,
            "foreign maker": self.strangers.maker.address,
            "foreign resolver": self.strangers.resolver.address,
        }
        return {name: await swaps.holdings(self.cast.sides, address) for name, address in accounts.items()}

    def coordinator(self) -> Mapping[str, str]:
        """The wallet that performs public duties: `app_id`, `wallet_id`, `address`."""
        known: dict[str, str] = json.loads((self.deployment.folder / "coordinator.json").read_text())
        return known


def forms(secret: bytes) -> tuple[bytes, ...]:
    """How 32 bytes may be written down: raw, hex (to be looked for in lower case), base64, a number."""
    texts: Iterable[str] = (
        secret.hex(),
        base64.b64encode(secret).decode().rstrip("="),
        base64.urlsafe_b64encode(secret).decode().rstrip("="),
        str(int.from_bytes(secret, "big")),
    )
    return secret, *(text.encode() for text in texts)


def shows(secret: bytes, *places: str | bytes) -> bool:
    """Whether a secret stands in any of the places, in any form."""
    for place in places:
        raw = place if isinstance(place, bytes) else place.encode("utf-8", "surrogateescape")
        if any(form in raw for form in forms(secret)) or secret.hex().encode() in raw.lower():
            return True
    return False
