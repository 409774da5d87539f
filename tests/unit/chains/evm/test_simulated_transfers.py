"""What a transaction would move, on a real node and on nodes that do not say."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
from tests.support.evm import address, config, deploy
from tests.support.stub_node import RpcError, StubNode

from lockstep.app.devnet.anvil import Anvil
from lockstep.chains.evm import ZERO_ADDRESS, Address, Contract, EvmClient, Transfer, TransferSimulator

TOKEN = Contract.load("DemoToken")
pytestmark = pytest.mark.chain


@pytest.fixture
async def client(anvil: Anvil) -> AsyncIterator[EvmClient]:
    client = EvmClient(config(anvil))
    yield client
    await client.close()


async def test_transfers__coins_and_tokens__as_they_would_move(client: EvmClient) -> None:
    token = await deploy(client, "DemoToken", ["Alpha", "ALP", 6])
    head, simulator = await client.head(), TransferSimulator(client)
    coins = await simulator.transfers(address(0), address(5), b"", 7, head)
    assert coins == [Transfer(None, address(0), address(5), 7)]
    minted = await simulator.transfers(address(0), token, TOKEN.encode("mint", [address(3), 5]), 0, head)
    assert minted == [Transfer(token, ZERO_ADDRESS, address(3), 5)]
    assert await simulator.transfers(address(0), token, TOKEN.encode("transfer", [address(3), 5]), 0, head) is None
    assert await client.head() == head


@pytest.mark.parametrize(
    ("error", "asks"),
    [
        (RpcError("the method eth_simulateV1 does not exist/is not available", -32601), 1),
        (RpcError("header not found for this request", -32000), 3),
    ],
)
async def test_transfers__node_that_does_not_say__unknown_and_probed_once(
    anvil: Anvil, error: RpcError, asks: int
) -> None:
    async with StubNode() as node:

        def refuse(_: list[Any]) -> Any:
            raise error

        node.answers["eth_simulateV1"] = refuse
        client = EvmClient(config(anvil, rpc_urls=[node.url]))
        simulator, head = TransferSimulator(client), await client.head()
        assert [await simulator.transfers(address(0), address(5), b"", 7, head) for _ in range(3)] == [None] * 3
        assert node.count("eth_simulateV1") == asks
        await client.close()


@pytest.mark.parametrize("answer", [[], [{}], [{"calls": []}], [{"calls": [{"status": "0x1"}]}], None, "0x"])
async def test_transfers__answer_of_another_shape__unknown(anvil: Anvil, answer: Any) -> None:
    async with StubNode() as node:
        node.answers["eth_simulateV1"] = lambda _: answer
        client = EvmClient(config(anvil, rpc_urls=[node.url]))
        found = await TransferSimulator(client).transfers(address(0), address(5), b"", 7, await client.head())
        assert found is None
        await client.close()


async def test_transfers__nft_and_foreign_events__left_out(anvil: Anvil) -> None:
    def log(*topics: str, data: str = "0x" + "00" * 31 + "05") -> dict[str, Any]:
        return {"address": "0x" + "AB" * 20, "topics": list(topics), "data": data}

    transfer = "0xddf252ad1be2c89b69c2b068fc378daa952ba7f163c4a11628f55a4df523b3ef"
    one, two = "0x" + "00" * 12 + "11" * 20, "0x" + "00" * 12 + "22" * 20
    logs = [
        log(transfer, one, two, "0x" + "00" * 32, data="0x"),
        log("0x" + "99" * 32, one, two),
        log(transfer, "0x" + "ff" * 32, two),
        log(transfer, one, two),
    ]
    async with StubNode() as node:
        node.answers["eth_simulateV1"] = lambda _: [{"calls": [{"status": "0x1", "logs": logs}]}]
        client = EvmClient(config(anvil, rpc_urls=[node.url]))
        found = await TransferSimulator(client).transfers(address(0), None, b"\x00", 0, await client.head())
        expected = Transfer(Address("0x" + "ab" * 20), Address("0x" + "11" * 20), Address("0x" + "22" * 20), 5)
        assert found == [expected]
        await client.close()
