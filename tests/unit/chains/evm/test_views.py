"""Many view calls at one block: aggregates and batches give the same, and a failing neighbour changes nothing."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.evm import address, config, deploy, send

from lockstep.app.devnet.anvil import Anvil
from lockstep.chains.evm import (
    MULTICALL,
    Address,
    BlockRef,
    CallReverted,
    Contract,
    EvmClient,
    NodeError,
    RpcFault,
    abi_encode,
    abi_encode_call,
    load_artifact,
)
from lockstep.chains.evm.nodes import Call
from lockstep.chains.evm.views import ViewReader, encode_aggregate

TOKEN = Contract.load("DemoToken")
BURNER = Address("0x" + "ba" * 20)
pytestmark = pytest.mark.chain


@pytest.fixture
async def client(anvil: Anvil) -> AsyncIterator[EvmClient]:
    client = EvmClient(config(anvil))
    yield client
    await client.close()


class Asked:
    """Passes batches on and keeps them."""

    def __init__(self, client: EvmClient) -> None:
        self.client = client
        self.batches: list[list[Call]] = []

    async def __call__(self, calls: Sequence[Call]) -> list[Any | RpcFault]:
        self.batches.append(list(calls))
        return await self.client.batch(calls)


async def put_multicall(anvil: Anvil) -> None:
    await anvil.call("anvil_setCode", MULTICALL, "0x" + load_artifact("DemoMulticall").runtime.hex())
    await anvil.call("evm_mine")


async def make_token(client: EvmClient) -> Address:
    token = await deploy(client, "DemoToken", ["Alpha", "ALP", 6])
    for index in range(1, 4):
        await send(client, token, TOKEN.encode("mint", [address(index), 100 * index]))
    return token


def balances(token: Address, count: int) -> list[tuple[Address, bytes]]:
    return [(token, abi_encode_call("balanceOf(address)", [address(index % 10)])) for index in range(count)]


def words(count: int) -> list[bytes]:
    return [(100 * (index % 10) if 1 <= index % 10 <= 3 else 0).to_bytes(32) for index in range(count)]


async def test_read__a_thousand_calls_with_multicall__a_few_calls_of_the_node(client: EvmClient, anvil: Anvil) -> None:
    token = await make_token(client)
    await put_multicall(anvil)
    asked, reader, head = Asked(client), ViewReader(), await client.head()
    assert await reader.read(balances(token, 1_000), head, asked) == words(1_000)
    assert [[method for method, _ in batch] for batch in asked.batches] == [["eth_getCode"], ["eth_call"] * 3]
    assert await reader.read(balances(token, 1_000), head, asked) == words(1_000)
    assert len(asked.batches) == 3  # whether it is there is asked once


async def test_read__no_multicall_on_this_chain__a_batch(client: EvmClient) -> None:
    token = await make_token(client)
    asked, reader, head = Asked(client), ViewReader(), await client.head()
    for _ in range(2):
        assert await reader.read(balances(token, 20), head, asked) == words(20)
    assert [len(batch) for batch in asked.batches] == [1, 20, 20]


async def test_read__few_calls__no_multicall(client: EvmClient, anvil: Anvil) -> None:
    token = await make_token(client)
    await put_multicall(anvil)
    asked = Asked(client)
    assert await ViewReader().read(balances(token, 3), await client.head(), asked) == words(3)
    assert [len(batch) for batch in asked.batches] == [3]


async def test_read__block_from_before_the_multicall__a_batch(client: EvmClient, anvil: Anvil) -> None:
    token = await make_token(client)
    before = await client.head()
    await put_multicall(anvil)
    reader = ViewReader()
    assert await reader.read(balances(token, 20), await client.head(), client.batch) == words(20)
    assert await reader.read(balances(token, 20), before, client.batch) == words(20)


async def test_calls__some_revert__in_place_with_their_own_reason(client: EvmClient, anvil: Anvil) -> None:
    token = await make_token(client)
    await put_multicall(anvil)
    calls = balances(token, 20)
    calls[5] = (token, abi_encode_call("transfer(address,uint256)", [address(1), 5]))
    calls[9] = (address(7), b"\x01\x02\x03\x04")  # nobody there: an empty answer, as for a call of its own
    found = await client.calls(calls, await client.head())
    refused = found[5]
    assert isinstance(refused, CallReverted)
    assert "ERC20InsufficientBalance" in refused.reason or "ERC20InvalidSender" in refused.reason
    assert found[9] == b""
    assert [found[n] for n in range(20) if n not in (5, 9)] == [words(20)[n] for n in range(20) if n not in (5, 9)]


async def test_calls__neighbour_burns_all_gas__costs_the_others_nothing(client: EvmClient, anvil: Anvil) -> None:
    token = await make_token(client)
    await put_multicall(anvil)
    await anvil.call("anvil_setCode", BURNER, "0x5b600056")
    calls = balances(token, 300)
    calls[2] = (BURNER, b"")
    found = await client.calls(calls, await client.head())
    assert isinstance(found[2], CallReverted)
    assert [found[n] for n in range(300) if n != 2] == [words(300)[n] for n in range(300) if n != 2]


async def test_calls__block_is_gone__error(client: EvmClient, anvil: Anvil) -> None:
    token = await make_token(client)
    await put_multicall(anvil)
    gone = BlockRef(client.chain, 1, b"\x07" * 32, 0)
    await client.calls(balances(token, 20), await client.head())
    with pytest.raises(NodeError):
        await client.calls(balances(token, 20), gone)


@given(st.lists(st.tuples(st.binary(min_size=20, max_size=20), st.binary(max_size=100)), max_size=5))
def test_encode_aggregate__any_calls__as_the_general_encoder(calls: list[tuple[bytes, bytes]]) -> None:
    views = [(Address("0x" + target.hex()), data) for target, data in calls]
    expected = abi_encode(["(address,bool,bytes)[]"], [[(target, True, data) for target, data in views]])
    assert encode_aggregate(views) == bytes.fromhex("82ad56cb") + expected
