"""What keeping tenants apart costs per transaction: the tenant's role and row-level security against a plain table."""

from __future__ import annotations

import time
from statistics import median

import psycopg
from psycopg.conninfo import make_conninfo

from benchmarks.figures import Figure, fresh_database
from lockstep.kit.ids import new_id

ROUNDS, AT_ONCE = 40, 50


async def run() -> list[Figure]:
    app_id = new_id()
    guarded = f"begin; set local role lockstep_tenant; set local lockstep.app_id = '{app_id}'"
    async with fresh_database() as dsn:
        with psycopg.connect(make_conninfo(dsn, user="lockstep_owner"), autocommit=True) as owner:
            owner.execute("create table plain (like outbox including all)")
            owner.execute("grant select, insert on plain to lockstep_service")
            owner.execute("grant usage on all sequences in schema public to lockstep_service")
        with psycopg.connect(dsn, autocommit=True) as connection:
            connection.execute("set synchronous_commit = off")  # the disk is the same for both
            seconds: dict[str, list[float]] = {"outbox": [], "plain": []}
            for _ in range(ROUNDS):
                seconds["plain"].append(_transactions(connection, "begin", "plain", app_id))
                seconds["outbox"].append(_transactions(connection, guarded, "outbox", app_id))
    took = {table: 1e6 * median(sorted(each)[: ROUNDS // 2]) / AT_ONCE for table, each in seconds.items()}
    return [
        Figure(
            name="tenant",
            value=took["outbox"] - took["plain"],
            unit="µs",
            baseline=took["plain"],
            ratio=took["plain"] / took["outbox"],
            wanted={"value": 150},
        )
    ]


def _transactions(connection: psycopg.Connection, begin: str, table: str, app_id: str) -> float:
    """Seconds that transactions of one write and one read take."""
    began = time.perf_counter()
    for _ in range(AT_ONCE):
        connection.execute(begin.encode(), prepare=False)
        row = connection.execute(
            f"insert into {table} (topic, type, object_id, version, app_id, data)"
            " values ('bench', 'bench', 'x', 1, %s, '{}') returning id".encode(),
            (app_id,),
        ).fetchone()
        connection.execute(f"select * from {table} where id = %s".encode(), row)
        connection.execute("commit")
    return time.perf_counter() - began
