"""The nodes of one chain: who is asked, and what happens when a node is slow, silent, behind, or another chain's.

One node is asked as long as it answers, so that the reads of a cycle see one view. When it takes unusually long a second
one is asked beside it and the first answer counts (a hedged read); a node that fails is left alone for a while that grows
with each failure (its circuit opens), and one whose head lies behind the others' is asked last. Signed bytes go to all.
A reading that money depends on can demand that several nodes give the same answer.
Does not know what the calls mean, except the newest block, by which nodes are compared.
"""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import aiohttp
import structlog
from prometheus_client import Counter, Gauge

from lockstep.chains.evm.abi import decode_revert
from lockstep.chains.evm.config import ChainConfig
from lockstep.chains.evm.errors import CallReverted, NodeError, NodesDisagree, NodeUnavailable, WrongChain
from lockstep.chains.evm.outcomes import is_busy, printable, revert_data
from lockstep.chains.evm.wire import to_int

log = structlog.get_logger(__name__)

_requests = Counter("lockstep_node_requests", "HTTP requests to nodes by outcome", ["chain", "node", "outcome"])
_disbelieved = Counter(
    "lockstep_node_contradictions", "Answers that contradict the node's own blocks or heads", ["chain", "node"]
)
_head = Gauge("lockstep_node_head", "Newest block that a node has shown", ["chain", "node"])
_state = Gauge("lockstep_node_state", "0: in use, 1: behind the others, 2: failing and left alone", ["chain", "node"])
_usable = Gauge("lockstep_nodes_usable", "Nodes whose circuit is closed and whose head is not behind", ["chain"])

Call = tuple[str, Sequence[Any]]


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


Answers = list[Any | RpcFault]

_FIRST_PAUSE, _LONGEST_PAUSE = 0.5, 30.0
"""Seconds for which a failing node is left alone: doubled with each failure, shortened by up to half at random so that
many processes do not come back at once."""
_LEAST_HEDGE = 0.25
_HEDGE_FACTOR = 4.0
_REMEMBERED = 64
_BLOCKS_BEHIND = 3
"""A node this far behind the newest head that any node has shown is asked last."""
_LATEST: Call = ("eth_getBlockByNumber", ("latest", False))


class _Faulty(Exception):
    """This node did not do its part; another one may."""


class Disbelieved(_Faulty):
    """What this node says contradicts itself."""


Check = Callable[[Answers, Callable[[Sequence[Call]], Awaitable[Answers]]], Awaitable[None]]
"""Looks at a node's answers, and may ask the same node for more; raises `Disbelieved` when they cannot be true."""


@dataclass(slots=True)
class Node:
    """What is known of one node. Times are those of the event loop, seconds."""

    index: int
    url: str = field(repr=False)
    is_verified: bool = False
    """It has said the configured chain id since it last failed."""
    failures: int = 0
    """In a row."""
    shut_until: float = 0.0
    latency: float = 0.0
    """Usual time of an answer, a moving average; 0 before the first."""
    head: int = -1
    heads: dict[int, str] = field(default_factory=dict)
    """Hashes of the newest heads that it has shown, by number."""

    def failed(self, now: float) -> None:
        self.is_verified = False  # it may come back as something else
        pause = min(_LONGEST_PAUSE, _FIRST_PAUSE * 2.0 ** min(self.failures, 10))
        self.failures += 1
        self.shut_until = now + pause * random.uniform(0.5, 1.0)

    def answered(self, took: float) -> None:
        self.failures, self.shut_until = 0, 0.0
        self.latency = took if self.latency == 0.0 else 0.8 * self.latency + 0.2 * took


