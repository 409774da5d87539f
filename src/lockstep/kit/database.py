"""PostgreSQL: one pool, and the unit of work that is the only place where anything commits.

A unit of work names on whose behalf it runs. ``tenant(app_id)`` sees one app's rows and nothing else: the transaction
takes the role ``lockstep_tenant`` and row-level security compares ``app_id``. ``system(purpose)`` takes the role
``lockstep_system``, for dispatcher, publisher, followers and the engine. Both are non-owner roles; security is forced.
Does not know any table.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any, LiteralString

import psycopg
from psycopg import AsyncConnection
from psycopg.rows import DictRow, dict_row
from psycopg_pool import AsyncConnectionPool, PoolTimeout

from lockstep.kit.errors import LockstepError, Retry
from lockstep.kit.ids import AppId, is_id

Params = Sequence[object] | dict[str, object] | None
Row = dict[str, Any]
LEADER_SILENCE = 10
"""Seconds without a word from a leader after which the database lets another process lead."""
_PURPOSE = re.compile(r"[a-z][a-z_.-]{0,40}")
_SILENCE = ("idle_session_timeout", "idle_in_transaction_session_timeout")
_RESIGN = (
    "unlisten *; reset idle_session_timeout; reset idle_in_transaction_session_timeout; select pg_advisory_unlock_all()"
)


class DatabaseUnavailable(Retry):
    """The database cannot be reached at the moment."""

    code = "database_unavailable"


class DatabaseFull(Retry):
    """The database server has no room left on its disk, or no memory; nothing was written. Make room; it goes on by itself."""

    code = "database_full"


class DatabaseContended(Retry):
    """Two transactions waited for each other, and this one was undone; nothing was written. Try again in a moment."""

    code = "database_contended"


class PoolExhausted(Retry):
    """Every database connection is busy; try again in a moment."""

    code = "database_busy"


class UnitOfWork:
    """One database transaction and what follows its commit.

    Stores receive it and run SQL through it; nobody else begins, commits or rolls back.
    """

    def __init__(self, connection: AsyncConnection[DictRow], app_id: AppId | None) -> None:
        self.connection = connection
        self.app_id = app_id
        """The tenant whose rows are visible; None in a system unit of work."""
        self._before_commit: dict[object, Callable[[UnitOfWork], Awaitable[None]]] = {}
        self._after_commit: list[Callable[[], Awaitable[None] | None]] = []
        self._after_rollback: list[Callable[[], Awaitable[None]]] = []

    async def execute(self, query: LiteralString, params: Params = None) -> int:
        """Run a statement; returns the number of rows it touched."""
        cursor = await self.connection.execute(query, params)
        return cursor.rowcount

    async def execute_many(self, query: LiteralString, rows: Sequence[Sequence[object] | dict[str, object]]) -> None:
        """Run one statement for many rows, pipelined."""
        if rows:
            async with self.connection.cursor() as cursor:
                await cursor.executemany(query, rows)

    async def fetch(self, query: LiteralString, params: Params = None) -> list[Row]:
        """All rows, as dictionaries by column name."""
        cursor = await self.connection.execute(query, params)
        return await cursor.fetchall()

    async def find(self, query: LiteralString, params: Params = None) -> Row | None:
        """The first row, or None."""
        cursor = await self.connection.execute(query, params)
        return await cursor.fetchone()

    async def get(self, query: LiteralString, params: Params = None) -> Row:
        """The first row, which must exist (``returning``, aggregates, rows that a foreign key guarantees)."""
        row = await self.find(query, params)
        if row is None:
            raise LookupError("the query returned no row although it must")
        return row

    @asynccontextmanager
    async def savepoint(self) -> AsyncIterator[None]:
        """Undo what a block wrote when it raises, and only that; the transaction goes on."""
        await self.connection.execute("savepoint part")
        try:
            yield
        except BaseException:
            if not self.connection.closed:
                await asyncio.shield(self.connection.execute("rollback to savepoint part"))
            raise
        await self.connection.execute("release savepoint part")

    def before_commit(self, key: object, action: Callable[[UnitOfWork], Awaitable[None]]) -> None:
        """Run this inside the transaction as its last work; a second action under the same key changes nothing.

        For writes behind a contended row lock (the heads of audit chains): taken last, all at once and in one order, the
        locks are held for one round trip and cannot form a cycle. Does not run when the transaction rolls back."""
        self._before_commit.setdefault(key, action)

    async def run_before_commit(self) -> None:
        while self._before_commit:
            actions, self._before_commit = self._before_commit, {}
            for action in actions.values():
                await action(self)

    def after_commit(self, action: Callable[[], Awaitable[None] | None]) -> None:
        """Run this once the transaction is committed; never runs when it rolls back. For wake-ups only: the process may
        die in between, so nothing that must happen belongs here."""
        self._after_commit.append(action)

    async def run_after_commit(self) -> None:
        actions, self._after_commit = self._after_commit, []
        for action in actions:
            result = action()
            if result is not None:
                await result

    def after_rollback(self, action: Callable[[], Awaitable[None]]) -> None:
        """Run this once one of our errors has rolled the transaction back and its connection is free again; for what must stay
        on record although nothing else does. A transaction of its own in the middle of another one would let a few
        callers that wait for a second connection each keep everybody waiting."""
        self._after_rollback.append(action)

    async def run_after_rollback(self) -> None:
        actions, self._after_rollback = self._after_rollback, []
        for action in actions:
            await action()


class Database:
    """A pool of autocommit connections to one PostgreSQL, and the units of work on it."""

    def __init__(
        self, dsn: str, *, name: str, min_size: int = 1, max_size: int = 10, acquire_seconds: float = 5.0
    ) -> None:
        self.dsn = dsn
        self._pool: AsyncConnectionPool[AsyncConnection[DictRow]] = AsyncConnectionPool(
            dsn,
            connection_class=AsyncConnection[DictRow],
            kwargs={"autocommit": True, "row_factory": dict_row, "application_name": f"lockstep {name}"},
            min_size=min_size,
            max_size=max_size,
            timeout=acquire_seconds,
            open=False,
            name=name,
            reconnect_timeout=30,
        )

    async def open(self) -> None:
        """Open the pool; the first connection is awaited so that a wrong address is known at once."""
        await self._pool.open()
        try:
            await self._pool.wait(timeout=10)
        except PoolTimeout as error:
            raise DatabaseUnavailable from error

    async def close(self) -> None:
        await self._pool.close()

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[AsyncConnection[DictRow]]:
        """A bare autocommit connection, for LISTEN, advisory locks and the migration tool; not for business SQL."""
        try:
            async with self._pool.connection() as connection:
                yield connection
        except PoolTimeout as error:
            raise PoolExhausted from error

    @asynccontextmanager
    async def leadership(self, role: str) -> AsyncIterator[AsyncConnection[DictRow] | None]:
        """Lead a role that one process of the deployment may have at a time, by a session lock of the database.

        Yields the connection that holds the lock (usable for LISTEN), or None when another process leads. The lock ends
        with the block or with the connection, so a killed leader is succeeded as soon as the database notices. One
        that is paused, or whose machine is gone, cannot say so: the database cuts a leader that says nothing on this
        connection for `LEADER_SILENCE` seconds, so it must be used at least that often.
        """
        async with self.connection() as connection:
            cursor = await connection.execute(
                "select pg_try_advisory_lock(hashtextextended(%s, 0)) as held", (f"lockstep.leader.{role}",)
            )
            row = await cursor.fetchone()
            if row is None or not row["held"]:
                yield None
                return
            try:
                for timeout in _SILENCE:
                    await connection.execute("select set_config(%s, %s, false)", (timeout, f"{LEADER_SILENCE}s"))
                yield connection
            finally:
                if not connection.closed:
                    try:
                        await asyncio.shield(connection.execute(_RESIGN, prepare=False))
                    except (psycopg.Error, asyncio.CancelledError):
                        await connection.close()

    @asynccontextmanager
    async def tenant(self, app_id: AppId) -> AsyncIterator[UnitOfWork]:
        """A transaction that sees and writes the rows of one app only."""
        if not is_id(app_id):
            raise ValueError("app_id must be an id")
        async with self._transaction(
            f"begin; set local role lockstep_tenant; set local lockstep.app_id = '{app_id}'", app_id
        ) as uow:
            yield uow

    @asynccontextmanager
    async def system(self, purpose: str) -> AsyncIterator[UnitOfWork]:
        """A transaction over all apps; ``purpose`` names the caller and shows in ``lockstep.purpose``."""
        if not _PURPOSE.fullmatch(purpose):
            raise ValueError("purpose must be a short lower-case word")
        async with self._transaction(
            f"begin; set local role lockstep_system; set local lockstep.purpose = '{purpose}'", None
        ) as uow:
            yield uow

    async def ask(
        self, connection: AsyncConnection[DictRow], purpose: str, statement: LiteralString, *numbers: int
    ) -> list[Row]:
        """Run one statement as a system transaction of its own in a single round trip; returns its rows.

        For loops that look many times a second on a connection that they hold anyway (a leader, a listener).

        Args:
            connection: from `connection` or `leadership`.
            statement: with ``%d`` for each number; the protocol of several statements at once takes no parameters.
        """
        if not _PURPOSE.fullmatch(purpose):
            raise ValueError("purpose must be a short lower-case word")
        try:
            cursor = await connection.execute(
                f"begin; set local role lockstep_system; set local lockstep.purpose = '{purpose}';"
                f" {statement % tuple(int(number) for number in numbers)}; commit",
                prepare=False,
            )
        except BaseException:
            await _rollback(connection)
            raise
        while cursor.description is None:
            if not cursor.nextset():
                return []
        return await cursor.fetchall()

    @asynccontextmanager
    async def _transaction(self, begin: str, app_id: AppId | None) -> AsyncIterator[UnitOfWork]:
        uow: UnitOfWork | None = None
        try:
            async with self._pool.connection() as connection:
                uow = UnitOfWork(connection, app_id)
                # One round trip; app_id and purpose were checked to be harmless text.
                await connection.execute(begin, prepare=False)
                try:
                    yield uow
                    await uow.run_before_commit()
                    await connection.execute("commit")
                except BaseException:
                    await _rollback(connection)
                    raise
        except PoolTimeout as error:
            raise PoolExhausted from error
        except (psycopg.OperationalError, psycopg.InterfaceError) as error:
            if _is_connection_loss(error):
                raise DatabaseUnavailable from error
            if error.sqlstate is not None and error.sqlstate.startswith("53"):  # insufficient resources
                raise DatabaseFull from error
            if isinstance(error, psycopg.errors.DeadlockDetected):
                raise DatabaseContended from error
            raise
        except LockstepError:
            if uow is not None:
                await uow.run_after_rollback()
            raise
        await uow.run_after_commit()


def _is_connection_loss(error: psycopg.Error) -> bool:
    """Lost connections and a server going down or coming up (class 08, 57P0x) pass; other faults are bugs."""
    return error.sqlstate is None or error.sqlstate.startswith(("08", "57P"))


async def _rollback(connection: AsyncConnection[DictRow]) -> None:
    """Roll back even while being cancelled; a dead connection needs none (the pool throws it away)."""
    if connection.closed:
        return
    try:
        await asyncio.shield(connection.execute("rollback"))
    except (psycopg.Error, asyncio.CancelledError):
        await connection.close()
