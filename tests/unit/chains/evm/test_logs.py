"""Reading logs: blooms that rule blocks out, nodes that leave logs out or make them up, windows that adapt."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.fork_node import ForkNode

from lockstep.chains.evm import Address, ChainConfig, EvmClient, LogFilter, NodeError, RangeTooWide
from lockstep.chains.evm.blooms import bloom_bits, log_bits, may_hold
from lockstep.chains.evm.outcomes import is_busy, too_wide
from lockstep.chains.evm.windows import ScanWindow

TOPIC, OTHER_TOPIC = b"\x01" * 32, b"\x02" * 32
OURS, STRANGER = Address("0x" + "aa" * 20), Address("0x" + "bb" * 20)
WANTED = LogFilter(addresses=[OURS], topics=[TOPIC])


@pytest.fixture
async def nodes() -> AsyncIterator[list[ForkNode]]:
    async with ForkNode() as first, ForkNode() as second:
        yield [first, second]


def make_client(*nodes: ForkNode, **changes: Any) -> EvmClient:
    fields: dict[str, Any] = {
        "chain": "eip155:31337",
        "chain_id": 31337,
        "name": "Forks",
        "rpc_urls": [node.url for node in nodes],
        "finality_blocks": 2,
        "block_seconds": 1.0,
        "max_fee_per_gas": 10**12,
    }
    return EvmClient(ChainConfig(**(fields | changes)))


async def read(client: EvmClient, first: int, last: int, *, wanted: LogFilter = WANTED) -> list[bytes]:
    headers = {h.ref.number: h for h in await client.headers(range(first, last + 1)) if h is not None}
    try:
        return [log.data for log in await client.logs.read([wanted], first, last, headers)]
    finally:
        await client.close()


def test_bloom_bits__of_the_empty_string__are_those_of_the_yellow_paper() -> None:
    # keccak256("") = c5d2460186f7…: bits 0x5d2 (c5d2 mod 2048), 0x601 (4601), 0x6f7 (86f7).
    assert bloom_bits(b"") == 1 << 0x5D2 | 1 << 0x601 | 1 << 0x6F7


@given(st.lists(st.binary(min_size=32, max_size=32), max_size=8), st.binary(min_size=32, max_size=32))
def test_may_hold__whatever_was_put_in__is_never_denied(others: list[bytes], item: bytes) -> None:
    assert may_hold(log_bits(OURS, [*others, item]), [item])
    assert not may_hold(0, [item])


async def test_read__blooms_rule_all_blocks_out__no_node_is_asked(nodes: list[ForkNode]) -> None:
    nodes[0].mine([(STRANGER, OTHER_TOPIC, 1)], [], [(STRANGER, OTHER_TOPIC, 2)])
    assert await read(make_client(nodes[0]), 1, 3) == []
    assert nodes[0].count("eth_getLogs") == 0


async def test_read__some_blocks_may_have_logs__range_is_narrowed_to_them(nodes: list[ForkNode]) -> None:
    nodes[0].mine([], [(OURS, TOPIC, 1), (STRANGER, TOPIC, 9)], [], [(OURS, TOPIC, 2)], [])
    assert await read(make_client(nodes[0]), 1, 5) == [(1).to_bytes(32), (2).to_bytes(32)]
    assert nodes[0].log_ranges == [(2, 4)]


async def test_read__node_leaves_a_log_out__another_is_believed(nodes: list[ForkNode]) -> None:
    for node in nodes:
        node.mine([], [(OURS, TOPIC, 7)])
    nodes[0].hidden = {(2, 0)}
    assert await read(make_client(*nodes), 1, 2) == [(7).to_bytes(32)]
    assert nodes[1].count("eth_getLogs") == 1


async def test_read__node_has_not_indexed_the_block_by_number_only__is_found_out(nodes: list[ForkNode]) -> None:
    for node in nodes:
        node.mine([(OURS, TOPIC, 7)])
    nodes[0].hidden, nodes[0].shows_by_hash = {(1, 0)}, True
    assert await read(make_client(*nodes), 1, 1) == [(7).to_bytes(32)]


async def test_read__only_node_leaves_a_log_out__error_and_no_empty_answer(nodes: list[ForkNode]) -> None:
    nodes[0].mine([(OURS, TOPIC, 7)])
    nodes[0].hidden = {(1, 0)}
    with pytest.raises(NodeError, match="left out"):
        await read(make_client(nodes[0]), 1, 1)


async def test_read__node_makes_a_log_up__another_is_believed(nodes: list[ForkNode]) -> None:
    for node in nodes:
        node.mine([(STRANGER, TOPIC, 1)])
    nodes[0].invented = [(1, OURS, TOPIC, 99)]
    # The stranger's block may hold the topic; make the bloom of the range unknown, so that the node is asked at all.
    assert await read(make_client(*nodes), 1, 1, wanted=LogFilter(topics=[TOPIC])) == [(1).to_bytes(32)]
    assert nodes[1].count("eth_getLogs") == 1


async def test_read__bloom_promises_by_chance__silence_is_believed_once_shown(nodes: list[ForkNode]) -> None:
    nodes[0].mine([(OURS, OTHER_TOPIC, 1), (STRANGER, TOPIC, 2)])  # both halves of what is wanted, in two logs
    assert await read(make_client(nodes[0]), 1, 1) == []
    assert nodes[0].count("eth_getLogs") == 2


async def test_read__blooms_are_not_to_be_trusted_on_this_chain__asked_and_believed(nodes: list[ForkNode]) -> None:
    nodes[0].mine([(OURS, TOPIC, 7)], [])
    nodes[0].blooms = False
    assert await read(make_client(nodes[0], blooms=False), 1, 2) == [(7).to_bytes(32)]


async def test_read__very_many_addresses__asked_by_topic_and_filtered_here(nodes: list[ForkNode]) -> None:
    nodes[0].mine([(STRANGER, TOPIC, 1), (OURS, TOPIC, 2)])
    many = [Address(f"0x{number:040x}") for number in range(2_000)]
    assert await read(make_client(nodes[0]), 1, 1, wanted=LogFilter(addresses=[*many, OURS], topics=[TOPIC])) == [
        (2).to_bytes(32)
    ]


async def test_read__more_than_the_node_gives__says_which_limit(nodes: list[ForkNode]) -> None:
    nodes[0].mine(*([(OURS, TOPIC, number)] for number in range(9)))
    nodes[0].most_blocks = 5
    with pytest.raises(RangeTooWide) as caught:
        await read(make_client(*nodes), 1, 9)
    assert caught.value.is_limit
    nodes[0].most_blocks, nodes[0].most_logs = None, 5
    with pytest.raises(RangeTooWide) as caught:
        await read(make_client(*nodes), 1, 9)
    assert not caught.value.is_limit


async def test_head__falls_far_on_the_same_branch__another_node_is_asked(nodes: list[ForkNode]) -> None:
    for node in nodes:
        node.mine(*([] for _ in range(10)))
    client = make_client(*nodes)
    nodes[0].lag = 8
    assert (await client.head()).number == 2
    nodes[0].lag = 0
    assert (await client.head()).number == 10
    nodes[0].lag = 8
    assert (await client.head()).number == 10  # of the other one
    await client.close()


async def test_head__falls_far_to_another_branch__is_believed(nodes: list[ForkNode]) -> None:
    for node in nodes:
        node.mine(*([] for _ in range(10)))
    client = make_client(*nodes)
    assert (await client.head()).number == 10
    nodes[0].drop(6)
    nodes[0].mine([(OURS, TOPIC, 1)])
    assert (await client.head()).number == 5
    await client.close()


@pytest.mark.parametrize(
    ("message", "limit"),
    [
        ("query returned more than 10000 results. Try with this block range [0x1, 0x2].", "logs"),
        ("Log response size exceeded. You can make eth_getLogs requests with up to a 2K block range", "logs"),
        ("exceed maximum block range: 50000", "blocks"),
        ("query exceeds max block range 100000", "blocks"),
        ("query exceeds max results 20000, retry with the range 1-2", "logs"),
        ("eth_getLogs is limited to a 10,000 range", "blocks"),
        ("block range is too wide", "blocks"),
        ("Too many logs requested. Max logs per response is 20000.", "logs"),
        ("Requested range exceeds maximum range limit", "blocks"),
        ("Block range limit exceeded. See more details", "blocks"),
        ("query timeout exceeded", "logs"),
        ("block range extends beyond current head block", None),
        ("BlockOutOfRangeError: block height is 2 but requested was 5", None),
        ("invalid block range params", None),
        ("header not found", None),
        ("execution reverted: block range", None),
        ("rate limit exceeded", None),
    ],
)
def test_too_wide__words_of_nodes__are_told_apart(message: str, limit: str | None) -> None:
    assert too_wide(-32000, message) == limit
    if limit is not None:
        assert not is_busy(-32005, message)
    elif "block" in message and "revert" not in message:
        assert is_busy(-32000, message)  # another node may have it


def test_window__small_quick_answers__grows_up_to_its_limit() -> None:
    window = ScanWindow(1_000)
    assert window.blocks == 256
    for _ in range(5):
        window.answered(window.blocks, 10, 0.1)
    assert window.blocks == 1_000
    window.answered(3, 0, 0.0)
    assert window.blocks == 1_000


def test_window__many_logs_or_slow__shrinks() -> None:
    window = ScanWindow(1_000)
    window.answered(256, 20_000, 0.1)
    assert window.blocks == 128
    window.answered(128, 1, 9.0)
    assert window.blocks == 64
    window.answered(64, 5_000, 1.5)
    assert window.blocks == 64


def test_window__refused__halves_down_to_one_block_and_remembers_a_limit_of_blocks() -> None:
    window = ScanWindow(1_000)
    assert window.refused(is_limit=True)
    assert window.blocks == 128
    for _ in range(5):
        window.answered(window.blocks, 0, 0.0)
    assert window.blocks == 128
    while window.refused(is_limit=False):
        pass
    assert window.blocks == 1
    for _ in range(9):
        window.answered(window.blocks, 0, 0.0)
    assert window.blocks == 128


def test_window__limit_of_blocks__is_tried_again_after_a_while() -> None:
    window = ScanWindow(1_000)
    window.refused(is_limit=True)
    sizes = []
    for _ in range(450):
        sizes.append(window.blocks)
        window.answered(window.blocks, 0, 0.0)
    assert sizes[50] == 128
    assert max(sizes) == 1_000
