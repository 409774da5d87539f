"""A maker with a key of its own, outside Lockstep: signs an order, checks both escrows itself, then reveals the secret.

It trusts nobody's word: its order hash is computed here, and both escrows are read from its own nodes and compared
field by field with what it signed before the secret leaves this process.
"""

from __future__ import annotations

import argparse
import asyncio
import secrets
from dataclasses import dataclass
from pathlib import Path

from eth_account import Account
from eth_account.messages import encode_defunct
from eth_account.signers.local import LocalAccount

from lockstep.app.demo.own_node import (
    OPEN,
    POLL_SECONDS,
    WITHDRAWN,
    OutsideFailed,
    OwnNode,
    SeenLock,
    destination_difference,
    poll,
    source_difference,
    tell,
)
from lockstep.client import (
    AsyncClient,
    Deposits,
    Destination,
    PriceCurve,
    ProblemError,
    SwapOrder,
    TimeLocks,
    hashlock,
    order_hash,
    order_typed_data,
)
from lockstep.kit.clock import SystemClock

DEMO_TIME_LOCKS = TimeLocks(
    source_withdrawal=3,
    source_public_withdrawal=70,
    source_cancellation=110,
    source_public_cancellation=120,
    destination_withdrawal=3,
    destination_public_withdrawal=40,
    destination_cancellation=60,
)
"""For chains with blocks of a second; real ones need hours."""
SAFE_SECONDS = 10
"""The secret stays here when less than this is left until the destination's cancellation."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trade:
    """What the maker sells and wants."""

    source_token: str
    source_amount: int
    destination_token: str
    least_amount: int
    """Of the destination token, smallest unit: the price at the end of the auction."""
    start_bump: int = 500_000
    """Premium at the start of the auction, in 1/10,000,000."""
    auction_seconds: int = 60
    deposit_wei: int = 10**15
    time_locks: TimeLocks = DEMO_TIME_LOCKS
    valid_seconds: int = 600


async def log_in(api: AsyncClient, account: LocalAccount, chain_id: int) -> AsyncClient:
    """A client that acts as this key's address."""

    def sign(message: bytes) -> bytes:
        return bytes(account.sign_message(encode_defunct(message)).signature)

    return await api.login_wallet(account.address, chain_id, sign)


async def make_order(maker: str, trade: Trade, secret: bytes, source: OwnNode, destination: OwnNode) -> SwapOrder:
    """The order, in the time of its source chain."""
    now = (await source.head()).time
    return SwapOrder(
        maker=maker,
        source_token=trade.source_token,
        source_amount=trade.source_amount,
        destination=Destination(
            chain=destination.chain,
            factory=_bytes(destination.factory),
            token=_bytes(trade.destination_token),
            receiver=_bytes(maker),
        ),
        price=PriceCurve(
            start_time=now,
            duration=trade.auction_seconds,
            end_amount=trade.least_amount,
            initial_rate_bump=trade.start_bump,
        ),
        deposits=Deposits(source=trade.deposit_wei, destination=trade.deposit_wei),
        time_locks=trade.time_locks,
        hashlock_info=hashlock(secret),
        nonce=secrets.randbits(256),
        expiry=now + trade.valid_seconds,
    )


async def post_order(maker: AsyncClient, account: LocalAccount, order: SwapOrder, source: OwnNode) -> bytes:
    """Approve, sign and post an order; its hash, which is computed here.

    Raises:
        OutsideFailed: the book took something else than what was signed.
    """
    await source.approve(account, order.source_token, order.source_amount)
    own_hash = order_hash(order, source.chain_id, source.factory)
    signed = account.sign_typed_data(full_message=order_typed_data(order, source.chain_id, source.factory))
    posted = await maker.post_order(
        order, bytes(signed.signature), source_chain=source.chain, source_factory=source.factory
    )
    if posted.hash != "0x" + own_hash.hex():
        raise OutsideFailed(f"expected the order 0x{own_hash.hex()} in the book, was {posted.hash}")
    tell("order_posted", order_hash=posted.hash, state=posted.state, validity=posted.validity)
    return own_hash


async def wait_for_locks(
    order: SwapOrder, own_hash: bytes, source: OwnNode, destination: OwnNode
) -> tuple[SeenLock, SeenLock]:
    """Both escrows of an order, once both are open, final and exactly what was signed, by this party's own nodes.

    Escrows of strangers, and escrows that differ, are passed over.
    """
    told: set[str] = set()

    def passed_over(lock: SeenLock, difference: str) -> None:
        if lock.block_hash + lock.escrow not in told:
            told.add(lock.block_hash + lock.escrow)
            tell("escrow_passed_over", side=lock.side, escrow=lock.escrow, difference=difference)

    async def find_source() -> SeenLock | None:
        for lock in await source.list_locks("source", own_hash):
            difference = source_difference(order, own_hash, lock, (destination.chain, destination.factory))
            if difference is None:
                return lock
            passed_over(lock, difference)
        return None

    async def find_destination(first: SeenLock) -> SeenLock | None:
        for lock in await destination.list_locks("destination", own_hash):
            difference = destination_difference(order, first, lock)
            if difference is None:
                return lock
            passed_over(lock, difference)
        return None

    while True:
        first = await find_source()
        second = await find_destination(first) if first is not None else None
        if (
            first is not None
            and second is not None
            and await source.is_final(first)
            and await destination.is_final(second)
            and await source.state_of(first) == OPEN
            and await destination.state_of(second) == OPEN
        ):
            tell("both_locked", source=first.escrow, destination=second.escrow, amount=str(second.immutables["amount"]))
            return first, second
        await asyncio.sleep(POLL_SECONDS)


