"""SQL of seals."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from lockstep.custody.seals.rules import Sealed
from lockstep.kit.database import UnitOfWork


def read_seals(rows: Iterable[Sequence[Any]]) -> dict[tuple[str, str], Sealed]:
    """Seals by (kind, id), from rows of JSON: kind, id, revision, code in hex."""
    return {(kind, subject): Sealed(revision, bytes.fromhex(code)) for kind, subject, revision, code in rows}


async def find_seals(
    uow: UnitOfWork, app_id: str, subjects: Sequence[tuple[str, str]]
) -> dict[tuple[str, str], Sealed]:
    """Seals by (kind, id) of what belongs to an app (empty: to the deployment)."""
    rows = await uow.fetch(
        "select z.kind, z.id, z.revision, z.code from seals z"
        " join unnest(%b::text[], %b::text[]) as q (kind, id) using (kind, id) where z.app_id = %s",
        ([kind for kind, _ in subjects], [subject for _, subject in subjects], app_id),
    )
    return {(row["kind"], row["id"]): Sealed(row["revision"], bytes(row["code"])) for row in rows}


async def put_seals(uow: UnitOfWork, app_id: str, seals: Mapping[tuple[str, str], Sealed]) -> int:
    """Write seals in place of those of the revision before; returns how many were written.

    A row that changed meanwhile is left as it is.
    """
    return await uow.execute(
        "insert into seals (kind, id, app_id, revision, code)"
        " select q.kind, q.id, %s, q.revision, q.code"
        " from unnest(%b::text[], %b::text[], %b::bigint[], %b::bytea[]) as q (kind, id, revision, code)"
        " order by q.kind, q.id"
        " on conflict (id, kind) do update set revision = excluded.revision, code = excluded.code"
        " where seals.app_id = excluded.app_id and seals.revision = excluded.revision - 1",
        (
            app_id,
            [kind for kind, _ in seals],
            [subject for _, subject in seals],
            [seal.revision for seal in seals.values()],
            [seal.code for seal in seals.values()],
        ),
    )


async def delete_seal(uow: UnitOfWork, app_id: str, kind: str, subject: str) -> None:
    await uow.execute("delete from seals where app_id = %s and kind = %s and id = %s", (app_id, kind, subject))
