"""A node in memory whose chain forks as a test says: blocks with logs and true blooms, and faults in what it shows.

Answers what followers ask: blocks by number, hash and tag, and logs by range or block. Its blocks follow from their
contents, so two nodes that are told the same have the same chain.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any

from aiohttp import web

from lockstep.chains.evm import Address, keccak256
from lockstep.chains.evm.blooms import log_bits

Entry = tuple[Address, bytes, int]
"""Address, topic and value of a log."""
GENESIS_TIME = 1_700_000_000


class Refused(Exception):
    """What the node answers instead of a result."""


@dataclass(frozen=True)
class Block:
    number: int
    parent: bytes
    entries: tuple[Entry, ...]
    salt: int

    @property
    def hash(self) -> bytes:
        return keccak256(repr((self.number, self.parent, self.entries, self.salt)).encode())


@dataclass
class ForkNode:
    """A node on loopback. Its fields may be changed at any time."""

    blocks: list[Block] = field(default_factory=lambda: [Block(0, bytes(32), (), 0)])
    lag: int = 0
    """Blocks by which its head and all that it shows stand behind its chain."""
    most_blocks: int | None = None
    most_logs: int | None = None
    hidden: set[tuple[int, int]] = field(default_factory=set)
    """Logs, by block and index, that it leaves out."""
    shows_by_hash: bool = False
    """Whether it shows the hidden ones when it is asked for their block by its hash."""
    invented: list[tuple[int, Address, bytes, int]] = field(default_factory=list)
    blooms: bool = True
    """Whether its blocks have blooms; all bits are zero otherwise."""
    answers: dict[str, Callable[[list[Any]], Any]] = field(default_factory=dict)
    """Answers of other methods, or instead of its own."""
    surprise: tuple[int, int, list[list[Entry]]] | None = None
    """From which request on its chain is another one: how many blocks are dropped, and what is mined instead."""
    status: int = 200
    asked: list[str] = field(default_factory=list)
    log_ranges: list[tuple[int, int]] = field(default_factory=list)
    requests: int = 0
    url: str = ""
    _runner: web.AppRunner | None = None
    _salt: int = 0

    async def __aenter__(self) -> ForkNode:
        app = web.Application()
        app.router.add_post("/", self._answer)
        self._runner = web.AppRunner(app, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}/"
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._runner is not None
        await self._runner.cleanup()

    def mine(self, *contents: Sequence[Entry]) -> None:
        """Blocks on top, with these logs."""
        for entries in contents:
            last = self.blocks[-1]
            self.blocks.append(Block(last.number + 1, last.hash, tuple(entries), self._salt))

    def drop(self, depth: int) -> None:
        """Forget the newest blocks; what is mined now is another branch, even with the same contents."""
        kept = max(1, len(self.blocks) - depth)
        self._salt += 1
        del self.blocks[kept:]

    def count(self, method: str) -> int:
        return self.asked.count(method)

    @property
    def shown(self) -> list[Block]:
        return self.blocks[: max(1, len(self.blocks) - self.lag)]

    async def _answer(self, request: web.Request) -> web.Response:
        self.requests += 1
        if self.surprise is not None and self.requests >= self.surprise[0]:
            _, depth, contents = self.surprise
            self.surprise = None
            self.drop(depth)
            self.mine(*contents)
        content = json.loads(await request.text())
        calls = content if isinstance(content, list) else [content]
        self.asked += [call["method"] for call in calls]
        if self.status != 200:
            return web.Response(status=self.status)
        answers = [self._one(call) for call in calls]
        return web.json_response(answers if isinstance(content, list) else answers[0])

    def _one(self, call: dict[str, Any]) -> dict[str, Any]:
        try:
            return {"jsonrpc": "2.0", "id": call["id"], "result": self._result(call["method"], call["params"])}
        except Refused as error:
            return {"jsonrpc": "2.0", "id": call["id"], "error": {"code": -32000, "message": str(error)}}

    def _result(self, method: str, params: list[Any]) -> Any:
        if method in self.answers:
            return self.answers[method](params)
        if method == "eth_chainId":
            return hex(31337)
        if method == "eth_getBlockByNumber":
            number = len(self.shown) - 1 if params[0] == "latest" else int(params[0], 16)
            return self._block(self.shown[number]) if number < len(self.shown) else None
        if method == "eth_getBalance":
            return "0x0"
        if method == "eth_getLogs":
            return self._logs(params[0])
        raise Refused(f"the method {method} does not exist")

    def _logs(self, wanted: dict[str, Any]) -> list[dict[str, Any]]:
        if "blockHash" in wanted:
            blocks = [block for block in self.shown if block.hash.hex() == wanted["blockHash"][2:]]
            if not blocks:
                raise Refused("unknown block")
        else:
            first, last = int(wanted["fromBlock"], 16), int(wanted["toBlock"], 16)
            self.log_ranges.append((first, last))
            if last >= len(self.shown):
                raise Refused("block range extends beyond current head block")
            if self.most_blocks is not None and last - first >= self.most_blocks:
                raise Refused(f"exceed maximum block range: {self.most_blocks}")
            blocks = self.shown[first : last + 1]
        hides = not ("blockHash" in wanted and self.shows_by_hash)
        found = [
            _log(block, index, entry)
            for block in blocks
            for index, entry in enumerate(block.entries)
            if not (hides and (block.number, index) in self.hidden)
        ]
        for number, *entry in self.invented:
            found += [_log(block, 1_000, tuple(entry)) for block in blocks if block.number == number]
        found = [log for log in found if _matches(wanted, log)]
        if self.most_logs is not None and len(found) > self.most_logs and len(blocks) > 1:
            raise Refused(f"query returned more than {self.most_logs} results")
        return found

    def _block(self, block: Block) -> dict[str, Any]:
        bloom = 0
        for address, topic, _ in block.entries:
            bloom |= log_bits(address, [topic])
        return {
            "number": hex(block.number),
            "hash": "0x" + block.hash.hex(),
            "parentHash": "0x" + block.parent.hex(),
            "timestamp": hex(GENESIS_TIME + block.number),
            "baseFeePerGas": "0x1",
            "logsBloom": f"0x{bloom if self.blooms else 0:0512x}",
        }


def _log(block: Block, index: int, entry: Entry) -> dict[str, Any]:
    address, topic, value = entry
    return {
        "address": address,
        "topics": ["0x" + topic.hex()],
        "data": f"0x{value:064x}",
        "blockNumber": hex(block.number),
        "blockHash": "0x" + block.hash.hex(),
        "transactionHash": "0x" + keccak256(block.hash + bytes([index % 256])).hex(),
        "logIndex": hex(index),
    }


def _matches(wanted: dict[str, Any], log: dict[str, Any]) -> bool:
    return ("address" not in wanted or log["address"] in wanted["address"]) and (
        "topics" not in wanted or log["topics"][0] in wanted["topics"][0]
    )
