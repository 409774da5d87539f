"""The client of one chain: batched JSON-RPC over HTTP, typed reads at one block, sends.

Which node answers is the business of `nodes`. Does not sign, retry for ever or keep state of its own.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from lockstep.chains.evm.config import ChainConfig
from lockstep.chains.evm.errors import CallReverted, NodeError, NodeUnavailable
from lockstep.chains.evm.fees import SPEED_PERCENTILES, FeeMarket, market_of_gas_price, market_of_history
from lockstep.chains.evm.heads import HeadTracker
from lockstep.chains.evm.logs import LogReader
from lockstep.chains.evm.nodes import Call, NodePool, RpcFault
from lockstep.chains.evm.outcomes import SendOutcome, SendResult, best_send, classify_send
from lockstep.chains.evm.profiles import FeeStyle, FinalityTag
from lockstep.chains.evm.types import Address, BlockRef, Hash32
from lockstep.chains.evm.views import ViewReader, block_param
from lockstep.chains.evm.wire import (
    FeeHistory,
    Header,
    Receipt,
    read_fee_history,
    read_header,
    read_receipt,
    to_bytes,
    to_hex,
    to_int,
)

MAX_BATCH_BYTES = 1 << 20
"""Of the parameters of one HTTP request; common nodes read 2 to 5 MiB, and refuse what is larger as a whole."""


class EvmClient:
    """Reads and sends on one chain. Safe to share between tasks of one event loop."""

    def __init__(self, config: ChainConfig) -> None:
        self.config = config
        self.chain = config.chain
        self._private: NodePool | None = None
        if config.private_rpc_url is not None:  # made first: the gauge of usable nodes is that of the public ones
            self._private = NodePool(replace(config, rpc_urls=(config.private_rpc_url,), read_quorum=1))
        self._nodes = NodePool(config)
        self._views = ViewReader()
        self.logs = LogReader(config, self._nodes)
        self.heads = HeadTracker(config, self.head_header)
        """The head as all who watch it in this process share it."""
        self._tagged: tuple[Hash32, int] | None = None
        """Head, and the number of the block that had the finality tag then."""

    async def close(self) -> None:
        """Close the connections; a later call opens new ones."""
        await self._nodes.close()
        if self._private is not None:
            await self._private.close()

    # --- raw ----------------------------------------------------------------------------------------------------------

    async def call(self, method: str, params: Sequence[Any] = ()) -> Any:
        """One JSON-RPC call.

        Raises:
            NodeUnavailable: no node answered. NodeError: it answered with an error. CallReverted: with a revert.
        """
        answer = (await self.batch([(method, params)]))[0]
        if isinstance(answer, RpcFault):
            raise answer.error()
        return answer

    async def batch(self, calls: Sequence[Call]) -> list[Any | RpcFault]:
        """Many calls in few HTTP requests, each within `batch_size` and `MAX_BATCH_BYTES`; answers in the order of the
        calls, faults in their place.

        The calls do not share a block unless each of them names one.

        Raises:
            NodeUnavailable: no node answered in time.
            WrongChain: a node that serves another chain.
        """
        answers: list[Any | RpcFault] = []
        for part in self._parts(calls):
            answers.extend(await self._nodes.ask(part))
        return answers

    async def agreed(self, calls: Sequence[Call]) -> list[Any | RpcFault]:
        """As `batch`, but what money depends on: `ChainConfig.read_quorum` nodes must say the same. Each call must name its
        block, by its hash or as a number that is final.

        Raises:
            NodesDisagree: too few of them do. NodeUnavailable, WrongChain.
        """
        answers: list[Any | RpcFault] = []
        for part in self._parts(calls):
            answers.extend(await self._nodes.ask_agreed(part, self.config.read_quorum))
        return answers

    async def check_chain_id(self) -> None:
        """Ask every node that answers for its chain id.

        Raises:
            NodeUnavailable: none answers. WrongChain: one serves another chain.
        """
        await self._nodes.verify_all()

    # --- blocks -------------------------------------------------------------------------------------------------------

    async def head(self) -> BlockRef:
        """The newest block. The one place where "latest" is asked for; reads of a cycle name the block."""
        return (await self.head_header()).ref

    async def head_header(self) -> Header:
        """The newest block with parent and base fee."""
        raw = await self.call("eth_getBlockByNumber", ["latest", False])
        if raw is None:
            raise NodeError("the node knows no block")
        return read_header(self.chain, raw)

    async def find_header(self, block: int | Hash32 | str) -> Header | None:
        """A canonical block by number, or any block by hash, or by tag ("finalized", "safe"); None when the node has none."""
        method, key = ("eth_getBlockByHash", to_hex(block)) if isinstance(block, bytes) else _by_number(block)
        raw = await self.call(method, [key, False])
        return None if raw is None else read_header(self.chain, raw)

    async def find_block(self, block: int | Hash32 | str) -> BlockRef | None:
        """As `find_header`, the reference only."""
        header = await self.find_header(block)
        return None if header is None else header.ref

    async def block(self, block: int | Hash32 | str) -> BlockRef:
        """As `find_block`, but it must exist.

        Raises:
            NodeError: the node does not have it (yet).
        """
        found = await self.find_block(block)
        if found is None:
            raise NodeError("the node does not have this block")
        return found

    async def headers(self, numbers: Sequence[int], *, agreed: bool = False) -> list[Header | None]:
        """Canonical blocks by number, in one batch; None for numbers above the head.

        Args:
            agreed: money depends on it, and the blocks are final (see `agreed`).
        """
        ask = self.agreed if agreed else self.batch
        answers = await ask([("eth_getBlockByNumber", [to_hex(number), False]) for number in numbers])
        return [None if raw is None else read_header(self.chain, raw) for raw in self._all(answers)]

    async def final_number(self, head: BlockRef) -> int:
        """Highest block number that is final below this head; -1 when none is. With a finality tag it is asked for once per
        head; it counts as high as `read_quorum` nodes say.

        Raises:
            NodeUnavailable, NodeError.
        """
        deep = head.number - self.config.finality_blocks
        if self.config.finality_tag is None:
            return max(deep, -1)
        if self._tagged is None or self._tagged[0] != head.hash:
            self._tagged = (head.hash, await self._tagged_number(self.config.finality_tag))
        return max(min(deep, self._tagged[1]), -1)

    async def _tagged_number(self, tag: FinalityTag) -> int:
        """Number that at least `read_quorum` nodes give this name or have passed with it; -1 when there is none."""
        if self.config.read_quorum == 1:
            found = await self.find_block(tag)
            return -1 if found is None else found.number
        answers, _ = await self._nodes.ask_all([("eth_getBlockByNumber", [tag, False])])
        numbers = [to_int(raw["number"]) for (raw,) in answers if raw is not None and not isinstance(raw, RpcFault)]
        numbers.sort(reverse=True)
        return numbers[self.config.read_quorum - 1] if len(numbers) >= self.config.read_quorum else -1

    # --- reads at a block ---------------------------------------------------------------------------------------------

    async def eth_call(
        self,
        to: Address | None,
        data: bytes,
        block: BlockRef,
        *,
        sender: Address | None = None,
        value: int = 0,
        gas: int | None = None,
    ) -> bytes:
        """Result of a call at a block.

        Args:
            gas: the most that it may use; None: what the node allows.
        Raises:
            CallReverted: with the decoded reason. NodeError: the block is gone or not there yet.
        """
        raw = await self.call("eth_call", [_call_object(to, data, sender, value, gas), block_param(block)])
        return to_bytes(raw)

    async def calls(
        self, calls: Sequence[tuple[Address, bytes]], block: BlockRef, *, agreed: bool = False
    ) -> list[bytes | CallReverted]:
        """Many view calls, all at the same block, in a handful of requests; a revert is returned in its place.

        Args:
            agreed: money depends on it, so several nodes must say the same (see `agreed`).
        Raises:
            NodeError: the block is gone or not there yet, or a call cannot be answered at all.
        """
        return await self._views.read(calls, block, self.agreed if agreed else self.batch)

    async def balance(self, address: Address, block: BlockRef) -> int:
        """Native balance in wei at a block."""
        return to_int(await self.call("eth_getBalance", [address, block_param(block)]))

    async def balances(self, addresses: Sequence[Address], block: BlockRef) -> list[int]:
        """Native balances in wei at a block."""
        at = block_param(block)
        answers = await self.batch([("eth_getBalance", [address, at]) for address in addresses])
        return [to_int(answer) for answer in self._all(answers)]

    async def nonces(self, addresses: Sequence[Address], block: BlockRef) -> list[int]:
        """Next nonce to be mined, per address, at a block."""
        at = block_param(block)
        answers = await self.batch([("eth_getTransactionCount", [address, at]) for address in addresses])
        return [to_int(answer) for answer in self._all(answers)]

    async def code(self, address: Address, block: BlockRef) -> bytes:
        """Code of a contract at a block; empty for an account."""
        return to_bytes(await self.call("eth_getCode", [address, block_param(block)]))

    # --- fees and transactions ----------------------------------------------------------------------------------------

    async def fee_history(self, blocks: int = 10, percentiles: Sequence[int] = SPEED_PERCENTILES) -> FeeHistory:
        """Base fees and tips of the last blocks; wei."""
        return read_fee_history(await self.call("eth_feeHistory", [to_hex(blocks), "latest", list(percentiles)]))

    async def fee_market(self) -> FeeMarket:
        """What this chain asks for its gas now, by the fee style of its settings.

        Raises:
            NodeUnavailable, NodeError.
        """
        floor = self.config.min_priority_fee_per_gas
        if self.config.fee_style is FeeStyle.LEGACY:
            return market_of_gas_price(to_int(await self.call("eth_gasPrice")), floor)
        return market_of_history(await self.fee_history(), floor)

    async def estimate_gas(
        self, sender: Address, to: Address | None, data: bytes, value: int, block: BlockRef | None = None
    ) -> int:
        """Gas that a transaction would need at a block (default: the node's own newest state).

        Raises:
            CallReverted: it would fail.
        """
        params: list[Any] = [_call_object(to, data, sender, value)]
        if block is not None:
            params.append(to_hex(block.number))  # nodes take numbers here; not all take EIP-1898 hashes
        return to_int(await self.call("eth_estimateGas", params))

    async def send_raw(self, raw: bytes) -> SendResult:
        """Hand a raw transaction to a node. Sending the same bytes again is harmless."""
        return (await self.send_many([raw]))[0]

    async def send_many(self, raws: Sequence[bytes], *, private: bool = False) -> list[SendResult]:
        """Hand raw transactions over in this order, to every node. Never raises for a single refused one.

        Args:
            private: to the private node of the chain and to no other.
        Returns:
            For each the most hopeful of the nodes' answers: one pool that has it is enough.
        Raises:
            NodeUnavailable: no node answered, or there is no private one: the outcome of all of them is unknown.
        """
        nodes = self._private if private else self._nodes
        if nodes is None:
            raise NodeUnavailable(f"{self.config.name} has no private node", chain=self.chain)
        results: list[SendResult] = []
        for part in self._parts([("eth_sendRawTransaction", [to_hex(raw)]) for raw in raws]):
            by_node, silent = await nodes.ask_all(part)
            # A node that did not answer may have the bytes nevertheless.
            unheard = [SendResult(SendOutcome.UNKNOWN)] * min(silent, 1)
            results.extend(best_send([*map(_send_result, answers), *unheard]) for answers in zip(*by_node, strict=True))
        return results

    async def receipts(self, hashes: Sequence[Hash32]) -> list[Receipt | None]:
        """Receipts by transaction hash; None for what is not mined."""
        answers = await self.batch([("eth_getTransactionReceipt", [to_hex(one)]) for one in hashes])
        return [None if raw is None else read_receipt(raw) for raw in self._all(answers)]

    async def receipts_as_of(self, hashes: Sequence[Hash32], block: BlockRef) -> list[Receipt | None]:
        """Receipts of a few transactions from a node that has this block, asked for both in one batch: None says that the
        transaction is not mined up to there, and not that the node is behind.

        Raises:
            NodeError: the node does not have the block.
        """
        calls = [("eth_getTransactionReceipt", [to_hex(one)]) for one in hashes]
        known, *answers = self._all(await self.batch([("eth_getBlockByHash", [to_hex(block.hash), False]), *calls]))
        if known is None:
            raise NodeError(f"the node does not have the block {block.number}")
        return [None if raw is None else read_receipt(raw) for raw in answers]

    async def find_transaction(self, transaction_hash: Hash32) -> dict[str, Any] | None:
        """A transaction that the node knows, mined or in its pool, as the node writes it."""
        found = await self.call("eth_getTransactionByHash", [to_hex(transaction_hash)])
        return dict(found) if found else None

    def _parts(self, calls: Sequence[Call]) -> Iterator[Sequence[Call]]:
        """The calls in the pieces in which they are asked."""
        start = size = 0
        for number, (_, params) in enumerate(calls):
            length = len(json.dumps(params))
            if number > start and (number - start == self.config.batch_size or size + length > MAX_BATCH_BYTES):
                yield calls[start:number]
                start, size = number, 0
            size += length
        if calls:
            yield calls[start:]

    # --- answers -----------------------------------------------------------------------------------------------------

    def _all(self, answers: list[Any | RpcFault]) -> list[Any]:
        for answer in answers:
            if isinstance(answer, RpcFault):
                raise answer.error()
        return answers


def _send_result(answer: Any | RpcFault) -> SendResult:
    if isinstance(answer, RpcFault):
        return SendResult(classify_send(answer.message), answer.message[:200])
    return SendResult(SendOutcome.ACCEPTED)


def _by_number(block: int | str) -> tuple[str, str]:
    if isinstance(block, str) and block not in ("finalized", "safe", "earliest"):
        raise ValueError(f"expected a number, a hash, finalized or safe, was {block!r}")
    return "eth_getBlockByNumber", block if isinstance(block, str) else to_hex(block)


def _call_object(
    to: Address | None, data: bytes, sender: Address | None, value: int, gas: int | None = None
) -> dict[str, str]:
    members = {"data": to_hex(data)}
    if to is not None:
        members["to"] = to
    if sender is not None:
        members["from"] = sender
    if value:
        members["value"] = to_hex(value)
    if gas is not None:
        members["gas"] = to_hex(gas)
    return members