class NodePool:
    """Sends batches of calls to the nodes of one chain. For use by one event loop."""

    def __init__(self, config: ChainConfig) -> None:
        self._config = config
        self._nodes = [Node(index, url) for index, url in enumerate(config.rpc_urls)]
        self._current = 0
        self._session: aiohttp.ClientSession | None = None
        self._compared_at = float("-inf")
        self._comparing: asyncio.Task[None] | None = None
        _usable.labels(config.chain).set(len(self._nodes))

    async def close(self) -> None:
        """Close the connections; a later call opens new ones."""
        comparing, self._comparing = self._comparing, None
        if comparing is not None:
            comparing.cancel()
            await asyncio.gather(comparing, return_exceptions=True)
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    # --- asking -------------------------------------------------------------------------------------------------------

    async def ask(self, calls: Sequence[Call], check: Check | None = None) -> Answers:
        """The answers of one node, in the order of the calls.

        Args:
            check: what has to hold for them; a node whose answers do not pass is left alone and the next one is asked.
        Raises:
            NodeUnavailable: none answered in time. NodeError: none gave answers that hold. WrongChain: one serves another
            chain. What `check` raises.
        """
        self._compare_when_due()
        candidates = self._by_preference()
        disbelieved: Disbelieved | None = None
        running: dict[asyncio.Task[Answers], Node] = {}
        try:
            while candidates or running:
                if candidates and (not running or await self._is_slow(running)):
                    node = candidates.pop(0)
                    running[asyncio.create_task(self._ask_one(node, calls, check))] = node
                    continue
                done, _ = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
                for task in done:
                    node = running.pop(task)
                    try:
                        answers = task.result()
                    except _Faulty as reason:
                        log.warning("node_skipped", chain=self._config.chain, node=node.index, reason=str(reason))
                        disbelieved = reason if isinstance(reason, Disbelieved) else disbelieved
                        continue
                    self._current = node.index
                    return answers
        finally:
            await _cancel(running)
        if disbelieved is not None:
            raise NodeError(f"no node of {self._config.name} gives an answer that holds: {disbelieved}")
        raise self._unavailable()

    async def ask_all(self, calls: Sequence[Call]) -> tuple[list[Answers], int]:
        """The answers of each node that answers, the preferred one's first, and how many nodes did not.

        Raises:
            NodeUnavailable: none did. WrongChain.
        """
        nodes = self._by_preference()
        results = await asyncio.gather(*(self._ask_one(node, calls) for node in nodes), return_exceptions=True)
        answered: list[Answers] = []
        for node, result in zip(nodes, results, strict=True):
            if isinstance(result, _Faulty):
                log.warning("node_skipped", chain=self._config.chain, node=node.index, reason=str(result))
            elif isinstance(result, BaseException):
                raise result
            else:
                answered.append(result)
        if not answered:
            raise self._unavailable()
        return answered, len(nodes) - len(answered)

    async def ask_agreed(self, calls: Sequence[Call], quorum: int) -> Answers:
        """Answers that at least `quorum` nodes give alike, for calls that each name their block by its hash.

        Raises:
            NodesDisagree: too few nodes say the same. NodeUnavailable, WrongChain.
        """
        if quorum <= 1:
            return await self.ask(calls)
        answered, _ = await self.ask_all(calls)
        meanings = [[_meaning(answer) for answer in answers] for answers in answered]
        for answers, meaning in zip(answered, meanings, strict=True):
            if meanings.count(meaning) >= quorum:
                return answers
        raise NodesDisagree(
            f"{self._config.name}: expected {quorum} nodes to give the same answer, {len(answered)} answered",
            chain=self._config.chain,
        )

    async def verify_all(self) -> None:
        """Ask every node that answers for its chain id, open circuits included.

        Raises:
            NodeUnavailable: none answers. WrongChain: one serves another chain.
        """
        results = await asyncio.gather(*(self._verify(node) for node in self._nodes), return_exceptions=True)
        for result in results:
            if isinstance(result, BaseException) and not isinstance(result, _Faulty):
                raise result
        if all(isinstance(result, _Faulty) for result in results):
            raise self._unavailable()

    # --- choosing -----------------------------------------------------------------------------------------------------

    def _by_preference(self) -> list[Node]:
        """The current node first while it is healthy, then the order of the settings; those behind and those with an open
        circuit last, the one that opens soonest before the others: when all are shut, one is tried all the same."""
        now, newest = asyncio.get_running_loop().time(), max(node.head for node in self._nodes)
        return sorted(
            self._nodes,
            key=lambda node: (
                max(node.shut_until - now, 0.0),
                self._is_behind(node, newest),
                node.index != self._current,
                node.index,
            ),
        )

    def _is_behind(self, node: Node, newest: int) -> bool:
        return 0 <= node.head < newest - _BLOCKS_BEHIND

    async def _is_slow(self, running: dict[asyncio.Task[Answers], Node]) -> bool:
        """Wait as long as the node that was asked last usually takes, and somewhat longer; False when one is done."""
        usual = list(running.values())[-1].latency
        done, _ = await asyncio.wait(
            running, timeout=max(_LEAST_HEDGE, _HEDGE_FACTOR * usual), return_when=asyncio.FIRST_COMPLETED
        )
        return not done

    def _compare_when_due(self) -> None:
        """Compare the heads of all nodes now and then, beside the calls: a node that stands still answers like any other."""
        if len(self._nodes) == 1 or (self._comparing is not None and not self._comparing.done()):
            return
        now = asyncio.get_running_loop().time()
        if now - self._compared_at >= max(2 * self._config.block_seconds, 2.0):
            self._compared_at = now
            self._comparing = asyncio.create_task(self._compare())

    async def _compare(self) -> None:
        now = asyncio.get_running_loop().time()
        open_nodes = [node for node in self._nodes if node.shut_until <= now]
        await asyncio.gather(*(self._ask_one(node, [_LATEST]) for node in open_nodes), return_exceptions=True)
        now, newest = asyncio.get_running_loop().time(), max(node.head for node in self._nodes)
        usable = [node for node in self._nodes if node.shut_until <= now and not self._is_behind(node, newest)]
        _usable.labels(self._config.chain).set(len(usable))
        for node in self._nodes:
            self._tell_state(node)

    def _tell_state(self, node: Node) -> None:
        newest = max(one.head for one in self._nodes)
        state = 2 if node.failures else int(self._is_behind(node, newest))
        _state.labels(self._config.chain, node.index).set(state)

    # --- one node -----------------------------------------------------------------------------------------------------

    async def _ask_one(self, node: Node, calls: Sequence[Call], check: Check | None = None) -> Answers:
        if not node.is_verified:
            await self._verify(node)
        answers = await self._exchange(node, calls)
        try:
            for (method, params), answer in zip(calls, answers, strict=True):
                if method == _LATEST[0] and tuple(params) == _LATEST[1] and isinstance(answer, dict):
                    self._saw_head(node, to_int(answer["number"]), answer["hash"])
            if check is not None:
                await check(answers, partial(self._exchange, node))
        except Disbelieved:
            node.failed(asyncio.get_running_loop().time())
            _disbelieved.labels(self._config.chain, node.index).inc()
            self._tell_state(node)
            raise
        return answers

    def _saw_head(self, node: Node, number: int, block_hash: str) -> None:
        """
        Raises:
            Disbelieved: the node stands far below where it stood, on the same branch: its data was reset, or behind its
                address stand several nodes. A reorganisation would show other blocks.
        """
        fell = node.head - number
        is_same_branch = node.heads.get(number) == block_hash
        node.head = number
        node.heads = {one: known for one, known in node.heads.items() if number - _REMEMBERED < one < number}
        node.heads[number] = block_hash
        _head.labels(self._config.chain, node.index).set(number)
        if fell > _BLOCKS_BEHIND and is_same_branch and len(self._nodes) > 1:
            raise Disbelieved(f"its head went back by {fell} blocks without a reorganisation")

    async def _verify(self, node: Node) -> None:
        answer = (await self._exchange(node, [("eth_chainId", [])]))[0]
        if isinstance(answer, RpcFault):
            raise _Faulty(answer.message[:200])
        if to_int(answer) != self._config.chain_id:
            raise WrongChain(
                f"{self._config.name}: expected a node of chain {self._config.chain_id}, was {to_int(answer)}",
                chain=self._config.chain,
            )
        node.is_verified = True

    async def _exchange(self, node: Node, calls: Sequence[Call]) -> Answers:
        """One HTTP request to one node. Raises _Faulty when the node did not do its part."""
        body = [
            {"jsonrpc": "2.0", "id": number, "method": method, "params": list(params)}
            for number, (method, params) in enumerate(calls)
        ]
        loop = asyncio.get_running_loop()
        began = loop.time()
        try:
            async with self._open_session().post(
                node.url,
                data=json.dumps(body[0] if len(body) == 1 else body),
                headers={"Content-Type": "application/json"},
            ) as response:
                text = await response.read()
                if response.status == 429 or response.status >= 500:
                    raise _Faulty(f"HTTP status {response.status}")
            answers = _match(json.loads(text), len(calls))
            if len(self._nodes) > 1 and any(isinstance(a, RpcFault) and is_busy(a.code, a.message) for a in answers):
                raise _Faulty("the node is busy or behind")
        except (_Faulty, aiohttp.ClientError, TimeoutError, ValueError, OSError) as error:
            node.failed(loop.time())
            _requests.labels(self._config.chain, node.index, "failed").inc()
            self._tell_state(node)
            raise error if isinstance(error, _Faulty) else _Faulty(type(error).__name__) from error
        node.answered(loop.time() - began)
        _requests.labels(self._config.chain, node.index, "answered").inc()
        self._tell_state(node)
        return answers

    def _open_session(self) -> aiohttp.ClientSession:
        if self._session is None or self._session.closed:
            self._session = aiohttp.ClientSession(
                timeout=aiohttp.ClientTimeout(total=self._config.request_seconds, connect=2.0),
                connector=aiohttp.TCPConnector(limit=32),
            )
        return self._session

    def _unavailable(self) -> NodeUnavailable:
        config = self._config
        return NodeUnavailable(f"no node of {config.name} ({config.chain}) answered", chain=config.chain)


def _meaning(answer: Any | RpcFault) -> object:
    """What of an answer must be alike: nodes word their refusals in their own way and add fields of their own to blocks."""
    if isinstance(answer, RpcFault):
        return revert_data(answer.code, answer.message, answer.data)
    if isinstance(answer, dict) and "parentHash" in answer:
        return tuple(answer.get(name) for name in ("number", "hash", "parentHash", "timestamp", "baseFeePerGas"))
    return answer


async def _cancel(running: dict[asyncio.Task[Answers], Node]) -> None:
    for task in running:
        task.cancel()
    if running:
        await asyncio.gather(*running, return_exceptions=True)


def _match(content: Any, count: int) -> Answers:
    """Answers by id; a batch may come in any order. Raises ValueError when it is not an answer to our calls."""
    entries = content if isinstance(content, list) else [content]
    if len(entries) == 1 and count > 1:
        raise ValueError("the node does not take batches of this size")
    answers: Answers = [None] * count
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
