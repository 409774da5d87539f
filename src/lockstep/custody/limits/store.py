"""SQL of aggregations."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from psycopg.types.json import Jsonb

from lockstep.custody.limits.types import Aggregation
from lockstep.kit.database import Row, UnitOfWork
from lockstep.kit.ids import AppId

_AGGREGATION = """
select id, app_id, name, document, created_at from aggregations where app_id = %s and deleted_at is null
"""


async def lock_aggregations(uow: UnitOfWork, app_id: AppId) -> None:
    """Let nobody else add to the app's aggregations until the transaction ends."""
    await uow.execute("select pg_advisory_xact_lock(hashtextextended(%s, 0))", (f"lockstep.aggregations.{app_id}",))


async def insert_aggregation(uow: UnitOfWork, aggregation: Aggregation, seal: bytes, created_by: str) -> None:
    await uow.execute(
        "insert into aggregations (id, app_id, name, document, seal, created_by, created_at)"
        " values (%s, %s, %s, %s, %s, %s, %s)",
        (
            aggregation.id,
            aggregation.app_id,
            aggregation.name,
            Jsonb(dict(aggregation.document)),
            seal,
            created_by,
            aggregation.created_at,
        ),
    )


async def list_aggregations(uow: UnitOfWork, app_id: AppId) -> list[Aggregation]:
    """All that policies may name, oldest first."""
    rows = await uow.fetch(
        _AGGREGATION + " order by id",
        (app_id,),
    )
    return [_aggregation(row) for row in rows]


async def find_aggregation(
    uow: UnitOfWork, app_id: AppId, aggregation_id: str, *, lock: bool = False
) -> Aggregation | None:
    """One that policies may name; with `lock` no policy names it anew until the transaction ends."""
    row = await uow.find(
        _AGGREGATION + " and id = %s" + (" for update" if lock else ""),
        (app_id, aggregation_id),
    )
    return _aggregation(row) if row else None


async def hold_aggregations(uow: UnitOfWork, app_id: AppId, ids: Sequence[str]) -> set[str]:
    """Those of these ids that exist; they are not deleted until the transaction ends."""
    rows = await uow.fetch(
        "select id from aggregations where app_id = %s and id = any(%s) and deleted_at is null order by id for share",
        (app_id, list(ids)),
    )
    return {row["id"] for row in rows}


async def delete_aggregation(uow: UnitOfWork, aggregation: Aggregation, now: datetime) -> None:
    await uow.execute(
        "update aggregations set deleted_at = %s where app_id = %s and id = %s",
        (now, aggregation.app_id, aggregation.id),
    )


async def find_user_of(uow: UnitOfWork, aggregation: Aggregation) -> str | None:
    """Id of a policy whose revision in force names an aggregation."""
    row = await uow.find(
        "select p.id from policies p join policy_revisions r"
        " on r.app_id = p.app_id and r.policy_id = p.id and r.revision = p.revision"
        " where p.app_id = %s and position(%s in r.document::text) > 0 order by p.id limit 1",
        (aggregation.app_id, aggregation.reference),
    )
    return None if row is None else row["id"]


async def load_documents(
    uow: UnitOfWork, app_ids: Sequence[str], ids: Sequence[str]
) -> dict[str, tuple[str, dict[str, Any], bytes]]:
    """(app, document, seal) by id."""
    rows = await uow.fetch(
        "select id, app_id, document, seal from aggregations"
        " where app_id = any(%s) and id = any(%s) and deleted_at is null",
        (list(app_ids), list(ids)),
    )
    return {row["id"]: (row["app_id"], row["document"], bytes(row["seal"])) for row in rows}


def _aggregation(row: Row) -> Aggregation:
    return Aggregation(
        id=row["id"],
        app_id=AppId(row["app_id"]),
        name=row["name"],
        document=row["document"],
        created_at=row["created_at"],
    )
