"""What the doctor says of the nodes of a chain."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from tests.support.evm import config
from tests.support.fork_node import GENESIS_TIME, ForkNode, Refused

from lockstep.app.devnet.anvil import Anvil
from lockstep.app.doctor_chains import looks_at_chain
from lockstep.chains.evm import ChainConfig, NodeUnavailable, WrongChain
from lockstep.kit.clock import ManualClock, SystemClock


@pytest.fixture
async def nodes() -> AsyncIterator[list[ForkNode]]:
    async with ForkNode() as first, ForkNode() as second:
        for node in (first, second):
            node.mine(*([] for _ in range(10)))
        yield [first, second]


def make_config(*nodes: ForkNode, **changes: Any) -> ChainConfig:
    fields: dict[str, Any] = {
        "chain": "eip155:31337",
        "chain_id": 31337,
        "name": "Forks",
        "rpc_urls": [node.url for node in nodes],
        "finality_blocks": 2,
        "block_seconds": 1.0,
        "max_fee_per_gas": 10**12,
    }
    return ChainConfig(**(fields | changes))


async def look(config: ChainConfig) -> dict[str, Any]:
    clock = ManualClock(datetime.fromtimestamp(GENESIS_TIME + 10, UTC) + timedelta(seconds=1))
    return {what: await one() for what, one in looks_at_chain(config, clock)}


async def test_nodes__all_well__each_is_named(nodes: list[ForkNode]) -> None:
    seen = await look(make_config(*nodes))
    assert seen == {
        "eip155:31337 node 0": "block 10, 1 s old; 0 contracts in place",
        "eip155:31337 node 1": "block 10, 1 s old; 0 contracts in place",
    }


async def test_nodes__one_stands_still__warns_of_that_one(nodes: list[ForkNode]) -> None:
    nodes[0].mine(*([] for _ in range(100)))
    clock = ManualClock(datetime.fromtimestamp(GENESIS_TIME + 111, UTC))
    seen = {what: await one() for what, one in looks_at_chain(make_config(*nodes), clock)}
    assert seen["eip155:31337 node 0"] == "block 110, 1 s old; 0 contracts in place"
    assert seen["eip155:31337 node 1"][0] == "warn"


async def test_node__of_another_chain_or_away__says_so(nodes: list[ForkNode]) -> None:
    with pytest.raises(WrongChain):
        await look(make_config(nodes[0], chain="eip155:1", chain_id=1))
    nodes[0].status = 500
    with pytest.raises(NodeUnavailable):
        await look(make_config(nodes[0]))


async def test_node__has_forgotten_the_final_state__fails(nodes: list[ForkNode]) -> None:
    def forgotten(_: list[Any]) -> Any:
        raise Refused("missing trie node")

    nodes[0].answers["eth_getBalance"] = forgotten
    verdict, words = (await look(make_config(nodes[0])))["eip155:31337"]
    assert (verdict, "state of the final block 8" in words) == ("fail", True)


async def test_node__has_pruned_our_first_block__fails(nodes: list[ForkNode]) -> None:
    def pruned(_: list[Any]) -> Any:
        raise Refused("pruned history unavailable")

    nodes[0].answers["eth_getLogs"] = pruned
    verdict, words = (await look(make_config(nodes[0], first_block=3)))["eip155:31337"]
    assert (verdict, "logs of our first block 3" in words) == ("fail", True)


@pytest.mark.chain
async def test_chain__of_a_devnet_with_a_websocket__is_well(anvil: Anvil) -> None:
    await anvil.call("evm_mine")
    looks = dict(looks_at_chain(config(anvil, ws_url=anvil.url.replace("http", "ws")), SystemClock()))
    assert list(looks) == ["eip155:31337", "eip155:31337 WebSocket"]
    assert await looks["eip155:31337 WebSocket"]() == "announces new blocks"


async def test_websocket__nobody_answers__says_so(nodes: list[ForkNode]) -> None:
    looks = dict(looks_at_chain(make_config(nodes[0], ws_url=nodes[0].url.replace("http", "ws")), SystemClock()))
    with pytest.raises(NodeUnavailable, match="WebSocket"):
        await looks["eip155:31337 WebSocket"]()
