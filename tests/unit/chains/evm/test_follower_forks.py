"""The follower over a chain that forks, lags, lies and refuses: what it has written is what the final chain says."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from itertools import count

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.support.counts import examples
from tests.support.fork_node import Entry, ForkNode

from lockstep.chains.evm import Address, BlockRef, ChainConfig, EvmClient, Follower, Log, LogFilter
from lockstep.kit.clock import SystemClock
from lockstep.kit.database import Database, UnitOfWork
from lockstep.kit.errors import Retry

TOPIC, OTHER_TOPIC = b"\x01" * 32, b"\x02" * 32
OURS, STRANGER = Address("0x" + "aa" * 20), Address("0x" + "bb" * 20)
_numbers = count()
Step = tuple[tuple[str, object], int]

TABLE = """
create table followed_logs (
    follower text, block_number bigint, log_index int, value numeric,
    primary key (follower, block_number, log_index)
);
grant select, insert, delete on followed_logs to lockstep_system;
"""


class Crashed(Exception):
    """Stands for a worker that dies in the middle of its transaction."""


class Rows:
    """Writes each wanted log as a row; writing one twice fails."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.crashes = 0

    async def wanted(self, uow: UnitOfWork, chain: str) -> Sequence[LogFilter]:
        return [LogFilter(addresses=[OURS], topics=[TOPIC])]

    def also_wanted(self, logs: Sequence[Log]) -> Sequence[LogFilter]:
        return []

    async def execute(self, uow: UnitOfWork, block: BlockRef, logs: Sequence[Log]) -> None:
        for log in logs:
            await uow.execute(
                "insert into followed_logs values (%s, %s, %s, %s)",
                (self.name, block.number, log.log_index, int.from_bytes(log.data)),
            )
        self._crash()

    async def unwind(self, uow: UnitOfWork, to_block: BlockRef) -> None:
        await uow.execute(
            "delete from followed_logs where follower = %s and block_number > %s", (self.name, to_block.number)
        )
        self._crash()

    async def on_head(self, uow: UnitOfWork, head: BlockRef) -> None:
        pass

    def _crash(self) -> None:
        if self.crashes:
            self.crashes -= 1
            raise Crashed


def make_config(*nodes: ForkNode, log_range: int = 10_000) -> ChainConfig:
    return ChainConfig(
        chain="eip155:31337",
        chain_id=31337,
        name="Forks",
        rpc_urls=[node.url for node in nodes],
        finality_blocks=2,
        block_seconds=1.0,
        max_fee_per_gas=10**12,
        log_range=log_range,
    )


@pytest.fixture
def table(owner_dsn: str) -> None:
    with psycopg.connect(owner_dsn, autocommit=True) as owner:
        owner.execute(TABLE)


@pytest.fixture
async def node() -> AsyncIterator[ForkNode]:
    async with ForkNode() as node:
        yield node


@pytest.fixture
async def client(node: ForkNode) -> AsyncIterator[EvmClient]:
    client = EvmClient(make_config(node))
    yield client
    await client.close()


def make_follower(client: EvmClient, database: Database, handler: Rows) -> Follower:
    return Follower(handler.name, client, database, SystemClock(), handler)


async def catch_up(follower: Follower) -> None:
    async with asyncio.timeout(30):
        while await follower.follow_once():
            pass


async def read_rows(database: Database, name: str) -> list[tuple[int, int, int]]:
    async with database.system("test") as uow:
        rows = await uow.fetch(
            "select block_number, log_index, value from followed_logs where follower = %s order by 1, 2", (name,)
        )
    return [(row["block_number"], row["log_index"], int(row["value"])) for row in rows]


def expected_rows(node: ForkNode) -> list[tuple[int, int, int]]:
    return [
        (block.number, index, value)
        for block in node.blocks
        for index, (address, topic, value) in enumerate(block.entries)
        if (address, topic) == (OURS, TOPIC)
    ]


