"""A client of the stream that remembers what it saw, and checks that nothing was missing."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from types import TracebackType
from typing import Self

from lockstep.client import AsyncClient, Event, Subscription


class Watcher:
    """Follows topics in the background."""

    def __init__(self, client: AsyncClient, *subscriptions: Subscription) -> None:
        self._client, self._subscriptions = client, subscriptions
        self._task: asyncio.Task[None] | None = None
        self._changed = asyncio.Condition()
        self.events: list[Event] = []

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._follow())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _follow(self) -> None:
        async with self._client.stream(*self._subscriptions) as stream:
            async for message in stream:
                if isinstance(message, Event):
                    async with self._changed:
                        self.events.append(message)
                        self._changed.notify_all()

    async def wait(self, topic: str, kind: str, object_id: str, seconds: float = 30.0) -> Event:
        """The first event of this type about this object, now or later."""
        async with asyncio.timeout(seconds), self._changed:
            while True:
                for event in self.events:
                    if (event.topic, event.type, event.id) == (topic, kind, object_id):
                        return event
                await self._changed.wait()

    def kinds(self, topic: str, object_id: str) -> list[str]:
        """Types of what was seen about an object, in order."""
        return [event.type for event in self.events if event.topic == topic and event.id == object_id]

    def has_gaps(self) -> bool:
        """Whether a sequence number is missing among the durable events of a topic."""
        numbers: dict[str, list[int]] = defaultdict(list)
        for event in self.events:
            if event.seq is not None:
                numbers[event.topic].append(event.seq)
        return any(seen != list(range(seen[0], seen[0] + len(seen))) for seen in numbers.values())
