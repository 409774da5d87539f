"""Catch-up over 100,000 logs of a local node into PostgreSQL by a follower, against a bare loop that reads, decodes and
writes the same logs without checking anything."""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import psycopg
from psycopg.conninfo import make_conninfo

from benchmarks.figures import Figure, fresh_database
from lockstep.app.devnet.anvil import Anvil
from lockstep.chains.evm import Address, BlockRef, ChainConfig, Contract, EvmClient, Follower, Log, LogFilter
from lockstep.kit.clock import SystemClock
from lockstep.kit.database import Database, UnitOfWork

BLOCKS, LOGS_EACH = 1_000, 100
WINDOW = 50
"""Blocks that the bare loop reads at once: 5,000 logs."""
EMITTER = Address("0x" + "e1" * 20)
TOKEN = Contract.load("DemoToken")
_EMIT = (
    "6000355b80600052"  # n = calldata; loop: memory = n
    f"30337f{TOKEN.topic('Transfer').hex()}60206000a3"  # Transfer(caller, this contract, n)
    "6001900380600357"  # n -= 1, again while n > 0
    "00"
)
TABLES = """
create table transfers (
    source text, block_number bigint, log_index int, sender text, recipient text, amount numeric(78,0),
    primary key (source, block_number, log_index)
);
grant select, insert, delete on transfers to lockstep_system, lockstep_service;
"""
_INSERT = (
    "insert into transfers select %s, * from"
    " unnest(%b::bigint[], %b::int[], %b::text[], %b::text[], %b::numeric[]) on conflict do nothing"
)


async def run() -> list[Figure]:
    with tempfile.TemporaryDirectory(prefix="lockstep-bench-") as folder:
        async with Anvil(Path(folder), chain_id=31337) as anvil, fresh_database() as dsn:
            with psycopg.connect(make_conninfo(dsn, user="lockstep_owner"), autocommit=True) as owner:
                owner.execute(TABLES)
            client = EvmClient(_config(anvil))
            database = Database(dsn, name="bench")
            await database.open()
            try:
                await _emit(anvil)
                baseline = await _bare(client, database)
                value = await _followed(client, database)
                await _check(database)
            finally:
                await client.close()
                await database.close()
    return [
        Figure(
            name="follow",
            value=value,
            unit="logs/s",
            baseline=baseline,
            ratio=value / baseline,
            wanted={"value": 5_000},
            more={"logs": BLOCKS * LOGS_EACH, "blocks": BLOCKS},
        )
    ]


def _config(anvil: Anvil) -> ChainConfig:
    return ChainConfig(
        chain=anvil.chain,
        chain_id=anvil.chain_id,
        name="Bench",
        rpc_urls=[anvil.url],
        finality_blocks=2,
        block_seconds=1.0,
        max_fee_per_gas=10**12,
        request_seconds=30.0,
    )


async def _emit(anvil: Anvil) -> None:
    await anvil.call("anvil_setCode", EMITTER, "0x" + _EMIT)
    sender = (await anvil.call("eth_accounts"))[0]
    client = EvmClient(_config(anvil))
    call = {"from": sender, "to": EMITTER, "data": f"0x{LOGS_EACH:064x}", "gas": hex(1_000_000)}
    try:
        for _ in range(BLOCKS):
            await client.call("eth_sendTransaction", [call])
        while int(await client.call("eth_getTransactionCount", [sender, "latest"]), 16) < BLOCKS:
            await asyncio.sleep(0.05)
    finally:
        await client.close()


class _Transfers:
    """Writes each transfer as a row."""

    def __init__(self, source: str) -> None:
        self.source = source

    async def wanted(self, uow: UnitOfWork, chain: str) -> Sequence[LogFilter]:  # noqa: ARG002 - one token, one chain
        return [LogFilter(addresses=[EMITTER], topics=[TOKEN.topic("Transfer")])]

    def also_wanted(self, logs: Sequence[Log]) -> Sequence[LogFilter]:  # noqa: ARG002 - they create no contracts
        return []

    async def execute(self, uow: UnitOfWork, block: BlockRef, logs: Sequence[Log]) -> None:  # noqa: ARG002 - logs say it
        places = [(log.block_number, log.log_index) for log in logs]
        await _write(uow, self.source, places, [TOKEN.decode_event(log) for log in logs])

    async def unwind(self, uow: UnitOfWork, to_block: BlockRef) -> None:
        await uow.execute(
            "delete from transfers where source = %s and block_number > %s", (self.source, to_block.number)
        )

    async def on_head(self, uow: UnitOfWork, head: BlockRef) -> None:
        pass


async def _write(uow: UnitOfWork, source: str, places: list[tuple[int, int]], events: Sequence[Any]) -> None:
    args = [event.args for event in events]
    await uow.execute(
        _INSERT,
        (
            source,
            [number for number, _ in places],
            [index for _, index in places],
            [one["from"] for one in args],
            [one["to"] for one in args],
            [one["value"] for one in args],
        ),
    )


async def _followed(client: EvmClient, database: Database) -> float:
    follower = Follower("bench", client, database, SystemClock(), _Transfers("followed"))
    began = time.perf_counter()
    while await follower.follow_once():
        pass
    return BLOCKS * LOGS_EACH / (time.perf_counter() - began)


async def _bare(client: EvmClient, database: Database) -> float:
    wanted = LogFilter(addresses=[EMITTER], topics=[TOKEN.topic("Transfer")]).params()
    began = time.perf_counter()
    head = (await client.head()).number  # a busy node puts some transactions into one block
    for first in range(1, head + 1, WINDOW):
        place = {"fromBlock": hex(first), "toBlock": hex(min(first + WINDOW - 1, head))}
        logs = await client.call("eth_getLogs", [{**wanted, **place}])
        places = [(int(log["blockNumber"], 16), int(log["logIndex"], 16)) for log in logs]
        async with database.system("bench") as uow:
            await _write(uow, "bare", places, [TOKEN.decode_event(log) for log in logs])
    return BLOCKS * LOGS_EACH / (time.perf_counter() - began)


async def _check(database: Database) -> None:
    async with database.system("bench") as uow:
        rows = await uow.fetch("select source, count(*) as rows, sum(amount) as total from transfers group by source")
    whole = (BLOCKS * LOGS_EACH, BLOCKS * LOGS_EACH * (LOGS_EACH + 1) // 2)
    if {(row["rows"], int(row["total"])) for row in rows} != {whole} or len(rows) != 2:
        raise RuntimeError(f"not every log was written once: {rows}")
