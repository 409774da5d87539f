"""The head tracker: one look for all who watch, announcements by WebSocket, polling while it is lost, heads that go back."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable

import pytest
from tests.support.evm import config
from tests.support.stub_node import StubNode, block
from websockets.asyncio.server import ServerConnection, serve

from lockstep.app.devnet.anvil import Anvil
from lockstep.chains.evm import ChainConfig, EvmClient, NodeUnavailable


@pytest.fixture
async def node() -> AsyncIterator[StubNode]:
    async with StubNode() as node:
        yield node


def make_client(node: StubNode, *, ws_url: str | None = None, block_seconds: float = 0.4) -> EvmClient:
    return EvmClient(
        ChainConfig(
            chain="eip155:31337",
            chain_id=31337,
            name="Stub",
            rpc_urls=[node.url],
            ws_url=ws_url,
            finality_blocks=2,
            block_seconds=block_seconds,
            max_fee_per_gas=10**12,
            request_seconds=2.0,
        )
    )


async def until(is_so: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not is_so():
            await asyncio.sleep(0.01)


async def until_head(client: EvmClient, number: int) -> None:
    async with asyncio.timeout(10):
        while (await client.heads.newest()).ref.number != number:
            await asyncio.sleep(0.01)


async def test_newest__nobody_watches__asks_each_time(node: StubNode) -> None:
    client = make_client(node)
    for _ in range(3):
        assert (await client.heads.newest()).ref.number == 100
    assert node.count("eth_getBlockByNumber") == 3
    await client.close()


async def test_newest__many_watch__one_look_serves_all(node: StubNode) -> None:
    client = make_client(node, block_seconds=100.0)
    async with client.heads.watching(), client.heads.watching():
        await until_head(client, 100)
        asked = node.count("eth_getBlockByNumber")
        for _ in range(50):
            assert (await client.heads.newest()).ref.number == 100
        assert node.count("eth_getBlockByNumber") <= asked + 1  # the next poll may fall in between
        node.head = 101
        assert (await client.heads.newest(now=True)).ref.number == 101
    await client.close()


async def test_newest__watched_node_fails__says_so(node: StubNode) -> None:
    client = make_client(node, block_seconds=0.01)
    async with client.heads.watching():
        await until_head(client, 100)
        node.status = 503
        with pytest.raises(NodeUnavailable):
            async with asyncio.timeout(10):
                while True:  # what was seen a moment ago still counts
                    await client.heads.newest()
                    await asyncio.sleep(0.05)
    await client.close()


async def test_newest__node_answers_nonsense_for_a_while__watch_goes_on(node: StubNode) -> None:
    client = make_client(node, block_seconds=0.01)
    async with client.heads.watching():
        await until_head(client, 100)
        node.answers["eth_getBlockByNumber"] = lambda _: {"number": "0x65"}
        asked = node.count("eth_getBlockByNumber")
        await until(lambda: node.count("eth_getBlockByNumber") > asked + 2)
        del node.answers["eth_getBlockByNumber"]
        node.head = 102
        await until_head(client, 102)
    await client.close()


async def test_changed__new_head__wakes_everyone(node: StubNode) -> None:
    client = make_client(node)
    stop = asyncio.Event()
    async with client.heads.watching():
        await until_head(client, 100)
        seen = (await client.heads.newest()).ref.hash
        waiting = [asyncio.create_task(client.heads.changed(seen, stop, 30)) for _ in range(3)]
        node.head = 101
        async with asyncio.timeout(10):
            await asyncio.gather(*waiting)
        assert (await client.heads.newest()).ref.number == 101
    await client.close()


async def test_newest__head_goes_back_to_an_ancestor__is_kept_until_it_stays_so(node: StubNode) -> None:
    client = make_client(node, block_seconds=0.1)
    async with client.heads.watching():
        for number in (100, 101, 102):
            node.head = number
            await until_head(client, number)
        node.head = 100
        assert (await client.heads.newest(now=True)).ref.number == 102
        await until_head(client, 100)
    await client.close()


async def test_newest__shorter_branch_of_other_blocks__is_believed_at_once(node: StubNode) -> None:
    client = make_client(node)
    async with client.heads.watching():
        node.head = 102
        await until_head(client, 102)
        node.answers["eth_getBlockByNumber"] = lambda _: {**block(101), "hash": "0x" + "ab" * 32}
        assert (await client.heads.newest(now=True)).ref.number == 101
    await client.close()


class Announcer:
    """A WebSocket that takes the subscription and announces what the test says."""

    def __init__(self) -> None:
        self.sockets: list[ServerConnection] = []
        self.subscribed = 0

    async def __call__(self, socket: ServerConnection) -> None:
        self.sockets.append(socket)
        async for text in socket:
            call = json.loads(text)
            assert (call["method"], call["params"]) == ("eth_subscribe", ["newHeads"])
            await socket.send(json.dumps({"jsonrpc": "2.0", "id": call["id"], "result": "0x1"}))
            self.subscribed += 1

    async def announce(self, number: int) -> None:
        result = {"number": hex(number), "hash": "0x" + "cd" * 32}
        message = {"jsonrpc": "2.0", "method": "eth_subscription", "params": {"subscription": "0x1", "result": result}}
        await self.sockets[-1].send(json.dumps(message))


async def test_websocket__announces__looked_at_once_and_believed_of_the_nodes_only(node: StubNode) -> None:
    announcer = Announcer()
    async with serve(announcer, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        client = make_client(node, ws_url=f"ws://127.0.0.1:{port}", block_seconds=600.0)
        async with client.heads.watching():
            await until(lambda: announcer.subscribed == 1)
            await until_head(client, 100)
            node.head = 101
            await announcer.announce(101)
            await until_head(client, 101)
            assert (await client.heads.newest()).ref.hash == bytes.fromhex(block(101)["hash"][2:])
            await announcer.announce(999)  # a lie moves nothing
            node.head = 102
            await announcer.announce(102)
            await until_head(client, 102)
        await client.close()


async def test_websocket__is_lost__nodes_are_polled_and_it_is_opened_again(node: StubNode) -> None:
    announcer = Announcer()
    async with serve(announcer, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        client = make_client(node, ws_url=f"ws://127.0.0.1:{port}", block_seconds=600.0)
        async with client.heads.watching():
            await until(lambda: announcer.subscribed == 1)
            await announcer.sockets[0].close()
            node.head = 101
            await until_head(client, 101)
            await until(lambda: announcer.subscribed == 2)
        await client.close()


async def test_websocket__refuses_to_subscribe__nodes_are_polled(node: StubNode) -> None:
    async def refuse(socket: ServerConnection) -> None:
        await socket.recv()
        await socket.send(
            json.dumps({"jsonrpc": "2.0", "id": 1, "error": {"code": -32601, "message": "no such method"}})
        )
        await socket.wait_closed()

    async with serve(refuse, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        client = make_client(node, ws_url=f"ws://127.0.0.1:{port}")
        async with client.heads.watching():
            await until_head(client, 100)
            node.head = 101
            await until_head(client, 101)
        await client.close()


@pytest.mark.chain
async def test_websocket__of_anvil__each_block_is_seen(anvil: Anvil) -> None:
    client = EvmClient(config(anvil, ws_url=anvil.url.replace("http", "ws"), block_seconds=600.0))
    async with client.heads.watching():
        await until_head(client, 0)
        await until(lambda: client.heads.is_live)
        for number in (1, 2, 3):
            await anvil.call("evm_mine")
            await until_head(client, number)
    await client.close()


def test_config__websocket_address_of_another_kind__is_refused() -> None:
    with pytest.raises(ValueError, match="ws_url"):
        ChainConfig(
            chain="eip155:31337",
            chain_id=31337,
            name="Stub",
            rpc_urls=["http://127.0.0.1:9"],
            ws_url="http://127.0.0.1:9",
            finality_blocks=2,
            block_seconds=1.0,
            max_fee_per_gas=10**12,
        )