async def test_follower__blocks_without_our_logs__cost_no_request(
    database: Database, table: None, node: ForkNode, client: EvmClient
) -> None:
    follower = make_follower(client, database, Rows("quiet"))
    node.mine([(OURS, TOPIC, 1)])
    await catch_up(follower)
    node.asked.clear()
    for _ in range(5):
        node.mine([(STRANGER, OTHER_TOPIC, 5)])
        assert await follower.follow_once()
    assert node.asked == ["eth_getBlockByNumber"] * 5  # the heads
    assert await follower.checkpoint() == await client.head()


async def test_follower__range_too_wide_for_the_node__reads_it_in_parts(
    database: Database, table: None, node: ForkNode, client: EvmClient
) -> None:
    node.mine(*([(OURS, TOPIC, number)] * (number % 4) for number in range(700)))
    node.most_blocks, node.most_logs = 100, 60
    await catch_up(make_follower(client, database, Rows("parts")))
    assert await read_rows(database, "parts") == expected_rows(node)


async def test_follower__not_even_one_block_is_given__says_so(
    database: Database, table: None, node: ForkNode, client: EvmClient
) -> None:
    node.mine([(OURS, TOPIC, 1)], [(OURS, TOPIC, 1)])
    node.most_blocks = 0
    with pytest.raises(Retry):
        await catch_up(make_follower(client, database, Rows("none")))


async def test_follower__node_lies_in_live_blocks__the_other_nodes_logs_are_written(
    database: Database, table: None, node: ForkNode
) -> None:
    async with ForkNode() as honest:
        client = EvmClient(make_config(node, honest))
        follower = make_follower(client, database, Rows("lied_to"))
        for each in (node, honest):
            each.mine([])
        await catch_up(follower)
        node.hidden = {(2, 0)}
        for each in (node, honest):
            each.mine([(OURS, TOPIC, 7)])
        await catch_up(follower)
        assert await read_rows(database, "lied_to") == [(2, 0, 7)]
        await client.close()


@pytest.mark.parametrize("log_range", [1, 2, 500])
@pytest.mark.parametrize("depth", [1, 3, 5])
async def test_follower__chain_forks_between_two_requests_of_a_look__no_branch_is_mixed(
    database: Database, table: None, node: ForkNode, log_range: int, depth: int
) -> None:
    entry = (OURS, TOPIC, 1)
    for requests in range(1, 12):
        node.drop(100)
        client = EvmClient(make_config(node, log_range=log_range))
        handler = Rows("".join(chr(ord("a") + int(digit)) for digit in f"{requests}"))
        follower = make_follower(client, database, handler)
        node.mine([entry], [entry, entry], [entry])
        await catch_up(follower)
        node.mine([entry], [(STRANGER, TOPIC, 5)], [entry])
        other = [(OURS, TOPIC, 2)]
        node.surprise = (node.requests + requests, depth, [other, other, other, other, [*other, *other], other])
        await catch_up(follower)
        await client.close()
        assert await read_rows(database, handler.name) == expected_rows(node)
        node.surprise = None


# --- any history ------------------------------------------------------------------------------------------------------

_entry = st.tuples(
    st.sampled_from([OURS, OURS, STRANGER]), st.sampled_from([TOPIC, TOPIC, OTHER_TOPIC]), st.integers(0, 9)
)
_contents = st.lists(st.lists(_entry, max_size=3), min_size=1, max_size=4)
_mine = st.tuples(st.just("mine"), _contents)
_fork = st.tuples(st.just("fork"), st.tuples(st.integers(1, 8), _contents))
_fault = st.one_of(
    st.tuples(st.just("lag"), st.integers(0, 5)),
    st.tuples(st.just("hide"), st.tuples(st.integers(0, 2), st.booleans())),
    st.tuples(st.just("limit"), st.tuples(st.sampled_from([None, 1, 2, 7]), st.sampled_from([None, 1, 5]))),
    st.tuples(st.just("fail"), st.sampled_from([200, 200, 500])),
    st.tuples(st.just("crash"), st.none()),
    st.tuples(st.just("race"), _contents),
    st.tuples(st.just("surprise"), st.tuples(st.integers(1, 5), st.integers(1, 8), _contents)),
    st.tuples(st.just("heal"), st.none()),
)
_steps = st.lists(st.tuples(st.one_of(_mine, _fork, _fault), st.integers(0, 3)), min_size=5, max_size=20)
"""What happens, and how often it is looked after each."""


