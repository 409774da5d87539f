"""Transfers per second through the transaction engine, against the same raw bytes sent one by one to the same node.

The engine takes everything that waits in its queue to a recorded receipt: nonces, fees, ledger of digests, signatures,
sends, receipts, timeline and events, on a durable PostgreSQL; its clock runs from its start to the last receipt in the
database. The baseline sends what it signed over one kept-alive connection, waits for the answer to each and for the last
receipt, at the same state of the same chain; `baseline_at_once` does so over a connection for each account. Signatures come
from keys in this process: what custody adds to one is measured by `sign`.
"""

from __future__ import annotations

import asyncio
import json
import os
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import aiohttp
from coincurve import PrivateKey
from eth_account import Account
from eth_account.signers.local import LocalAccount

from benchmarks.figures import Figure, fresh_database
from benchmarks.machine import memory_mb
from lockstep.app.devnet.anvil import Anvil
from lockstep.chains.evm import (
    Address,
    ChainConfig,
    ChainRegistry,
    UnsignedTransaction,
    encode_signed,
    transaction_hash,
)
from lockstep.custody import SignedTransaction, TransactionIntent
from lockstep.kit.clock import SystemClock
from lockstep.kit.database import Database
from lockstep.kit.ids import AppId, WalletId, new_id
from lockstep.transactions import TransactionEngine, TransactionSender, evm_families

PHRASE = "test test test test test test test test test test test junk"
CHAIN_ID, ACCOUNTS = 31337, 20
SINK = Address("0x" + "5e" * 20)
TRANSFERS, WARM, LONG_RUN = 1_000, 1_000, 10_000
FEE_CEILING = 2_000 * 10**9
SECONDS_AT_MOST = 300.0


async def run() -> list[Figure]:
    Account.enable_unaudited_hdwallet_features()
    keys = [Account.from_mnemonic(PHRASE, account_path=f"m/44'/60'/0'/0/{index}") for index in range(ACCOUNTS)]
    async with fresh_database() as dsn, _bench(dsn, keys) as bench:
        await bench.transfer(WARM, keys[:1])  # statements are prepared, connections open
        one = await bench.compare("transactions", keys[:1], wanted={"value": 400, "ratio": 0.5})
        many = await bench.compare("transactions_20", keys, wanted={"ratio": 0.7})
        return [one, many, await bench.watch_memory(keys[:1])]


class _Signer:
    """Signs with keys in this process; the decision id ends with the index of the key."""

    def __init__(self, keys: Sequence[LocalAccount]) -> None:
        self._keys = [PrivateKey(bytes(key.key)) for key in keys]

    async def sign_transactions(self, items: list[tuple[str, UnsignedTransaction]]) -> Sequence[SignedTransaction]:
        return [self._sign(self._keys[int(decision.rsplit("-", 1)[1], 16)], tx) for decision, tx in items]

    async def list_released(self, *_: object) -> set[bytes]:
        """What a worker that died had signed; none dies here."""
        return set()

    async def release_decisions(self, *_: object) -> None:
        """Nothing here uses limits."""

    def _sign(self, key: PrivateKey, tx: UnsignedTransaction) -> SignedTransaction:
        digest = tx.digest()
        signature = key.sign_recoverable(digest, hasher=None)
        r, s = (int.from_bytes(part, "big") for part in (signature[:32], signature[32:64]))
        raw = encode_signed(tx, r, s, signature[64])
        return SignedTransaction(raw=raw, hash=transaction_hash(raw), digest=digest)


