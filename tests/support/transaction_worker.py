"""A worker with nothing but the transaction engine, for tests that kill it: `… <dsn> <node url> <chain id>`."""

from __future__ import annotations

import asyncio
import sys

from tests.support.transactions import Keys, evm_engine

from lockstep.chains.evm import ChainConfig, ChainRegistry
from lockstep.kit.clock import SystemClock
from lockstep.kit.database import Database
from lockstep.transactions import EngineSettings

SETTINGS = EngineSettings(resend_seconds=0.3, replace_after_blocks=3)


async def main(dsn: str, url: str, chain_id: int) -> None:
    database = Database(dsn, name="killed worker")
    await database.open()
    chains = ChainRegistry(
        [
            ChainConfig(
                chain=f"eip155:{chain_id}",
                chain_id=chain_id,
                name="Local",
                rpc_urls=[url],
                finality_blocks=2,
                block_seconds=0.2,
                max_fee_per_gas=10**12,
            )
        ]
    )
    await evm_engine(database, chains, Keys(), SystemClock(), SETTINGS).run(asyncio.Event())


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3])))
