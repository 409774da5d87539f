"""The unit of work: what runs last in it, and what a part of it undoes."""

from __future__ import annotations

import asyncio

import pytest

from lockstep.kit.database import Database, DatabaseContended, UnitOfWork

_INSERT = "insert into outbox (topic, type, object_id, version, data) values ('t', 't', %s, 1, '{}')"


async def _ids(database: Database) -> list[str]:
    async with database.system("test") as uow:
        return [row["object_id"] for row in await uow.fetch("select object_id from outbox order by id")]


async def test_before_commit__two_actions__run_last_once_each_and_may_add_more(database: Database) -> None:
    ran: list[str] = []

    async def second(uow: UnitOfWork) -> None:
        ran.append("second")
        await uow.execute(_INSERT, ("second",))

    async def first(uow: UnitOfWork) -> None:
        ran.append("first")
        uow.before_commit("second", second)

    async with database.system("test") as uow:
        uow.before_commit("first", first)
        uow.before_commit("first", first)
        await uow.execute(_INSERT, ("work",))
        assert ran == []

    assert ran == ["first", "second"]
    assert await _ids(database) == ["work", "second"]


async def test_before_commit__the_work_fails__does_not_run(database: Database) -> None:
    ran: list[str] = []

    async def action(_: UnitOfWork) -> None:
        ran.append("x")

    with pytest.raises(RuntimeError):
        async with database.system("test") as uow:
            uow.before_commit("x", action)
            raise RuntimeError

    assert ran == []


async def test_before_commit__the_action_fails__nothing_commits(database: Database) -> None:
    async def action(_: UnitOfWork) -> None:
        raise RuntimeError

    with pytest.raises(RuntimeError):
        async with database.system("test") as uow:
            await uow.execute(_INSERT, ("work",))
            uow.before_commit("x", action)

    assert await _ids(database) == []


async def test_savepoint__a_part_fails__only_that_is_undone(database: Database) -> None:
    async with database.system("test") as uow:
        await uow.execute(_INSERT, ("before",))
        with pytest.raises(RuntimeError):
            async with uow.savepoint():
                await uow.execute(_INSERT, ("part",))
                raise RuntimeError
        with pytest.raises(Exception, match="does not exist"):
            async with uow.savepoint():
                await uow.execute("select * from nowhere")
        async with uow.savepoint():
            await uow.execute(_INSERT, ("after",))

    assert await _ids(database) == ["before", "after"]


async def test_transactions__that_wait_for_each_other__one_is_undone_and_may_try_again(database: Database) -> None:
    both = asyncio.Barrier(2)

    async def lock(first: int, second: int) -> None:
        async with database.system("test") as uow:
            await uow.execute(_INSERT, (f"work {first}",))
            await uow.execute("select pg_advisory_xact_lock(%s)", (first,))
            await both.wait()
            await uow.execute("select pg_advisory_xact_lock(%s)", (second,))

    results = await asyncio.gather(lock(1, 2), lock(2, 1), return_exceptions=True)

    assert sorted(type(result).__name__ for result in results) == ["DatabaseContended", "NoneType"]
    assert all(result is None or isinstance(result, DatabaseContended) for result in results)
    assert len(await _ids(database)) == 1
