"""The publisher numbers committed rows without gaps, also when they commit late."""

import asyncio

from lockstep.kit.database import Database
from lockstep.kit.ids import AppId, new_id
from lockstep.kit.outbox import Event, append, head_position, publish_batch, read_after, read_topic, run_publisher


def _event(number: int, app_id: AppId | None = None) -> Event:
    return Event(
        topic="orders", type="order_created", object_id=str(number), version=1, data={"n": number}, app_id=app_id
    )


async def test_publish__late_commit__is_numbered_late_and_never_skipped(database: Database) -> None:
    async with database.system("test") as slow:
        await append(slow, _event(1))  # takes the lower row id, commits last
        async with database.system("test") as quick:
            await append(quick, _event(2))
        assert await publish_batch(database) == 1
    assert await publish_batch(database) == 1
    async with database.system("test") as uow:
        events = await read_after(uow, 0)
    assert [(event.id, event.seq, event.position) for event in events] == [("2", 1, 1), ("1", 2, 2)]


async def test_publish__rolled_back_writer__leaves_no_gap(database: Database) -> None:
    async with database.system("test") as uow:
        await append(uow, _event(1))
    try:
        async with database.system("test") as uow:
            await append(uow, _event(2))
            raise KeyError("the business transaction fails")
    except KeyError:
        pass
    async with database.system("test") as uow:
        await append(uow, _event(3))
    await publish_batch(database)
    async with database.system("test") as uow:
        assert [(event.id, event.seq) for event in await read_after(uow, 0)] == [("1", 1), ("3", 2)]


async def test_read__two_tenants__see_public_and_own_only(database: Database) -> None:
    maker, taker = AppId(new_id()), AppId(new_id())
    async with database.system("test") as uow:
        await append(uow, _event(1), _event(2, maker), _event(3, taker))
    await publish_batch(database)
    async with database.tenant(maker) as uow:
        assert [event.id for event in await read_after(uow, 0)] == ["1", "2"]
        assert [event.id for event in await read_topic(uow, "orders", taker, 0)] == []


async def test_run_publisher__two_of_them_under_load__number_everything_once(database: Database) -> None:
    stop = asyncio.Event()
    publishers = [asyncio.create_task(run_publisher(database, stop)) for _ in range(2)]

    async def write(start: int) -> None:
        for number in range(start, start + 50):
            async with database.system("test") as uow:
                await append(uow, _event(number))

    await asyncio.gather(*(write(start) for start in (0, 100, 200)))
    while True:
        async with database.system("test") as uow:
            if await head_position(uow) == 150:
                events = await read_after(uow, 0)
                break
        await asyncio.sleep(0)
    stop.set()
    await asyncio.gather(*publishers)
    assert [event.position for event in events] == list(range(1, 151))
    assert [event.seq for event in events] == list(range(1, 151))
    assert {event.id for event in events} == {str(start + n) for start in (0, 100, 200) for n in range(50)}
