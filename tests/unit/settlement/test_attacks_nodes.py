"""Nodes that fail at the worst moment: what can still be done on the other chain has to be done in time."""

import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest
from tests.support.swap_stage import AMOUNT, LOCKS, PRICE, Stage

from lockstep.app.devnet.anvil import Anvil
from lockstep.chains.evm import NodeUnavailable
from lockstep.chains.evm.nodes import NodePool
from lockstep.kit.database import Database
from lockstep.kit.processes import find_process

pytestmark = pytest.mark.chain


@pytest.fixture
async def stage(database: Database, anvil_pair: tuple[Anvil, Anvil]) -> AsyncIterator[Stage]:
    stage = await Stage.build(database, anvil_pair)
    yield stage
    await stage.chains.close()


@asynccontextmanager
async def node_down(stage: Stage, chain: str) -> AsyncIterator[None]:
    """Nothing answers for a chain."""
    client = stage.chains.get(chain)
    dead = NodePool(replace(client.config, rpc_urls=["http://127.0.0.1:1"]))
    nodes, client._nodes = client._nodes, dead
    try:
        yield
    finally:
        client._nodes = nodes
        await dead.close()


async def step(stage: Stage, swap_id: str) -> None:
    """What a worker does with the swap, without the followers."""
    async with stage.database.system("test") as uow:
        row = await find_process(uow, "swap", swap_id)
    assert row is not None
    await stage.processes.run("swap", swap_id, row["version"])


async def count_legs(stage: Stage, leg: str) -> int:
    async with stage.database.system("test") as uow:
        return len(await uow.fetch("select 1 from swap_legs where leg = %s and transaction_id is not null", (leg,)))


async def test_swap__source_node_down_with_the_secret_out__maker_is_paid(stage: Stage) -> None:
    secret = secrets.token_bytes(32)
    order_hash = await stage.offer(secret)
    swap = await stage.take_managed(order_hash)
    await stage.until(swap.id, "both_final")
    await stage.submit_secret(order_hash, secret)
    async with node_down(stage, stage.source.chain):
        await step(stage, swap.id)
        assert await count_legs(stage, "destination_withdraw") == 1
        await step(stage, swap.id)
    assert await stage.balance(stage.destination, stage.maker) >= PRICE
    await stage.until(swap.id, "settled")


async def test_swap__destination_node_down_after_the_payment__taker_is_paid(stage: Stage) -> None:
    secret = secrets.token_bytes(32)
    order_hash = await stage.offer(secret, timeLocks={**LOCKS, "sourceWithdrawal": 60})
    swap = await stage.take_managed(order_hash)
    await stage.until(swap.id, "both_final")
    await stage.submit_secret(order_hash, secret)
    await stage.until(swap.id, "destination_withdrawn")
    await stage.pass_time(50)
    async with node_down(stage, stage.destination.chain):
        await step(stage, swap.id)
        assert await count_legs(stage, "source_withdraw") == 1
    await stage.until(swap.id, "settled")
    assert await stage.balance(stage.source, stage.taker) == AMOUNT


async def test_swap__source_node_down_before_the_release__nothing_is_assumed(stage: Stage) -> None:
    secret = secrets.token_bytes(32)
    order_hash = await stage.offer(secret)
    swap = await stage.take_managed(order_hash)
    await stage.until(swap.id, "both_final")
    async with node_down(stage, stage.source.chain):
        with pytest.raises(NodeUnavailable):
            await stage.submit_secret(order_hash, secret)
    assert (await stage.swaps.get_swap(stage.app, swap.id)).secret_released_at is None
