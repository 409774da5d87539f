"""Strangers on the chains: contracts that imitate our events, to hide an escrow or to pass a false secret off."""

import secrets
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest
from tests.support.swap_stage import Stage

from lockstep.app.devnet.anvil import Anvil
from lockstep.chains.evm import Address, BlockRef, Follower, Log
from lockstep.kit.clock import SystemClock
from lockstep.kit.database import Database
from lockstep.settlement import EscrowFollower
from lockstep.settlement.escrows import escrow_topics, find_created

pytestmark = pytest.mark.chain

STRANGER = Address("0x" + "66" * 20)


@pytest.fixture
async def stage(database: Database, anvil_pair: tuple[Anvil, Anvil]) -> AsyncIterator[Stage]:
    stage = await Stage.build(database, anvil_pair)
    yield stage
    await stage.chains.close()


async def read_destination_log(stage: Stage) -> tuple[BlockRef, Log]:
    """The event that announced the destination escrow, and its block."""
    client = stage.chains.get(stage.destination.chain)
    async with stage.database.system("test") as uow:
        wanted = await make_follower(stage).wanted(uow, stage.destination.chain)
    head = await client.head_header()
    logs = await client.logs.read(wanted, 0, head.ref.number, {head.ref.number: head})
    found = next(log for log in logs if log.address == stage.destination.factory)
    return await client.block(found.block_number), found


def make_follower(stage: Stage) -> EscrowFollower:
    return EscrowFollower(stage.chains, stage.book, stage.swaps, SystemClock())


async def test_follower__strangers_factory_announces_the_escrow_first__is_ignored(stage: Stage) -> None:
    order_hash = await stage.offer(secrets.token_bytes(32))
    swap = await stage.take_managed(order_hash)
    await stage.until(swap.id, "destination_locked")
    block, genuine = await read_destination_log(stage)
    forged = replace(genuine, address=STRANGER, log_index=10_000)
    async with stage.database.system("test") as uow:
        await uow.execute("delete from escrows where side = 'destination'")
        await make_follower(stage).execute(uow, block, [forged])
        assert await uow.fetch("select 1 from escrows where side = 'destination'") == []
        await make_follower(stage).execute(uow, block, [genuine])
        rows = await uow.fetch("select factory from escrows where side = 'destination'")
    assert [row["factory"].hex() for row in rows] == [stage.destination.factory[2:]]


async def read_index(stage: Stage) -> list[dict[str, Any]]:
    async with stage.database.system("test") as uow:
        escrows = await uow.fetch("select * from escrows order by chain, block_number, log_index")
        return escrows + await uow.fetch("select * from escrow_events order by chain, block_number, log_index")


async def test_follower__all_of_a_swap_in_one_window__finds_escrows_and_their_ends(stage: Stage) -> None:
    secret = secrets.token_bytes(32)
    order_hash = await stage.offer(secret)
    swap = await stage.take_managed(order_hash)
    await stage.until(swap.id, "both_final")
    await stage.submit_secret(order_hash, secret)
    await stage.until(swap.id, "settled")
    live = await read_index(stage)
    assert len(live) == 4
    async with stage.database.system("test") as uow:
        await uow.execute("delete from escrow_events")
        await uow.execute("delete from escrows")
    for client in stage.chains:
        replay = Follower("replay", client, stage.database, SystemClock(), make_follower(stage))
        while await replay.follow_once():
            pass
    assert await read_index(stage) == live


async def test_wanted__strangers_emit_our_events__are_not_read(stage: Stage) -> None:
    order_hash = await stage.offer(secrets.token_bytes(32))
    swap = await stage.take_managed(order_hash)
    await stage.until(swap.id, "destination_locked")
    _, genuine = await read_destination_log(stage)
    async with stage.database.system("test") as uow:
        filters = await make_follower(stage).wanted(uow, stage.destination.chain)
        known = {bytes(row["address"]).hex() for row in await uow.fetch("select address from escrows")}
    assert any(one.matches(genuine) for one in filters)
    assert not any(one.matches(replace(genuine, address=STRANGER)) for one in filters)
    ending = replace(genuine, topics=(escrow_topics()[0],))
    assert not any(one.matches(replace(ending, address=STRANGER)) for one in filters)
    escrow = find_created(genuine)
    assert escrow is not None
    assert escrow[2:] in known
    assert any(one.matches(replace(ending, address=escrow)) for one in filters)