async def release_secret(
    maker: AsyncClient, own_hash: bytes, secret: bytes, destination: OwnNode, locked: SeenLock
) -> None:
    """Submit the secret, again while Lockstep finds it too early for its own idea of final.

    Raises:
        OutsideFailed: too little time is left until the destination's cancellation; the secret was not shown.
        ProblemError: refused for another reason.
    """
    told = ""
    while True:
        # An own node that has stopped shows an old block as the newest one; then the host's clock knows better.
        now = max((await destination.head()).time, int(SystemClock().now().timestamp()))
        left = locked.opens("destination_cancellation") - now
        if left < SAFE_SECONDS:
            raise OutsideFailed(f"only {left} seconds are left until the cancellation; the secret stays here")
        try:
            swap = await maker.submit_secret("0x" + own_hash.hex(), secret)
        except ProblemError as problem:
            if problem.code not in ("secret_too_early", "swap_not_found"):
                raise
            if problem.detail != told:
                told = problem.detail
                tell("secret_too_early", detail=told)
            await asyncio.sleep(POLL_SECONDS)
        else:
            tell("secret_submitted", swap_id=swap.id, state=swap.state)
            return


async def wait_for_payment(order: SwapOrder, destination: OwnNode, locked: SeenLock) -> None:
    """Wait until the destination escrow has paid the receiver.

    Raises:
        OutsideFailed: it was cancelled instead.
    """
    state = await poll(lambda: destination.state_of(locked), lambda seen: seen != OPEN)
    if state != WITHDRAWN:
        raise OutsideFailed(f"the escrow {locked.escrow} was cancelled")
    token, receiver = "0x" + order.destination.token.hex(), "0x" + order.destination.receiver.hex()
    tell("paid", escrow=locked.escrow, balance=str(await destination.tokens_of(token, receiver)))


async def trade(
    api_url: str, account: LocalAccount, wanted: Trade, source: OwnNode, destination: OwnNode, secret: bytes
) -> bytes:
    """The whole trade, from the order to the payment; the order's hash."""
    async with AsyncClient(api_url) as api:
        maker = await log_in(api, account, source.chain_id)
        tell("signed_in", address=account.address)
        order = await make_order(account.address, wanted, secret, source, destination)
        own_hash = await post_order(maker, account, order, source)
        _, locked = await wait_for_locks(order, own_hash, source, destination)
        await release_secret(maker, own_hash, secret, destination, locked)
        await wait_for_payment(order, destination, locked)
    return own_hash


def add_node_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments that name the API, the key and both chains."""
    parser.add_argument("--api", required=True, help="address of the deployment")
    parser.add_argument("--key-file", required=True, type=Path, help="private key, 64 hex digits")
    for side in ("source", "destination"):
        parser.add_argument(f"--{side}-chain", required=True, help="CAIP-2, for example eip155:31337")
        parser.add_argument(f"--{side}-rpc", required=True, help="address of the own node")
        parser.add_argument(f"--{side}-factory", required=True, help="the escrow factory that is trusted there")
    parser.add_argument("--finality-blocks", type=int, default=2)


def read_account(arguments: argparse.Namespace) -> LocalAccount:
    """The key of this party."""
    account: LocalAccount = Account.from_key(arguments.key_file.read_text().strip())
    return account


def read_nodes(arguments: argparse.Namespace) -> tuple[OwnNode, OwnNode]:
    """Both chains: source and destination."""
    source, destination = (
        OwnNode(
            getattr(arguments, f"{side}_chain"),
            getattr(arguments, f"{side}_rpc"),
            getattr(arguments, f"{side}_factory"),
            finality_blocks=arguments.finality_blocks,
        )
        for side in ("source", "destination")
    )
    return source, destination


async def _main(arguments: argparse.Namespace) -> None:
    wanted = Trade(
        source_token=arguments.source_token,
        source_amount=arguments.source_amount,
        destination_token=arguments.destination_token,
        least_amount=arguments.least_amount,
        start_bump=arguments.start_bump,
        auction_seconds=arguments.auction_seconds,
        deposit_wei=arguments.deposit_wei,
    )
    source, destination = read_nodes(arguments)
    async with source, destination:
        await trade(arguments.api, read_account(arguments), wanted, source, destination, secrets.token_bytes(32))


def main() -> None:
    """Read the arguments and trade."""
    parser = argparse.ArgumentParser(prog="external_maker", description="Sell tokens across chains with an own key.")
    add_node_arguments(parser)
    parser.add_argument("--source-token", required=True)
    parser.add_argument("--source-amount", required=True, type=int, help="smallest unit")
    parser.add_argument("--destination-token", required=True)
    parser.add_argument("--least-amount", required=True, type=int, help="smallest unit")
    parser.add_argument("--start-bump", type=int, default=500_000, help="premium in 1/10,000,000")
    parser.add_argument("--auction-seconds", type=int, default=60)
    parser.add_argument("--deposit-wei", type=int, default=10**15)
    asyncio.run(_main(parser.parse_args()))


def _bytes(address: str) -> bytes:
    return bytes.fromhex(address.removeprefix("0x"))


if __name__ == "__main__":
    main()
