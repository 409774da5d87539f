"""Several nodes of one chain: slow, failing, lagging and lying ones, and what is asked of which."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import replace

import pytest
from tests.support.stub_node import RpcError, StubNode, block

from lockstep.chains.evm import ChainConfig, EvmClient, NodesDisagree, NodeUnavailable, SendOutcome, WrongChain
from lockstep.chains.evm.outcomes import SendResult, best_send

CHAIN = "eip155:31337"


@pytest.fixture
async def nodes() -> AsyncIterator[list[StubNode]]:
    async with AsyncExitStack() as stack:
        yield [await stack.enter_async_context(StubNode()) for _ in range(3)]


@pytest.fixture
async def client(nodes: list[StubNode]) -> AsyncIterator[EvmClient]:
    made = EvmClient(config(nodes))
    yield made
    await made.close()


def config(nodes: list[StubNode], *, read_quorum: int = 1, block_seconds: float = 1.0) -> ChainConfig:
    return ChainConfig(
        chain=CHAIN,
        chain_id=31337,
        name="Stub",
        rpc_urls=[node.url for node in nodes],
        finality_blocks=2,
        block_seconds=block_seconds,
        max_fee_per_gas=10**12,
        read_quorum=read_quorum,
        request_seconds=3.0,
    )


async def test_read__all_nodes_healthy__one_is_asked(client: EvmClient, nodes: list[StubNode]) -> None:
    for _ in range(5):
        assert (await client.head()).number == 100
    assert nodes[0].count("eth_getBlockByNumber") >= 5
    assert nodes[1].count("eth_getBlockByNumber") <= 1  # compared once, at the start


async def test_read__first_node_slow__second_answers_meanwhile(client: EvmClient, nodes: list[StubNode]) -> None:
    nodes[0].delay, nodes[1].head = 2.5, 101
    async with asyncio.timeout(1.5):
        assert (await client.head()).number == 101
        assert (await client.head()).number == 101
    assert nodes[0].count("eth_chainId") >= 1


async def test_read__node_fails__left_alone_then_asked_again(client: EvmClient, nodes: list[StubNode]) -> None:
    nodes[0].status = 500
    for _ in range(20):
        assert (await client.head()).number == 100
    assert len(nodes[0].asked) <= 3  # its own turn, and the comparison of heads
    nodes[0].status = 200
    nodes[1].status = nodes[2].status = 500
    async with asyncio.timeout(3):
        assert (await client.head()).number == 100


async def test_read__every_node_fails__unavailable_and_heals(client: EvmClient, nodes: list[StubNode]) -> None:
    for node in nodes:
        node.status = 503
    for _ in range(3):
        with pytest.raises(NodeUnavailable):
            await client.head()
    for node in nodes:
        node.status = 200
    assert (await client.head()).number == 100  # open circuits do not keep the last resort away


async def test_read__node_stands_still__another_is_asked(nodes: list[StubNode]) -> None:
    client = EvmClient(config(nodes, block_seconds=0.01))
    nodes[1].head = nodes[2].head = 110
    async with asyncio.timeout(5):
        while (await client.head()).number != 110:
            await asyncio.sleep(0.01)
    assert [(await client.head()).number for _ in range(5)] == [110] * 5
    await client.close()


async def test_read__node_is_busy__next_answers(client: EvmClient, nodes: list[StubNode]) -> None:
    def busy(_: list[object]) -> object:
        raise RpcError("header not found")

    nodes[0].answers["eth_getBalance"] = busy
    nodes[1].answers["eth_getBalance"] = lambda _: "0x7"
    assert await client.call("eth_getBalance", ["0x" + "00" * 20, "0x1"]) == "0x7"


async def test_send__several_nodes__all_get_the_bytes(client: EvmClient, nodes: list[StubNode]) -> None:
    def refuse(_: list[object]) -> object:
        raise RpcError("transaction underpriced")

    nodes[0].answers["eth_sendRawTransaction"] = refuse
    nodes[1].answers["eth_sendRawTransaction"] = lambda _: "0x" + "11" * 32
    nodes[2].status = 502
    results = await client.send_many([b"\x02\x01", b"\x02\x02"])
    assert [result.outcome for result in results] == [SendOutcome.ACCEPTED] * 2
    assert nodes[0].count("eth_sendRawTransaction") == nodes[1].count("eth_sendRawTransaction") == 2


async def test_send__one_node_silent_and_the_others_refuse__may_be_in_its_pool(
    client: EvmClient, nodes: list[StubNode]
) -> None:
    def refuse(_: list[object]) -> object:
        raise RpcError("exceeds the configured cap")

    for node in nodes:
        node.answers["eth_sendRawTransaction"] = refuse
    assert (await client.send_raw(b"\x02\x01")).outcome is SendOutcome.INVALID
    nodes[1].status = 500
    assert (await client.send_raw(b"\x02\x01")).outcome is SendOutcome.UNKNOWN


async def test_agreed__one_node_lies__the_others_answer_counts(nodes: list[StubNode]) -> None:
    client = EvmClient(config(nodes, read_quorum=2))
    for node, balance in zip(nodes, ("0xffff", "0x5", "0x5"), strict=True):
        node.answers["eth_getBalance"] = lambda _, balance=balance: balance
    asked = [("eth_getBalance", ["0x" + "00" * 20, "0x1"])]
    assert await client.agreed(asked) == ["0x5"]
    nodes[2].status = 500
    with pytest.raises(NodesDisagree):
        await client.agreed(asked)
    await client.close()


async def test_any_call__second_node_of_another_chain__stops(nodes: list[StubNode]) -> None:
    nodes[1].chain_id = 1
    client = EvmClient(config(nodes))
    with pytest.raises(WrongChain):
        await client.check_chain_id()
    nodes[0].status = 500
    with pytest.raises(WrongChain):
        await client.head()
    await client.close()


@pytest.mark.parametrize(("quorum", "expected"), [(1, 90), (2, 80), (3, 7)])
async def test_final_number__by_tag__as_high_as_the_quorum_says_and_no_less_deep_than_asked(
    nodes: list[StubNode], quorum: int, expected: int
) -> None:
    for node, finalized in zip(nodes, (90, 80, 7), strict=True):
        node.answers["eth_getBlockByNumber"] = lambda params, number=finalized: block(
            number if params[0] == "finalized" else 100
        )
    made = replace(config(nodes, read_quorum=quorum), finality_tag="finalized")
    client, deeper = EvmClient(made), EvmClient(replace(made, finality_blocks=95))
    head = await client.head()
    assert [await client.final_number(head) for _ in range(2)] == [expected, expected]
    assert nodes[1].count("eth_getBlockByNumber") <= 2  # once per head, and the comparison of heads
    assert await deeper.final_number(head) == 5
    await client.close()
    await deeper.close()


async def test_final_number__node_without_a_final_block__nothing_is_final(nodes: list[StubNode]) -> None:
    nodes[0].answers["eth_getBlockByNumber"] = lambda params: None if params[0] == "finalized" else block(100)
    client = EvmClient(replace(config(nodes), finality_tag="finalized"))
    assert await client.final_number(await client.head()) == -1
    await client.close()


def test_config__quorum_above_the_number_of_nodes__refused() -> None:
    with pytest.raises(ValueError, match="quorum"):
        ChainConfig(
            chain=CHAIN,
            chain_id=31337,
            name="Stub",
            rpc_urls=["http://127.0.0.1:9"],
            finality_blocks=2,
            block_seconds=1.0,
            max_fee_per_gas=10**12,
            read_quorum=2,
        )


@pytest.mark.parametrize(
    ("outcomes", "together"),
    [
        (("accepted", "underpriced"), "accepted"),
        (("invalid", "already_known"), "already_known"),
        (("nonce_gap", "nonce_too_low"), "nonce_too_low"),
        (("invalid", "unknown"), "unknown"),
        (("invalid", "insufficient_funds"), "insufficient_funds"),
        (("unknown", "underpriced"), "underpriced"),
        (("invalid", "invalid"), "invalid"),
    ],
)
def test_best_send__nodes_differ__one_pool_is_enough(outcomes: tuple[str, ...], together: str) -> None:
    results = [SendResult(SendOutcome(outcome)) for outcome in outcomes]
    assert best_send(results).outcome == together
    assert best_send(results[::-1]).outcome == together


def test_best_send__every_outcome__has_its_place() -> None:
    for outcome in SendOutcome:
        assert best_send([SendResult(outcome)]).outcome is outcome
