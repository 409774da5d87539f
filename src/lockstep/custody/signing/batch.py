"""Many small pieces of work in one database transaction: what arrives while one batch runs makes up the next.

A lone caller waits for nobody; under load the cost of beginning, locking and committing is shared. Work of different
apps never shares a batch.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

from lockstep.kit.errors import Retry

T = TypeVar("T")
R = TypeVar("R")


class Batcher(Generic[T, R]):
    """Runs `run(key, items)` with up to `max_batch` items at a time, and up to `lanes` batches of one key at once."""

    def __init__(
        self,
        run: Callable[[str, Sequence[T]], Awaitable[Sequence[R | Exception]]],
        *,
        max_batch: int = 64,
        lanes: int = 2,
        crowd: int = 16,
    ) -> None:
        """
        Args:
            crowd: how many must wait before another lane opens. Fewer are better off in the next batch: what a batch
                costs is shared by its members.
        """
        self._run = run
        self._max_batch = max_batch
        self._lanes = lanes
        self._crowd = min(crowd, max_batch)
        self._queues: dict[str, deque[tuple[T, asyncio.Future[R]]]] = {}
        self._active: dict[str, int] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    async def submit(self, key: str, item: T) -> R:
        """Have the item worked on; returns its result or raises its error.

        The work goes on when the caller is cancelled.
        """
        answer: asyncio.Future[R] = asyncio.get_running_loop().create_future()
        self._queues.setdefault(key, deque()).append((item, answer))
        active = self._active.get(key, 0)
        if active == 0 or (active < self._lanes and len(self._queues[key]) >= self._crowd):
            self._active[key] = active + 1
            task = asyncio.create_task(self._work(key))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        return await answer

    async def _work(self, key: str) -> None:
        queue = self._queues[key]
        try:
            while queue:
                batch = [queue.popleft() for _ in range(min(len(queue), self._max_batch))]
                await self._run_batch(key, batch)
        finally:
            # Without a pause after the last look at the queue: nothing can be added that nobody works on.
            self._active[key] -= 1
            if self._active[key] == 0 and not queue:
                del self._active[key], self._queues[key]

    async def _run_batch(self, key: str, batch: Sequence[tuple[T, asyncio.Future[R]]]) -> None:
        try:
            results: Sequence[R | Exception] = await self._run(key, [item for item, _ in batch])
        except Exception as error:
            if len(batch) > 1 and not isinstance(error, Retry):
                for one in batch:  # one bad piece of work must not fail its neighbours
                    await self._run_batch(key, [one])
                return
            results = [error] * len(batch)
        except BaseException:
            for _, answer in batch:
                answer.cancel()
            raise
        for (_, answer), result in zip(batch, results, strict=True):
            if answer.done():
                continue  # its caller has gone
            if isinstance(result, Exception):
                answer.set_exception(result)
            else:
                answer.set_result(result)
