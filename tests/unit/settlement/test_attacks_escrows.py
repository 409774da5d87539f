"""Strangers on the chains: contracts that imitate our events, to hide an escrow or to pass a false secret off."""

import secrets
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest
from tests.support.swap_stage import Stage

from lockstep.app.devnet.anvil import Anvil
from lockstep.chains.evm import Address, BlockRef, Log
from lockstep.kit.clock import SystemClock
from lockstep.kit.database import Database
from lockstep.settlement import EscrowFollower

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
