"""A resolver with a key of its own, outside Lockstep: sends its four legs itself, and undoes what cannot be finished.

Lockstep tells it of the order and hands it the released secret; what stands on the chains it reads from its own nodes.
"""

from __future__ import annotations

import argparse
import asyncio

from eth_account.signers.local import LocalAccount

from lockstep.app.demo.external_maker import add_node_arguments, log_in, read_account, read_nodes
from lockstep.app.demo.own_node import (
    DESTINATION,
    FACTORY,
    OPEN,
    POLL_SECONDS,
    SOURCE,
    OutsideFailed,
    OwnNode,
    SeenLock,
    destination_difference,
    source_difference,
    tell,
)
from lockstep.client import AsyncClient, BookOrder, ProblemError, destination_amount, order_hash

MARGIN_SECONDS = 10
"""What the taker needs between the destination's cancellation and the source's: the maker's last withdrawal must become
final, be seen, and be used on the source. For blocks of one second; take minutes on real chains."""


async def register(api: AsyncClient, account: LocalAccount, hash_text: str, source: OwnNode) -> BookOrder:
    """Read an order, check that its members are those behind its hash, and reserve its fill.

    Raises:
        OutsideFailed: the book shows other members than those that the maker signed.
        ProblemError: somebody else has it, or it cannot be filled.
    """
    order = await api.get_order(hash_text)
    if "0x" + order_hash(order.order, source.chain_id, source.factory).hex() != hash_text:
        raise OutsideFailed(f"the members of {hash_text} do not give its hash")
    swap = await api.fill_order(hash_text, mode="external", taker=account.address)
    tell("fill_registered", order_hash=hash_text, swap_id=swap.id)
    return order


async def lock_source(account: LocalAccount, order: BookOrder, source: OwnNode, destination: OwnNode) -> SeenLock:
    """Open the source escrow with the maker's tokens, and wait until it is final.

    Raises:
        OutsideFailed: the factory refuses, or what stands there is not what the maker signed.
    """
    members, deposit = order.order.members(), order.order.deposits.source
    await source.send(
        account, FACTORY, source.factory, "createSource", members, order.signature, order.permit, value=deposit
    )
    own_hash = bytes.fromhex(order.hash[2:])
    while True:
        for lock in await source.list_locks("source", own_hash):
            if lock.immutables["taker"].lower() != account.address.lower():
                raise OutsideFailed(f"another taker was first: {lock.immutables['taker']}")
            difference = source_difference(order.order, own_hash, lock, (destination.chain, destination.factory))
            if difference is not None:
                raise OutsideFailed(f"the source escrow differs: {difference}")
            if await source.is_final(lock):
                tell("source_locked", escrow=lock.escrow, amount=str(lock.immutables["amount"]))
                return lock
        await asyncio.sleep(POLL_SECONDS)


async def lock_destination(account: LocalAccount, order: BookOrder, locked: SeenLock, destination: OwnNode) -> SeenLock:
    """Lock what the source factory computed, for the maker."""
    terms = locked.terms or {}
    immutables = {
        **locked.immutables,
        "maker": "0x" + terms["receiver"].hex(),
        "token": "0x" + terms["token"].hex(),
        "amount": terms["amount"],
        "safetyDeposit": terms["safetyDeposit"],
    }
    await destination.send(
        account,
        FACTORY,
        destination.factory,
        "createDestination",
        immutables,
        locked.opens("source_cancellation") - MARGIN_SECONDS,  # the factory refuses to lock it later
        value=terms["safetyDeposit"],
    )
    found = await destination.list_locks("destination", bytes.fromhex(order.hash[2:]))
    own = [lock for lock in found if destination_difference(order.order, locked, lock) is None]
    if not own:
        raise OutsideFailed("the destination escrow does not stand as it was asked for")
    tell("destination_locked", escrow=own[-1].escrow, amount=str(terms["amount"]))
    return own[-1]


async def wait_for_secret(api: AsyncClient, order: BookOrder, destination: OwnNode, locked: SeenLock) -> bytes | None:
    """The secret, once it is released or shown; None when the destination can no longer be withdrawn.

    A maker that withdraws itself in the public window need not tell Lockstep.
    """
    while True:
        is_over = (await destination.head()).time >= locked.opens("destination_cancellation")
        shown = await destination.find_secret(locked)
        if shown is not None or is_over:
            return shown
        try:
            released = await api.get_secret(order.hash)
        except ProblemError as problem:
            if problem.code not in ("secret_not_released", "swap_not_found"):
                raise
            await asyncio.sleep(POLL_SECONDS)
        else:
            tell("secret_received")
            return released.secret


async def claim(
    account: LocalAccount,
    secret: bytes,
    source: OwnNode,
    on_source: SeenLock,
    destination: OwnNode,
    on_destination: SeenLock,
) -> None:
    """Pay the maker, then take the maker's tokens; each with its safety deposit back."""
    await destination.wait_until(on_destination.opens("destination_withdrawal"))
    if await destination.state_of(on_destination) == OPEN:
        await destination.send(
            account, DESTINATION, on_destination.escrow, "withdraw", secret, on_destination.immutables
        )
    tell("destination_withdrawn", escrow=on_destination.escrow)
    await source.wait_until(on_source.opens("source_withdrawal"))
    if await source.state_of(on_source) == OPEN:
        await source.send(account, SOURCE, on_source.escrow, "withdraw", secret, on_source.immutables)
    tell("source_withdrawn", escrow=on_source.escrow)


async def undo(
    account: LocalAccount, source: OwnNode, on_source: SeenLock, destination: OwnNode, on_destination: SeenLock
) -> None:
    """Take the own tokens back, then give the maker theirs."""
    await destination.wait_until(on_destination.opens("destination_cancellation"))
    if await destination.state_of(on_destination) == OPEN:
        await destination.send(account, DESTINATION, on_destination.escrow, "cancel", on_destination.immutables)
    tell("destination_cancelled", escrow=on_destination.escrow)
    await source.wait_until(on_source.opens("source_cancellation"))
    if await source.state_of(on_source) == OPEN:
        await source.send(account, SOURCE, on_source.escrow, "cancel", on_source.immutables)
    tell("source_cancelled", escrow=on_source.escrow)


async def resolve(api_url: str, account: LocalAccount, hash_text: str, source: OwnNode, destination: OwnNode) -> bool:
    """Take an order and carry it through; whether it was settled, else everything was undone."""
    async with AsyncClient(api_url) as anybody:
        api = await log_in(anybody, account, source.chain_id)
        tell("signed_in", address=account.address)
        order = await register(api, account, hash_text, source)
        most = destination_amount(order.order.price, (await source.head()).time)
        await destination.approve(account, "0x" + order.order.destination.token.hex(), most)
        on_source = await lock_source(account, order, source, destination)
        on_destination = await lock_destination(account, order, on_source, destination)
        secret = await wait_for_secret(api, order, destination, on_destination)
    if secret is None:
        await undo(account, source, on_source, destination, on_destination)
        return False
    await claim(account, secret, source, on_source, destination, on_destination)
    return True


async def _main(arguments: argparse.Namespace) -> None:
    source, destination = read_nodes(arguments)
    async with source, destination:
        is_settled = await resolve(arguments.api, read_account(arguments), arguments.order_hash, source, destination)
    tell("done", settled=is_settled)


def main() -> None:
    """Read the arguments and take the order."""
    parser = argparse.ArgumentParser(prog="external_resolver", description="Fill an order with an own key.")
    add_node_arguments(parser)
    parser.add_argument("--order-hash", required=True)
    asyncio.run(_main(parser.parse_args()))


if __name__ == "__main__":
    main()
