"""A JSON-RPC server over HTTP on loopback, batches included; what it answers is its child's business."""

from __future__ import annotations

import asyncio
import json
from abc import ABC, abstractmethod
from types import TracebackType
from typing import Any, Self

from aiohttp import web


class RpcError(Exception):
    """What a node answers instead of a result."""

    def __init__(self, message: str, code: int = -32000, data: str | None = None) -> None:
        super().__init__(message)
        self.message, self.code, self.data = message, code, data


class RpcServer(ABC):
    """Listens while its context is open. Its fields may be changed at any time."""

    def __init__(self) -> None:
        self.url = ""
        self.delay = 0.0
        """Real seconds before each answer."""
        self.status = 200
        """Of every answer; anything but 200 comes without one."""
        self.asked: list[str] = []
        """Methods, in the order in which they were asked for."""
        self._runner: web.AppRunner | None = None

    async def __aenter__(self) -> Self:
        app = web.Application(client_max_size=16 << 20)
        app.router.add_post("/", self._answer)
        self._runner = web.AppRunner(app, shutdown_timeout=0.1, access_log=None)
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

    @abstractmethod
    def call(self, method: str, params: list[Any]) -> Any:
        """The result of one call; raises RpcError for what is refused."""

    async def exchange(self, calls: list[dict[str, Any]]) -> list[dict[str, Any]] | int:
        """The answers to the calls of one HTTP request, or the status of an answer without any."""
        if self.delay:
            await asyncio.sleep(self.delay)
        if self.status != 200:
            return self.status
        return [self.answer(call) for call in calls]

    def answer(self, call: dict[str, Any]) -> dict[str, Any]:
        """One call with its id."""
        try:
            return {"jsonrpc": "2.0", "id": call["id"], "result": self.call(call["method"], call["params"])}
        except RpcError as error:
            fault: dict[str, Any] = {"code": error.code, "message": error.message}
            if error.data is not None:
                fault["data"] = error.data
            return {"jsonrpc": "2.0", "id": call["id"], "error": fault}

    async def _answer(self, request: web.Request) -> web.Response:
        content = json.loads(await request.read())
        calls = content if isinstance(content, list) else [content]
        self.asked += [call["method"] for call in calls]
        answers = await self.exchange(calls)
        if isinstance(answers, int):
            return web.Response(status=answers)
        body = answers if isinstance(content, list) or len(answers) > 1 else answers[0]
        return web.Response(text=json.dumps(body), content_type="application/json")