@dataclass
class _Bench:
    database: Database
    anvil: Anvil
    chains: ChainRegistry
    keys: Sequence[LocalAccount]

    async def compare(self, name: str, keys: Sequence[LocalAccount], wanted: dict[str, float]) -> Figure:
        """The engine and the bare sends, from the same state of the chain."""
        snapshot = await self.anvil.call("evm_snapshot")
        seconds, ids = await self.transfer(TRANSFERS, keys)
        raws = await self._raws(ids)
        await self.anvil.call("evm_revert", snapshot)
        again = await self.anvil.call("evm_snapshot")
        bare = await self._send_bare([[raw for lane in raws for raw in lane]])
        await self.anvil.call("evm_revert", again)
        parallel = await self._send_bare(raws)
        await self.anvil.call("anvil_reset")
        await self._forget()
        return Figure(
            name=name,
            value=TRANSFERS / seconds,
            unit="transfers/s",
            baseline=TRANSFERS / bare,
            ratio=bare / seconds,
            wanted=wanted,
            more={
                "accounts": len(keys),
                "transfers": TRANSFERS,
                "baseline_at_once": round(TRANSFERS / parallel, 3),
            },
        )

    async def watch_memory(self, keys: Sequence[LocalAccount]) -> Figure:
        """How much this process grows over many transactions, after the first of them."""
        await self.transfer(WARM, keys)
        before = memory_mb([os.getpid()])
        for _ in range(LONG_RUN // WARM):
            await self.transfer(WARM, keys)
        after = memory_mb([os.getpid()])
        return Figure(
            name="transactions_memory",
            value=after - before,
            unit="MB",
            baseline=before,
            ratio=before / after,
            wanted={"value": 10},
            more={"transfers": LONG_RUN},
        )

    async def transfer(self, count: int, keys: Sequence[LocalAccount]) -> tuple[float, list[str]]:
        """Queue transfers of these accounts in turns and run the engine until all have a receipt: seconds, ids."""
        app_id, wallet_id, clock = AppId(new_id()), WalletId(new_id()), SystemClock()
        sender = TransactionSender(self.chains, clock)
        ids = []
        async with self.database.tenant(app_id) as uow:
            for number in range(count):
                index = number % len(keys)
                intent = TransactionIntent(
                    app_id=app_id,
                    wallet_id=wallet_id,
                    chain=self.anvil.chain,
                    from_address=keys[index].address.lower(),
                    to=SINK,
                    value=1,
                    data=b"",
                    gas_limit=21_000,
                    idempotency_key=str(number),
                )
                queued = await sender.queue(uow, f"01900000-0000-7000-8000-{index:012x}", intent)
                ids.append(queued.id)
        signer, stop = _Signer(self.keys), asyncio.Event()
        families = evm_families(self.chains, self.database, signer, clock)
        engine = TransactionEngine(families, self.database, signer, clock)
        began = time.perf_counter()
        running = asyncio.create_task(engine.run(stop))
        async with self._mining(), asyncio.timeout(SECONDS_AT_MOST):
            while await self._open(app_id):
                await asyncio.sleep(0.01)
        seconds = time.perf_counter() - began
        stop.set()
        await running
        return seconds, ids

    async def _open(self, app_id: AppId) -> int:
        async with self.database.tenant(app_id) as uow:
            row = await uow.get(
                "select count(*) as open from transactions where app_id = %s"
                " and state not in ('mined', 'final', 'reverted_final')",
                (app_id,),
            )
        return int(row["open"])

    async def _raws(self, ids: list[str]) -> list[list[bytes]]:
        """What was signed, a list for each account, in the order of nonces."""
        found: dict[str, list[bytes]] = {}
        async with self.database.system("bench") as uow:
            rows = await uow.fetch(
                "select t.from_address, a.raw from transactions t"
                " join transaction_attempts a on a.transaction_id = t.id and a.attempt = 1"
                " where t.id = any(%s) order by t.nonce",
                (ids,),
            )
        for row in rows:
            found.setdefault(row["from_address"], []).append(bytes(row["raw"]))
        return list(found.values())

    async def _send_bare(self, lanes: list[list[bytes]]) -> float:
        """Seconds until the last one of these is sent and its receipt is there; a connection for each of the lists."""
        async with aiohttp.ClientSession() as session:

            async def ask(method: str, *params: object) -> object:
                body = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
                async with session.post(self.anvil.url, json=body) as response:
                    answer = json.loads(await response.read())
                if "error" in answer:
                    raise RuntimeError(f"the node refused: {answer['error']}")
                return answer["result"]

            async def send(lane: list[bytes]) -> None:
                for raw in lane:
                    sent = await ask("eth_sendRawTransaction", "0x" + raw.hex())
                while await ask("eth_getTransactionReceipt", sent) is None:
                    await asyncio.sleep(0.001)

            async with self._mining():
                began = time.perf_counter()
                await asyncio.gather(*(send(lane) for lane in lanes))
                return time.perf_counter() - began

    @asynccontextmanager
    async def _mining(self) -> AsyncIterator[None]:
        """Tell the node to mine when it leaves ready transactions in its pool, as an anvil that mines at once does under load."""

        async def look() -> None:
            last = None
            while True:
                await asyncio.sleep(0.25)
                seen = (await self.anvil.call("eth_blockNumber"), await self.anvil.call("txpool_status"))
                if seen == last and seen[1]["pending"] != "0x0":
                    await self.anvil.call("evm_mine")
                last = seen

        looking = asyncio.create_task(look())
        try:
            yield
        finally:
            looking.cancel()
            await asyncio.gather(looking, return_exceptions=True)

    async def _forget(self) -> None:
        """The chain began anew; so do the nonces."""
        async with self.database.system("bench") as uow:
            await uow.execute("delete from signed_digests")
            await uow.execute("delete from nonce_reservations")
            await uow.execute("update transactions set state = 'dropped', due_at = null where due_at is not null")


@asynccontextmanager
async def _bench(dsn: str, keys: Sequence[LocalAccount]) -> AsyncIterator[_Bench]:
    database = Database(dsn, name="bench")
    await database.open()
    with tempfile.TemporaryDirectory(prefix="lockstep-bench-") as folder:
        async with Anvil(Path(folder) / "anvil", chain_id=CHAIN_ID, mnemonic=PHRASE, accounts=ACCOUNTS) as anvil:
            config = ChainConfig(
                chain=anvil.chain,
                chain_id=CHAIN_ID,
                name="Bench",
                rpc_urls=[anvil.url],
                finality_blocks=2,
                block_seconds=1.0,
                max_fee_per_gas=FEE_CEILING,
            )
            chains = ChainRegistry([config])
            try:
                yield _Bench(database, anvil, chains, keys)
            finally:
                await chains.close()
                await database.close()
