"""One client: a bounded queue of frames and the pump that empties it. Knows no topic and no database.

State changes are never dropped: a client whose queue is full is cut and resumes by sequence. Ephemeral frames replace
the older one of the same object while it still waits.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, MutableMapping
from typing import TYPE_CHECKING, Any, Final

from lockstep.app.http import Credentials
from lockstep.app.stream.errors import CLOSE_TOO_SLOW
from lockstep.custody import Principal

if TYPE_CHECKING:
    from lockstep.app.stream.subscriptions import Subscription

Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Count = Callable[[Principal | None], Awaitable[None]]
"""Counts a frame against the limits of requests; raises when there is nothing left."""
MAX_FRAMES: Final = 2_000
MAX_CHARACTERS: Final = 4 << 20


class Connection:
    """What the server keeps of one client."""

    __slots__ = (
        "_ended",
        "_latest",
        "_queue",
        "_room",
        "_send",
        "_size",
        "_wake",
        "count",
        "credentials",
        "max_frames",
        "principal",
        "subscriptions",
    )

    def __init__(self, send: Send, count: Count, *, max_frames: int = MAX_FRAMES) -> None:
        self._send = send
        self.count = count
        self.max_frames = max_frames
        self._queue: deque[str | tuple[str, ...]] = deque()
        self._latest: dict[tuple[str, ...], str] = {}
        self._size = 0
        self._wake = asyncio.Event()
        self._room = asyncio.Event()
        self._room.set()
        self._ended: asyncio.Future[tuple[int, str]] = asyncio.get_running_loop().create_future()
        self.subscriptions: dict[str, Subscription] = {}
        self.principal: Principal | None = None
        self.credentials = Credentials()

    def push(self, frame: str) -> None:
        """Queue a frame that must arrive; cuts the client when the queue is full."""
        if self._ended.done():
            return
        self._queue.append(frame)
        self._size += len(frame)
        if len(self._queue) > self.max_frames or (self._size > MAX_CHARACTERS and len(self._queue) > 1):
            self.cut_slow()
            return
        if len(self._queue) > self.max_frames // 2:
            self._room.clear()
        self._wake.set()

    def push_latest(self, key: tuple[str, ...], frame: str) -> None:
        """Queue a frame that a newer one of the same key replaces."""
        if self._ended.done():
            return
        if key in self._latest:
            self._latest[key] = frame
            return
        if len(self._queue) >= self.max_frames // 2:
            return  # a price that nobody has time to read is worth nothing
        self._latest[key] = frame
        self._queue.append(key)
        self._wake.set()

    async def has_room(self) -> None:
        """Wait until at least half of the queue is free; for those who fill it from storage."""
        await self._room.wait()

    def cut_slow(self) -> None:
        """End the connection because the client does not keep up."""
        self.end(CLOSE_TOO_SLOW, "too slow; resume by sequence")

    def end(self, code: int, reason: str) -> None:
        """End the connection; the first reason counts."""
        if not self._ended.done():
            self._ended.set_result((code, reason))
            self._queue.clear()
            self._latest.clear()
            self._room.set()

    @property
    def has_ended(self) -> bool:
        return self._ended.done()

    async def wait_end(self) -> tuple[int, str]:
        """Code and reason once the connection is to be closed."""
        return await self._ended

    async def pump(self) -> None:
        """Send queued frames until cancelled; ends the connection when the client has gone."""
        queue, send = self._queue, self._send
        try:
            while True:
                while queue:
                    item = queue.popleft()
                    if isinstance(item, tuple):
                        text = self._latest.pop(item)
                    else:
                        text = item
                        self._size -= len(item)
                    await send({"type": "websocket.send", "text": text})
                self._room.set()
                self._wake.clear()
                await self._wake.wait()
        except (OSError, RuntimeError):  # ASGI: the peer has gone
            self.end(1006, "the client has gone")
