"""Somebody who can write to the whole database, and has no key of ours."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import psycopg

TABLES = (
    "wallets",
    "policies",
    "policy_revisions",
    "session_signers",
    "kill_switches",
    "seals",
    "app_secrets",
    "apps",
    "audit_entries",
    "audit_heads",
)


class Attacker:
    """Writes what it wants: no trigger, row-level security or foreign key is in its way."""

    def __init__(self, connection: psycopg.AsyncConnection[Any]) -> None:
        self._connection = connection

    async def run(self, query: str, *params: object) -> None:
        """
        Raises:
            AssertionError: the edit has changed nothing, so it proves nothing.
        """
        done = await self._connection.execute(query, params)  # type: ignore[arg-type]  # queries of tests are literals
        assert done.rowcount > 0

    async def execute(self, query: str, names: dict[str, object]) -> None:
        """As `run`, with named parameters."""
        done = await self._connection.execute(query, names)  # type: ignore[arg-type]  # queries of tests are literals
        assert done.rowcount > 0

    async def copy(self) -> None:
        """Keep all rows as they are now."""
        for table in TABLES:
            await self._connection.execute(f"drop table if exists kept_{table}")  # type: ignore[arg-type]
            await self._connection.execute(f"create table kept_{table} as table {table}")  # type: ignore[arg-type]

    async def bring_back(self, *tables: str) -> None:
        """Put rows back as they were kept, their seals too: those that are newer are gone."""
        for table in (*tables, "seals"):
            await self._connection.execute(f"delete from {table}")  # type: ignore[arg-type]
            found = await self._connection.execute(
                "select string_agg(column_name, ', ' order by ordinal_position) from information_schema.columns"
                " where table_schema = 'public' and table_name = %s and is_generated = 'NEVER'",
                (table,),
            )
            (columns,) = await found.fetchone() or ("",)
            kept = f"insert into {table} ({columns}) select {columns} from kept_{table}"
            await self._connection.execute(kept)  # type: ignore[call-overload]


@asynccontextmanager
async def attacking(admin_dsn: str) -> AsyncIterator[Attacker]:
    """The attacker, as long as the block runs."""
    async with await psycopg.AsyncConnection.connect(admin_dsn, autocommit=True) as connection:
        await connection.execute("set session_replication_role = replica")
        yield Attacker(connection)
