"""The follower on a real node and a real database: every log once, unwound with its branch, one checkpoint."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence

import pytest
from tests.support.evm import address, config, deploy, send

from lockstep.app.devnet.anvil import Anvil
from lockstep.chains.evm import Address, BlockRef, Contract, EvmClient, Follower, Log, LogFilter
from lockstep.kit.clock import SystemClock
from lockstep.kit.database import Database, UnitOfWork

TOKEN = Contract.load("DemoToken")
pytestmark = pytest.mark.chain


class Amounts:
    """Collects the amounts of transfers, by block."""

    def __init__(self, token: Address) -> None:
        self.token = token
        self.seen: list[tuple[int, int]] = []
        self.heads: list[int] = []
        self.unwound: list[int] = []
        self.fails = 0

    async def wanted(self, uow: UnitOfWork, chain: str) -> Sequence[LogFilter]:
        return [LogFilter(addresses=[self.token], topics=[TOKEN.topic("Transfer")])]

    def also_wanted(self, logs: Sequence[Log]) -> Sequence[LogFilter]:
        return []

    async def execute(self, uow: UnitOfWork, block: BlockRef, logs: Sequence[Log]) -> None:
        if self.fails:
            self.fails -= 1
            raise RuntimeError("the handler fails once")
        for log in logs:
            event = TOKEN.decode_event(log)
            assert event is not None
            self.seen.append((block.number, event.args["value"]))

    async def unwind(self, uow: UnitOfWork, to_block: BlockRef) -> None:
        self.unwound.append(to_block.number)
        self.seen = [entry for entry in self.seen if entry[0] <= to_block.number]

    async def on_head(self, uow: UnitOfWork, head: BlockRef) -> None:
        self.heads.append(head.number)

    @property
    def amounts(self) -> list[int]:
        return [amount for _, amount in self.seen]


@pytest.fixture
async def client(anvil: Anvil) -> AsyncIterator[EvmClient]:
    client = EvmClient(config(anvil, log_range=3))
    yield client
    await client.close()


async def _catch_up(follower: Follower) -> None:
    while await follower.follow_once():
        pass


async def _mint(client: EvmClient, token: Address, amount: int) -> None:
    await send(client, token, TOKEN.encode("mint", [address(3), amount]))


async def test_follower__new_blocks__each_log_once_in_order(database: Database, client: EvmClient) -> None:
    handler = Amounts(await deploy(client, "DemoToken", ["Alpha", "ALP", 6]))
    follower = Follower("amounts", client, database, SystemClock(), handler)
    for amount in range(1, 8):
        await _mint(client, handler.token, amount)
    await _catch_up(follower)
    assert handler.amounts == [1, 2, 3, 4, 5, 6, 7]
    assert handler.heads == [8]  # ranges below the head are no heads
    assert await follower.checkpoint() == await client.head()
    assert not await follower.follow_once()
    again = Follower("amounts", client, database, SystemClock(), handler)
    await _mint(client, handler.token, 8)
    await _catch_up(again)
    assert handler.amounts[-1] == 8
    assert len(handler.amounts) == 8


async def test_follower__reorganisation__unwinds_to_the_common_ancestor(database: Database, client: EvmClient) -> None:
    handler = Amounts(await deploy(client, "DemoToken", ["Alpha", "ALP", 6]))
    follower = Follower("amounts", client, database, SystemClock(), handler)
    for amount in (1, 2, 3, 4):
        await _mint(client, handler.token, amount)
    await _catch_up(follower)
    await client.call("anvil_reorg", [2, []])
    await _catch_up(follower)
    assert handler.amounts == [1, 2]
    assert handler.unwound == [3]
    await _mint(client, handler.token, 9)
    await _catch_up(follower)
    assert handler.amounts == [1, 2, 9]
    assert await follower.checkpoint() == await client.head()


async def test_follower__branch_becomes_shorter__followed_again(database: Database, client: EvmClient) -> None:
    handler = Amounts(await deploy(client, "DemoToken", ["Alpha", "ALP", 6]))
    follower = Follower("amounts", client, database, SystemClock(), handler)
    for amount in (1, 2, 3):
        await _mint(client, handler.token, amount)
    await _catch_up(follower)
    await client.call("anvil_rollback", [2])
    await _catch_up(follower)
    for amount in (7, 8, 9):
        await _mint(client, handler.token, amount)
    await _catch_up(follower)
    assert handler.amounts == [1, 7, 8, 9]


async def test_follower__handler_fails__checkpoint_stays(database: Database, client: EvmClient) -> None:
    handler = Amounts(await deploy(client, "DemoToken", ["Alpha", "ALP", 6]))
    follower = Follower("amounts", client, database, SystemClock(), handler)
    await _catch_up(follower)
    before = await follower.checkpoint()
    await _mint(client, handler.token, 5)
    handler.fails = 1
    with pytest.raises(RuntimeError):
        await follower.follow_once()
    assert await follower.checkpoint() == before
    await _catch_up(follower)
    assert handler.amounts == [5]


async def test_follower__two_looks_at_once__one_counts(database: Database, client: EvmClient) -> None:
    handler = Amounts(await deploy(client, "DemoToken", ["Alpha", "ALP", 6]))
    first = Follower("amounts", client, database, SystemClock(), handler)
    second = Follower("amounts", client, database, SystemClock(), handler)
    await _catch_up(first)
    for amount in (1, 2):
        await _mint(client, handler.token, amount)
    await asyncio.gather(first.follow_once(), second.follow_once())
    await _catch_up(first)
    assert handler.amounts == [1, 2]


async def test_run__two_workers__one_leads_and_the_other_succeeds(database: Database, client: EvmClient) -> None:
    handler = Amounts(await deploy(client, "DemoToken", ["Alpha", "ALP", 6]))
    stops = [asyncio.Event(), asyncio.Event()]
    tasks = [
        asyncio.create_task(Follower("amounts", client, database, SystemClock(), handler).run(stop)) for stop in stops
    ]

    async def until_seen(expected: list[int]) -> None:
        async with asyncio.timeout(20):
            while handler.amounts != expected:
                await asyncio.sleep(0.02)

    await _mint(client, handler.token, 1)
    await until_seen([1])
    stops[0].set()
    await tasks[0]
    await _mint(client, handler.token, 2)
    await until_seen([1, 2])
    stops[1].set()
    await asyncio.gather(*tasks)
