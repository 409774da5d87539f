"""The client of one chain: batched JSON-RPC over HTTP with timeouts and failover, typed reads at one block, sends.

Every node must say the configured chain id before its first answer counts. Does not sign, retry for ever or keep state
beyond which node answered last.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import aiohttp
import structlog
from prometheus_client import Counter

from lockstep.chains.evm.abi import decode_revert
from lockstep.chains.evm.config import ChainConfig
from lockstep.chains.evm.errors import CallReverted, NodeError, NodeUnavailable, WrongChain
from lockstep.chains.evm.outcomes import SendOutcome, SendResult, classify_send, is_busy, printable, revert_data
from lockstep.chains.evm.types import Address, BlockRef, Hash32
from lockstep.chains.evm.wire import (
    FeeHistory,
    Header,
    Log,
    LogFilter,
    Receipt,
    read_fee_history,
    read_header,
    read_log,
    read_receipt,
    to_bytes,
    to_hex,
    to_int,
)

log = structlog.get_logger(__name__)

_requests = Counter("lockstep_node_requests", "HTTP requests to nodes by outcome", ["chain", "outcome"])

Call = tuple[str, Sequence[Any]]
MAX_BATCH_BYTES = 1 << 20
"""Of the parameters of one HTTP request; common nodes read 2 to 5 MiB, and refuse what is larger as a whole."""


@dataclass(frozen=True, slots=True)
class RpcFault:
    """One call of a batch that the node refused."""

    code: int
    message: str
    data: object = None

    def error(self) -> CallReverted | NodeError:
        """The exception that stands for it."""
        found = revert_data(self.code, self.message, self.data)
        if found is None:
            return NodeError(f"the node answered: {self.message[:200]}", self.code)
        return CallReverted(decode_revert(found) if found else _halt_reason(self.message), found)


class _TryNext(Exception):
    """This node did not answer; another one may."""


class EvmClient:
    """Reads and sends on one chain. Safe to share between tasks of one event loop."""

    def __init__(self, config: ChainConfig) -> None:
        self.config = config
        self.chain = config.chain
        self._session: aiohttp.ClientSession | None = None
        self._preferred = 0
        self._verified: set[str] = set()

    async def close(self) -> None:
        """Close the connections; a later call opens new ones."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()

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
        for part in _parts(calls, self.config.batch_size):
            answers.extend(await self._post(part))
        return answers

    async def check_chain_id(self) -> None:
        """Ask every node that answers for its chain id.

        Raises:
            NodeUnavailable: none answers. WrongChain: one serves another chain.
        """
        answered = 0
        for url in self.config.rpc_urls:
            try:
                await self._verify(url)
                answered += 1
            except _TryNext:
                continue
        if not answered:
            raise self._unavailable()

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

    async def headers(self, numbers: Sequence[int]) -> list[Header | None]:
        """Canonical blocks by number, in one batch; None for numbers above the head."""
        answers = await self.batch([("eth_getBlockByNumber", [to_hex(number), False]) for number in numbers])
        return [None if raw is None else read_header(self.chain, raw) for raw in self._all(answers)]

    def final_number(self, head: BlockRef) -> int:
        """Highest block number that is final below this head; -1 when none is."""
        return max(head.number - self.config.finality_blocks, -1)

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

    async def calls(self, calls: Sequence[tuple[Address, bytes]], block: BlockRef) -> list[bytes | CallReverted]:
        """Many calls, all at the same block; a revert is returned in its place."""
        at = block_param(block)
        answers = await self.batch([("eth_call", [_call_object(to, data, None, 0), at]) for to, data in calls])
        results: list[bytes | CallReverted] = []
        for answer in answers:
            if isinstance(answer, RpcFault):
                error = answer.error()
                if not isinstance(error, CallReverted):
                    raise error
                results.append(error)
            else:
                results.append(to_bytes(answer))
        return results

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

    async def logs(self, wanted: LogFilter, from_block: int, to_block: int) -> list[Log]:
        """Logs of a range of canonical blocks, both ends included, in the order of the chain."""
        return (await self.logs_up_to(wanted, from_block, to_block))[0]

    async def logs_up_to(self, wanted: LogFilter, from_block: int, to_block: int) -> tuple[list[Log], Header]:
        """Logs of a range, and the last block of the range as the same node saw it in the same batch: when its hash is
        the expected one, the logs are those of that branch.

        Raises:
            NodeError: the node does not have the last block.
        """
        filter_ = {**wanted.params(), "fromBlock": to_hex(from_block), "toBlock": to_hex(to_block)}
        answers = self._all(
            await self.batch([("eth_getLogs", [filter_]), ("eth_getBlockByNumber", [to_hex(to_block), False])])
        )
        if answers[1] is None:
            raise NodeError(f"the node does not have the block {to_block}")
        found = sorted((read_log(raw) for raw in answers[0]), key=lambda entry: (entry.block_number, entry.log_index))
        return found, read_header(self.chain, answers[1])

    # --- fees and transactions ----------------------------------------------------------------------------------------

    async def fee_history(self, blocks: int = 10, percentiles: Sequence[int] = (20, 50)) -> FeeHistory:
        """Base fees and tips of the last blocks; wei."""
        return read_fee_history(await self.call("eth_feeHistory", [to_hex(blocks), "latest", list(percentiles)]))

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

    async def send_many(self, raws: Sequence[bytes]) -> list[SendResult]:
        """Hand raw transactions over in this order, in one batch. Never raises for a single refused one.

        Raises:
            NodeUnavailable: no node answered: the outcome of all of them is unknown.
        """
        answers = await self.batch([("eth_sendRawTransaction", [to_hex(raw)]) for raw in raws])
        return [
            SendResult(classify_send(answer.message), answer.message[:200])
            if isinstance(answer, RpcFault)
            else SendResult(SendOutcome.ACCEPTED)
            for answer in answers
        ]

    async def receipts(self, hashes: Sequence[Hash32]) -> list[Receipt | None]:
        """Receipts by transaction hash; None for what is not mined."""
        answers = await self.batch([("eth_getTransactionReceipt", [to_hex(one)]) for one in hashes])
        return [None if raw is None else read_receipt(raw) for raw in self._all(answers)]

    async def find_transaction(self, transaction_hash: Hash32) -> dict[str, Any] | None:
        """A transaction that the node knows, mined or in its pool, as the node writes it."""
        found = await self.call("eth_getTransactionByHash", [to_hex(transaction_hash)])
        return dict(found) if found else None

    # --- transport ----------------------------------------------------------------------------------------------------

    def _all(self, answers: list[Any | RpcFault]) -> list[Any]:
        for answer in answers:
            if isinstance(answer, RpcFault):
                raise answer.error()
        return answers

    async def _post(self, calls: Sequence[Call]) -> list[Any | RpcFault]:
        urls = self.config.rpc_urls
        for step in range(len(urls)):
            index = (self._preferred + step) % len(urls)
            try:
                if urls[index] not in self._verified:
                    await self._verify(urls[index])
                answers = await self._exchange(urls[index], calls)
            except _TryNext as reason:
                log.warning("node_skipped", chain=self.chain, node=index, reason=str(reason))
                continue
            self._preferred = index
            return answers
        raise self._unavailable()

    async def _verify(self, url: str) -> None:
        answer = (await self._exchange(url, [("eth_chainId", [])]))[0]
        if isinstance(answer, RpcFault):
            raise _TryNext(answer.message[:200])
        if to_int(answer) != self.config.chain_id:
            raise WrongChain(
                f"{self.config.name}: expected a node of chain {self.config.chain_id}, was {to_int(answer)}",
                chain=self.chain,
            )
        self._verified.add(url)

    async def _exchange(self, url: str, calls: Sequence[Call]) -> list[Any | RpcFault]:
        """One HTTP request to one node. Raises _TryNext when the node did not do its part."""
        body = [
            {"jsonrpc": "2.0", "id": number, "method": method, "params": list(params)}
            for number, (method, params) in enumerate(calls)
        ]
        try:
            async with self._open_session().post(
                url, data=json.dumps(body[0] if len(body) == 1 else body), headers={"Content-Type": "application/json"}
            ) as response:
                text = await response.read()
                if response.status == 429 or response.status >= 500:
                    raise _TryNext(f"HTTP status {response.status}")
            answers = _match(json.loads(text), len(calls))
        except (aiohttp.ClientError, TimeoutError, ValueError, OSError) as error:
            self._verified.discard(url)  # it may come back as something else
            _requests.labels(self.chain, "failed").inc()
            raise _TryNext(type(error).__name__) from error
        _requests.labels(self.chain, "answered").inc()
        if len(self.config.rpc_urls) > 1 and any(
            isinstance(a, RpcFault) and is_busy(a.code, a.message) for a in answers
        ):
            raise _TryNext("the node is busy or behind")
        return answers

    def _open_session(self) -> aiohttp.ClientSession:
        if self._session is None or self._session.closed:
            self._session = aiohttp.ClientSession(
                timeout=aiohttp.ClientTimeout(total=self.config.request_seconds, connect=2.0),
                connector=aiohttp.TCPConnector(limit=32),
            )
        return self._session

    def _unavailable(self) -> NodeUnavailable:
        return NodeUnavailable(f"no node of {self.config.name} ({self.chain}) answered", chain=self.chain)