@given(steps=_steps, log_range=st.sampled_from([1, 3, 500]))
@settings(max_examples=examples(50), suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_follower__any_history_of_forks_faults_and_crashes__rows_are_those_of_a_replay(
    steps: list[Step], log_range: int, dsn: str, owner_dsn: str
) -> None:
    with psycopg.connect(owner_dsn, autocommit=True) as owner:
        if owner.execute("select to_regclass('followed_logs')").fetchone() == (None,):
            owner.execute(TABLE)
    asyncio.run(_live_and_replay(steps, log_range, dsn))


async def _live_and_replay(steps: list[Step], log_range: int, dsn: str) -> None:
    suffix = "".join(chr(ord("a") + int(digit)) for digit in str(next(_numbers)))
    database = Database(dsn, name="test")
    await database.open()
    async with ForkNode() as node:
        client = EvmClient(make_config(node, log_range=log_range))
        try:
            live = Rows(f"live_{suffix}")
            await _live(steps, node, client, database, live)
            replay = Rows(f"replay_{suffix}")
            await catch_up(make_follower(client, database, replay))
            rows = await read_rows(database, live.name)
            assert rows == await read_rows(database, replay.name)
            assert rows == expected_rows(node)
        finally:
            await client.close()
            await database.close()


async def _live(steps: list[Step], node: ForkNode, client: EvmClient, database: Database, handler: Rows) -> None:
    """Follow through all steps, by a new worker after each crash; at the end the node is well and the chain goes on."""
    worker = make_follower(client, database, handler)
    for action, looks in steps:
        match action:
            case ("mine", contents):
                node.mine(*_blocks(contents))
            case ("fork", (depth, contents)):
                node.drop(int(depth))
                node.mine(*_blocks(contents))
            case ("lag", blocks):
                node.lag = int(str(blocks))
            case ("hide", (ahead, by_hash)):
                number = len(node.blocks) + int(ahead)
                node.hidden, node.shows_by_hash = {(number, index) for index in range(3)}, bool(by_hash)
            case ("limit", (most_blocks, most_logs)):
                node.most_blocks, node.most_logs = most_blocks, most_logs
            case ("fail", status):
                node.status = int(str(status))
            case ("crash", _):
                handler.crashes = 1
            case ("surprise", (requests, depth, contents)):
                node.surprise = (node.requests + int(requests), int(depth), _blocks(contents))
            case ("race", contents):
                node.mine(*_blocks(contents))
                other = make_follower(client, database, handler)
                await asyncio.gather(_look(worker, worker), _look(other, other))
            case ("heal", _):
                _heal(node, handler)
        for _ in range(looks):
            worker = await _look(worker, make_follower(client, database, handler))
    _heal(node, handler)
    node.mine([])  # a chain that only became shorter is waited for
    await catch_up(worker)


def _heal(node: ForkNode, handler: Rows) -> None:
    node.lag, node.hidden, node.status, handler.crashes = 0, set(), 200, 0
    node.most_blocks = node.most_logs = node.surprise = None


async def _look(worker: Follower, successor: Follower) -> Follower:
    """One look; whoever looks next."""
    try:
        await worker.follow_once()
    except Retry:
        return worker
    except Crashed:
        return successor
    return worker


def _blocks(contents: object) -> list[list[Entry]]:
    assert isinstance(contents, list)
    return contents
