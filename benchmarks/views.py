"""2,000 view calls at one block of a local node, through the multicall, against JSON-RPC batches of the same calls."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from statistics import median

from prometheus_client import REGISTRY

from benchmarks.figures import Figure
from lockstep.app.devnet.anvil import Anvil
from lockstep.app.devnet.contracts import TOKEN_A, deploy_contracts
from lockstep.chains.evm import BlockRef, ChainConfig, EvmClient, abi_encode_call
from lockstep.chains.evm.views import View

CALLS, ROUNDS = 2_000, 7


async def run() -> list[Figure]:
    with tempfile.TemporaryDirectory(prefix="lockstep-bench-") as folder:
        async with Anvil(Path(folder), chain_id=31337) as anvil:
            client = EvmClient(_config(anvil, "eip155:31337"))
            deployment = await deploy_contracts(anvil, TOKEN_A)
            views = [
                (deployment.token.address, abi_encode_call("balanceOf(address)", [f"0x{number:040x}"]))
                for number in range(1, CALLS + 1)
            ]
            try:
                head = await client.head()
                await client.calls(views, head)  # the connection, and whether the chain has a multicall
                baseline = median([await _batched(client, views, head) for _ in range(ROUNDS)])
                before = _requests()
                seconds = median([await _together(client, views, head) for _ in range(ROUNDS)])
                requests = (_requests() - before) / ROUNDS
            finally:
                await client.close()
    return [
        Figure(
            name="views",
            value=seconds,
            unit="s",
            baseline=baseline,
            ratio=baseline / seconds,
            wanted={"value": 0.3, "requests": 5},
            more={"calls": CALLS, "requests": requests},
        )
    ]


def _config(anvil: Anvil, chain: str) -> ChainConfig:
    return ChainConfig(
        chain=chain,
        chain_id=anvil.chain_id,
        name="Bench",
        rpc_urls=[anvil.url],
        finality_blocks=2,
        block_seconds=1.0,
        max_fee_per_gas=10**12,
    )


def _requests() -> float:
    labels = {"chain": "eip155:31337", "node": "0", "outcome": "answered"}
    return REGISTRY.get_sample_value("lockstep_node_requests_total", labels) or 0.0


async def _together(client: EvmClient, views: list[View], head: BlockRef) -> float:
    began = time.perf_counter()
    results = await client.calls(views, head)
    took = time.perf_counter() - began
    if results != [bytes(32)] * CALLS:
        raise RuntimeError("a call did not give what it should")
    return took


async def _batched(client: EvmClient, views: list[View], head: BlockRef) -> float:
    """The same without the multicall."""
    at = {"blockHash": "0x" + head.hash.hex(), "requireCanonical": True}
    began = time.perf_counter()
    answers = await client.batch([("eth_call", [{"to": to, "data": "0x" + data.hex()}, at]) for to, data in views])
    results = [bytes.fromhex(answer[2:]) for answer in answers]
    took = time.perf_counter() - began
    if results != [bytes(32)] * CALLS:
        raise RuntimeError("a call did not give what it should")
    return took
