"""A node that answers JSON-RPC as a test tells it to: delays, errors, another head, another opinion."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any

from aiohttp import web

Answer = Callable[[list[Any]], Any]
"""From the parameters to the result; an `RpcError` that is raised becomes the error of the call."""


class RpcError(Exception):
    """What a node answers instead of a result."""

    def __init__(self, message: str, code: int = -32000) -> None:
        super().__init__(message)
        self.message, self.code = message, code


@dataclass
class StubNode:
    """A node on loopback. Its fields may be changed at any time."""

    chain_id: int = 31337
    head: int = 100
    answers: dict[str, Answer] = field(default_factory=dict)
    delay: float = 0.0
    status: int = 200
    asked: list[str] = field(default_factory=list)
    """Methods, in the order in which they were asked for."""
    url: str = ""
    _runner: web.AppRunner | None = None

    async def __aenter__(self) -> StubNode:
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

    def count(self, method: str) -> int:
        return self.asked.count(method)

    async def _answer(self, request: web.Request) -> web.Response:
        content = json.loads(await request.text())
        calls = content if isinstance(content, list) else [content]
        self.asked += [call["method"] for call in calls]
        if self.delay:
            await asyncio.sleep(self.delay)
        if self.status != 200:
            return web.Response(status=self.status)
        answers = [self._one(call) for call in calls]
        return web.json_response(answers if isinstance(content, list) else answers[0])

    def _one(self, call: dict[str, Any]) -> dict[str, Any]:
        method, params = call["method"], call["params"]
        try:
            if method in self.answers:
                result = self.answers[method](params)
            elif method == "eth_chainId":
                result = hex(self.chain_id)
            elif method == "eth_getBlockByNumber" and params[0] == "latest":
                result = block(self.head)
            elif method == "eth_getBlockByNumber":
                result = block(int(params[0], 16)) if int(params[0], 16) <= self.head else None
            else:
                raise RpcError(f"the method {method} does not exist", -32601)
        except RpcError as error:
            return {"jsonrpc": "2.0", "id": call["id"], "error": {"code": error.code, "message": error.message}}
        return {"jsonrpc": "2.0", "id": call["id"], "result": result}


def block(number: int) -> dict[str, str]:
    """A block whose hash follows from its number."""
    return {
        "number": hex(number),
        "hash": "0x" + f"{number + 1:064x}",
        "parentHash": "0x" + f"{number:064x}",
        "timestamp": hex(1_700_000_000 + number),
        "baseFeePerGas": "0x1",
    }
