"""A resolver that watches the book and takes orders that pay, in a process of its own. It uses the public client only.

It acts through a session signer of the resolver's wallet, so that it can do no more than fill orders; the legs of its
swaps are sent by Lockstep (mode managed), through the session signer that the wallet's owner granted to the coordinator.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import signal
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, Final

from lockstep.client import (
    AppCredentials,
    AsyncClient,
    ClientError,
    Credentials,
    Event,
    Gap,
    ProblemError,
    Retries,
    SessionCredentials,
    Subscription,
)

ENDS: Final = frozenset(
    {"fill_taken", "order_not_found", "order_not_open", "order_expired", "taker_not_allowed", "fill_invalid"}
)
"""Refusals after which an order is not tried again; after others the next price is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BotConfig:
    """What the bot takes, and at what price."""

    wallet_id: str
    session_signer_id: str | None = None
    """Granted to module:coordinator; None lets Lockstep find it."""
    worst_price: Fraction
    """Most units of the destination token that are paid per unit of the source token; smallest units of both."""
    filter: Mapping[str, str]
    """Members of orders to take: `source_chain`, `source_token`, `destination_chain`, `destination_token`, …"""


def is_worth_it(source_amount: int, destination_amount: int, worst_price: Fraction) -> bool:
    """Whether what must be paid is at or below the worst price; exact."""
    return destination_amount * worst_price.denominator <= source_amount * worst_price.numerator


def can_be_taken(order: Mapping[str, Any]) -> bool:
    """Whether an order of the book can be filled now."""
    is_free = all(fill["settlement_state"] == "cancelled" for fill in order["fills"])
    return order["state"] == "open" and order["validity"] == "ok" and is_free and order["cancel_requested_at"] is None


class ResolverBot:
    """Knows the open orders and their prices, and takes those that pay."""

    def __init__(self, client: AsyncClient, config: BotConfig) -> None:
        self._client, self._config = client, config
        self._open: dict[str, int] = {}
        """Source amount by order hash."""
        self._given_up: set[str] = set()
        """Orders that must not be tried again."""

    async def run(self) -> None:
        """Follow the book for ever.

        Raises:
            ClientError: the credentials have ended, or the deployment refuses what the bot lives on.
        """
        topic = Subscription(
            topic="orders", filter=dict(self._config.filter), types=("order_created", "order_updated", "price_update")
        )
        async with self._client.stream(topic) as stream:
            tell("watching", filter=dict(self._config.filter), worst_price=str(self._config.worst_price))
            async for message in stream:
                if isinstance(message, Gap):
                    self._open.clear()
                elif isinstance(message, Event) and message.type == "price_update":
                    await self._on_price(message.id, int(message.data["destination_amount"]))
                elif isinstance(message, Event):
                    self._on_order(message.data)
                else:
                    for order in message.items:
                        self._on_order(order)

    def _on_order(self, order: Mapping[str, Any]) -> None:
        name = order["hash"]
        if can_be_taken(order) and name not in self._given_up:
            if name not in self._open:
                tell("order_seen", order_hash=name, source_amount=order["remaining"])
            self._open[name] = int(order["remaining"])
        else:
            self._open.pop(name, None)

    async def _on_price(self, name: str, destination_amount: int) -> None:
        source_amount = self._open.get(name)
        if source_amount is None or not is_worth_it(source_amount, destination_amount, self._config.worst_price):
            return
        try:
            swap = await self._client.fill_order(
                name,
                mode="managed",
                wallet_id=self._config.wallet_id,
                session_signer_id=self._config.session_signer_id,
                idempotency_key=f"fill-{name}",
            )
        except ClientError as error:
            code = error.code if isinstance(error, ProblemError) else "unreachable"
            if code in ENDS:
                self._given_up.add(name)
                self._open.pop(name, None)
            tell("fill_refused", order_hash=name, code=code, detail=str(error))
            return
        self._open.pop(name, None)
        tell("order_taken", order_hash=name, swap_id=swap.id, destination_amount=str(swap.destination.amount))


def tell(event: str, **facts: object) -> None:
    """One JSON line on standard output."""
    sys.stdout.write(json.dumps({"event": event, **facts}) + "\n")
    sys.stdout.flush()


async def run_bot(url: str, credentials: Credentials, config: BotConfig, stop: asyncio.Event) -> None:
    """Follow the book until told to stop."""
    retries = Retries(attempts=3, total_seconds=5.0)
    async with AsyncClient(url, credentials, retries=retries) as client:
        running = asyncio.create_task(ResolverBot(client, config).run())
        stopping = asyncio.create_task(stop.wait())
        try:
            await asyncio.wait({running, stopping}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            stopping.cancel()
            running.cancel()
            ended = (await asyncio.gather(running, stopping, return_exceptions=True))[0]
    if isinstance(ended, Exception):
        raise ended
    tell("stopped")


async def _main(arguments: argparse.Namespace) -> int:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    members = ("source_chain", "source_token", "destination_chain", "destination_token")
    wanted = {name: getattr(arguments, name) for name in members}
    config = BotConfig(
        wallet_id=arguments.wallet_id,
        session_signer_id=arguments.session_signer_id,
        worst_price=arguments.worst_price,
        filter={name: value for name, value in wanted.items() if value is not None},
    )
    try:
        await run_bot(arguments.api, _credentials(arguments), config, stop)
    except ClientError as error:
        tell("failed", detail=str(error))
        return 1
    return 0


def _credentials(arguments: argparse.Namespace) -> Credentials:
    """The session's token, or app id and secret; from files or the environment, never from the command line."""
    token, secret = _secret(arguments.token_file, "TOKEN"), _secret(arguments.app_secret_file, "APP_SECRET")
    if token is not None:
        return SessionCredentials(token)
    if arguments.app_id is not None and secret is not None:
        return AppCredentials(arguments.app_id, secret)
    raise SystemExit("expected RESOLVER_TOKEN or --token-file, or --app-id with its secret")


def _secret(place: Path | None, name: str) -> str | None:
    return place.read_text().strip() if place is not None else os.environ.get(f"RESOLVER_{name}")


def main() -> None:
    """Read arguments and environment (``RESOLVER_*``), and run until SIGTERM."""

    def environment(name: str) -> dict[str, Any]:
        value = os.environ.get(f"RESOLVER_{name}")
        return {"default": value, "required": False} if value else {"required": True}

    parser = argparse.ArgumentParser(prog="resolver_bot", description="Take orders that pay.")
    parser.add_argument("--api", **environment("API"), help="address of the deployment")
    parser.add_argument("--wallet-id", **environment("WALLET_ID"), help="the wallet that pays and is paid")
    parser.add_argument("--session-signer-id", default=os.environ.get("RESOLVER_SESSION_SIGNER_ID"))
    parser.add_argument(
        "--worst-price",
        type=Fraction,
        **environment("WORST_PRICE"),
        help="a fraction of smallest units, for example 3/1000000000000",
    )
    parser.add_argument("--token-file", type=Path, help="token of the session signer; else RESOLVER_TOKEN")
    parser.add_argument("--app-id", default=os.environ.get("RESOLVER_APP_ID"))
    parser.add_argument("--app-secret-file", type=Path, help="else RESOLVER_APP_SECRET")
    for name in ("source-chain", "source-token", "destination-chain", "destination-token"):
        parser.add_argument(f"--{name}", default=os.environ.get(f"RESOLVER_{name.upper().replace('-', '_')}"))
    raise SystemExit(asyncio.run(_main(parser.parse_args())))


if __name__ == "__main__":
    main()