def block_param(block: BlockRef) -> dict[str, object]:
    """A block by hash (EIP-1898), so that a reorganisation is an error and not a silent change of state."""
    return {"blockHash": to_hex(block.hash), "requireCanonical": True}


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


def _parts(calls: Sequence[Call], most: int) -> Iterator[Sequence[Call]]:
    """The calls in the pieces in which they are asked."""
    start = size = 0
    for number, (_, params) in enumerate(calls):
        length = len(json.dumps(params))
        if number > start and (number - start == most or size + length > MAX_BATCH_BYTES):
            yield calls[start:number]
            start, size = number, 0
        size += length
    if calls:
        yield calls[start:]


def _match(content: Any, count: int) -> list[Any | RpcFault]:
    """Answers by id; a batch may come in any order. Raises ValueError when it is not an answer to our calls."""
    entries = content if isinstance(content, list) else [content]
    if len(entries) == 1 and count > 1:
        raise ValueError("the node does not take batches of this size")
    answers: list[Any | RpcFault] = [None] * count
    seen: set[int] = set()
    for entry in entries:
        number = entry.get("id") if isinstance(entry, dict) else None
        if not isinstance(number, int) or not 0 <= number < count or number in seen:
            raise ValueError("an answer that does not belong to a call")
        seen.add(number)
        error = entry.get("error")
        if error is None:
            answers[number] = entry.get("result")
        else:
            message = printable(str(error.get("message", "")))  # repeats what a contract said
            answers[number] = RpcFault(int(error.get("code", 0)), message, error.get("data"))
    if len(seen) != count:
        raise ValueError("an answer is missing")
    return answers


def _halt_reason(message: str) -> str:
    return message.removeprefix("execution reverted: ").removeprefix("execution reverted")[:200] or decode_revert(b"")
