"""The batcher: who shares a batch, when another lane opens, and what one bad piece of work does to its neighbours."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from lockstep.custody.signing.batch import Batcher
from lockstep.kit.errors import Retry


class _Work:
    """Notes its batches; each one lasts until it is let go."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.go = asyncio.Event()

    async def run(self, _: str, items: Sequence[int]) -> list[int | Exception]:
        self.batches.append(list(items))
        await self.go.wait()
        if any(item < 0 for item in items):
            raise ValueError("negative")
        return [10 * item for item in items]


async def _settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_submit__while_a_batch_runs__shares_the_next_one() -> None:
    work = _Work()
    batcher = Batcher(work.run)
    first = asyncio.create_task(batcher.submit("a", 1))
    await _settle()
    others = [asyncio.create_task(batcher.submit("a", number)) for number in (2, 3)]
    await _settle()
    assert work.batches == [[1]]
    work.go.set()
    assert await asyncio.gather(first, *others) == [10, 20, 30]
    assert work.batches == [[1], [2, 3]]


async def test_submit__of_another_key__has_a_batch_of_its_own() -> None:
    work = _Work()
    batcher = Batcher(work.run)
    tasks = [asyncio.create_task(batcher.submit(key, 1)) for key in ("a", "b")]
    await _settle()
    assert work.batches == [[1], [1]]
    work.go.set()
    await asyncio.gather(*tasks)


async def test_submit__of_a_crowd__opens_another_lane_up_to_the_limit() -> None:
    work = _Work()
    batcher = Batcher(work.run, lanes=2, crowd=3)
    tasks = [asyncio.create_task(batcher.submit("a", 0))]
    await _settle()
    for number in range(1, 9):
        tasks.append(asyncio.create_task(batcher.submit("a", number)))
        await _settle()
    assert work.batches == [[0], [1, 2, 3]]
    work.go.set()
    assert await asyncio.gather(*tasks) == [10 * number for number in range(9)]
    assert [len(batch) for batch in work.batches] == [1, 3, 5]


async def test_submit__next_to_a_bad_piece_of_work__succeeds() -> None:
    work = _Work()
    work.go.set()
    batcher = Batcher(work.run)
    results = await asyncio.gather(*(batcher.submit("a", number) for number in (1, -1, 2)), return_exceptions=True)
    assert results[0] == 10
    assert results[2] == 20
    assert isinstance(results[1], ValueError)


async def test_submit__when_the_batch_meets_a_passing_fault__fails_without_being_repeated() -> None:
    async def run(_: str, items: Sequence[int]) -> list[int | Exception]:
        runs.append(list(items))
        raise Retry("away")

    runs: list[list[int]] = []
    batcher: Batcher[int, int] = Batcher(run)
    first, second = (asyncio.create_task(batcher.submit("a", number)) for number in (1, 2))
    with pytest.raises(Retry):
        await first
    with pytest.raises(Retry):
        await second
    assert runs == [[1, 2]]
