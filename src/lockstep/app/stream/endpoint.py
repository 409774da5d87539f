"""The WebSocket itself: opens a connection, reads the client's frames, closes with a code and a reason.

Client:  {"op": "authenticate", "app_id", "app_secret", "token"}          answered by `authenticated`
         {"op": "subscribe", "id", "topic", "filter", "types", "resume_from", "snapshot"}   `subscribed`, `gap`
         {"op": "unsubscribe", "id"} · {"op": "ping", "id"}               `unsubscribed`, `pong`
Server:  `hello`, `heartbeat`, `error` (a problem, with the `op` and `id` that it answers), and events: the envelope
         with `sub` (the subscription) and `prev_seq` (the event before it there; a reader that missed one sees it).

`authenticate` and `subscribe` ask the database and count like requests; the other frames have a limit of their own.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, Final

import structlog
from starlette.routing import BaseRoute, WebSocketRoute
from starlette.types import Receive, Scope, Send

from lockstep.app.http import Credentials, CredentialsChecker, count_frame, read_credentials, read_json
from lockstep.app.stream.connection import Connection
from lockstep.app.stream.errors import CLOSE_FRAME, CLOSE_TOO_MANY, FrameInvalid, TooManyFrames
from lockstep.app.stream.hub import Hub, write
from lockstep.app.stream.tailer import HEARTBEAT_SECONDS
from lockstep.app.stream.topics import Topics, read_filter
from lockstep.custody import CredentialsMissing
from lockstep.kit.clock import Clock, rfc3339
from lockstep.kit.errors import LockstepError

log = structlog.get_logger(__name__)

PATHS: Final = ("/v1/stream", "/ws/v1")
MAX_FRAME_BYTES: Final = 64 << 10
FRAMES_PER_SECOND: Final = 50
BURST: Final = 200
CUT: Final = "lockstep.cut"
"""ASGI extension of `StreamProtocol`: ends a connection whose client does not read."""

_ID = re.compile(r"[A-Za-z0-9_.:-]{1,64}")


class StreamEndpoint:
    """Serves the stream."""

    def __init__(self, hub: Hub, topics: Topics, checker: CredentialsChecker, clock: Clock) -> None:
        self._hub, self._topics, self._checker, self._clock = hub, topics, checker, clock
        self._operations: dict[str, Callable[[Connection, dict[str, Any]], Awaitable[None]]] = {
            "authenticate": self._authenticate,
            "subscribe": self._subscribe,
            "unsubscribe": self._unsubscribe,
            "ping": self._ping,
        }

    def routes(self) -> list[BaseRoute]:
        """The canonical path and its alias."""
        return [WebSocketRoute(path, self) for path in PATHS]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        connection = Connection(send, partial(count_frame, scope))
        connection.credentials = read_credentials(scope)
        if not connection.credentials.is_empty:
            connection.principal = await connection.credentials.check(self._checker)  # refused before it is open
        if (await receive())["type"] != "websocket.connect":
            return
        await send({"type": "websocket.accept"})
        self._hub.open(connection)
        hello = {"type": "hello", "time": rfc3339(self._clock.now()), "heartbeat_seconds": HEARTBEAT_SECONDS}
        connection.push(write({**hello, "principal": connection.principal.kind if connection.principal else None}))
        tasks = [asyncio.create_task(connection.pump()), asyncio.create_task(self._listen(connection, receive))]
        code = 1006
        try:
            code, reason = await connection.wait_end()
        finally:
            self._hub.close(connection, code)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        if code != 1006:
            await _close(scope, send, code, reason)

    async def _listen(self, connection: Connection, receive: Receive) -> None:
        try:
            allowance, refilled = float(BURST), asyncio.get_running_loop().time()
            while True:
                message = await receive()
                if message["type"] == "websocket.disconnect":
                    connection.end(1006, "the client has gone")
                    return
                now = asyncio.get_running_loop().time()
                allowance = min(BURST, allowance + (now - refilled) * FRAMES_PER_SECOND) - 1
                refilled = now
                if allowance < 0:
                    connection.end(CLOSE_TOO_MANY, TooManyFrames.code)
                    return
                text = message.get("text")
                if text is None or len(text) > MAX_FRAME_BYTES:
                    connection.end(CLOSE_FRAME, "expected a text frame of at most 64 KiB")
                    return
                await self._answer(connection, text)
        except Exception as error:
            log.error("stream_failed", error=type(error).__name__, exc_info=error)
            connection.end(1011, "internal error")

    async def _answer(self, connection: Connection, text: str) -> None:
        operation = reference = None
        try:
            frame = read_json(text)
            if not isinstance(frame, dict):
                raise FrameInvalid("expected a JSON object")
            operation, reference = frame.get("op"), frame.get("id")
            work = self._operations.get(operation) if isinstance(operation, str) else None
            if work is None:
                raise FrameInvalid(f"expected op to be one of: {', '.join(self._operations)}")
            await work(connection, frame)
        except LockstepError as error:
            shown = reference if isinstance(reference, str) and _ID.fullmatch(reference) else None
            named = operation if isinstance(operation, str) and operation in self._operations else None
            connection.push(write({"type": "error", "op": named, "id": shown, "problem": error.problem()}))

    async def _authenticate(self, connection: Connection, frame: dict[str, Any]) -> None:
        _only(frame, "op", "id", "app_id", "app_secret", "token")
        app_id, app_secret, token = (_text(frame, name) for name in ("app_id", "app_secret", "token"))
        if app_id is None and token is None:
            raise CredentialsMissing("expected app_id with app_secret, or token, or all three")
        if connection.subscriptions:
            raise FrameInvalid("authenticate before subscribing")
        await connection.count(None)
        credentials = Credentials(
            app_id,
            app_secret,
            None if token is None else f"Bearer {token}",
            connection.credentials.address,
        )
        connection.principal = await credentials.check(self._checker)
        connection.credentials = credentials
        connection.push(write({"type": "authenticated", "principal": connection.principal.kind}))

    async def _subscribe(self, connection: Connection, frame: dict[str, Any]) -> None:
        _only(frame, "op", "id", "topic", "filter", "types", "resume_from", "snapshot")
        topic = self._topics.get(frame.get("topic"))
        types, resume_from, with_snapshot = frame.get("types"), frame.get("resume_from"), frame.get("snapshot", True)
        if types is not None and (
            not isinstance(types, list) or not 1 <= len(types) <= 20 or not all(isinstance(each, str) for each in types)
        ):
            raise FrameInvalid("expected types to be a list of 1 to 20 message types")
        if resume_from is not None and (type(resume_from) is not int or not 0 <= resume_from < 2**63):
            raise FrameInvalid("expected resume_from to be the last sequence that was seen")
        if not isinstance(with_snapshot, bool):
            raise FrameInvalid("expected snapshot to be true or false")
        await connection.count(connection.principal)
        await self._hub.subscribe(
            connection,
            subscription_id=_reference(frame),
            topic=topic,
            wanted=read_filter(topic, frame.get("filter")),
            types=None if types is None else frozenset(types),
            resume_from=resume_from,
            with_snapshot=with_snapshot,
        )

    async def _unsubscribe(self, connection: Connection, frame: dict[str, Any]) -> None:
        _only(frame, "op", "id")
        self._hub.unsubscribe(connection, _reference(frame))

    async def _ping(self, connection: Connection, frame: dict[str, Any]) -> None:
        _only(frame, "op", "id")
        pong: dict[str, object] = {"type": "pong", "time": rfc3339(self._clock.now())}
        if "id" in frame:
            pong["id"] = _reference(frame)
        connection.push(write(pong))


def _only(frame: dict[str, Any], *known: str) -> None:
    unknown = [name[:64] for name in frame if name not in known]
    if unknown:
        raise FrameInvalid(f"expected only {', '.join(known)}; was also {', '.join(unknown[:5])}")


def _reference(frame: dict[str, Any]) -> str:
    reference = frame.get("id")
    if not isinstance(reference, str) or not _ID.fullmatch(reference):
        raise FrameInvalid("expected id to be 1 to 64 letters, digits, dots, colons, dashes or underscores")
    return reference


def _text(frame: dict[str, Any], name: str) -> str | None:
    value = frame.get(name)
    if value is not None and not isinstance(value, str):
        raise FrameInvalid(f"expected {name} to be a text")
    return value


async def _close(scope: Scope, send: Send, code: int, reason: str) -> None:
    cut = scope.get("extensions", {}).get(CUT)
    if cut is not None:
        cut(code, reason)
        return
    try:
        async with asyncio.timeout(1):
            await send({"type": "websocket.close", "code": code, "reason": reason})
    except (TimeoutError, OSError, RuntimeError):
        return
