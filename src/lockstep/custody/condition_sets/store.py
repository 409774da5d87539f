"""SQL of condition sets, their items, and the policies that name them."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime

from lockstep.custody.condition_sets.types import ConditionSet, ConditionSetItem
from lockstep.custody.policy import SetType
from lockstep.custody.seals import Sealed
from lockstep.kit.database import Row, UnitOfWork
from lockstep.kit.ids import AppId, UserId

_SET = """
select id, app_id, name, description, value_type, owner_user_id, revision, item_count, content_hash, created_at, updated_at
from condition_sets
"""
_CONTENT = """
select count(*) as item_count,
    sha256(convert_to(%s || chr(10), 'UTF8')
        || coalesce(string_agg(sha256(convert_to(value, 'UTF8')), ''::bytea order by value), ''::bytea)) as content_hash
from condition_set_items where app_id = %s and set_id = %s
"""
_SEALED_COLUMNS = """
select s.id, s.app_id, s.name, s.description, s.value_type, s.owner_user_id, s.revision, s.item_count, s.content_hash,
    s.created_at, s.updated_at, z.revision as sealed_revision, z.code
"""
_SEALED_SETS = """
from condition_sets s left join seals z on z.app_id = s.app_id and z.kind = 'condition_set' and z.id = s.id
where s.app_id = %s and s.id = any(%s)
"""
_ITEMS_COLUMN = """
    , array(select i.value from condition_set_items i where i.app_id = s.app_id and i.set_id = s.id order by i.value) as items
"""


async def insert_set(uow: UnitOfWork, made: ConditionSet) -> None:
    await uow.execute(
        "insert into condition_sets (id, app_id, name, description, value_type, owner_user_id, revision, item_count,"
        " content_hash, created_at, updated_at) values (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)",
        (
            made.id,
            made.app_id,
            made.name,
            made.description,
            str(made.value_type),
            made.owner_user_id,
            made.revision,
            made.item_count,
            made.content_hash,
            made.created_at,
            made.updated_at,
        ),
    )


async def find_set(uow: UnitOfWork, app_id: AppId, set_id: str) -> ConditionSet | None:
    row = await uow.find(_SET + " where app_id = %s and id = %s", (app_id, set_id))
    return _set(row) if row else None


async def lock_set(uow: UnitOfWork, app_id: AppId, set_id: str) -> ConditionSet | None:
    """The set, locked against a second change; policies may go on naming it."""
    row = await uow.find(_SET + " where app_id = %s and id = %s for no key update", (app_id, set_id))
    return _set(row) if row else None


async def lock_types(
    uow: UnitOfWork, app_id: AppId, set_ids: Collection[str], *, visible_to: str | None
) -> dict[str, SetType]:
    """Types of those of these sets that a user (None: the app) may see; none of them is deleted before the commit."""
    if not set_ids:
        return {}
    rows = await uow.fetch(
        "select id, value_type from condition_sets where app_id = %s and id = any(%s)"
        " and (%s::text is null or owner_user_id is null or owner_user_id = %s) order by id for key share",
        (app_id, list(set_ids), visible_to, visible_to),
    )
    return {row["id"]: SetType(row["value_type"]) for row in rows}


async def list_sets(
    uow: UnitOfWork, app_id: AppId, *, visible_to: str | None, after: str | None, limit: int
) -> list[ConditionSet]:
    """Sets in the order of their making; a user sees its own and those of the app."""
    rows = await uow.fetch(
        _SET + " where app_id = %s and (%s::text is null or owner_user_id is null or owner_user_id = %s)"
        " and (%s::text is null or id > %s) order by id limit %s",
        (app_id, visible_to, visible_to, after, after, limit),
    )
    return [_set(row) for row in rows]


async def update_words(
    uow: UnitOfWork, app_id: AppId, set_id: str, name: str, description: str | None, now: datetime
) -> ConditionSet:
    """Write what is for people only."""
    row = await uow.get(
        "update condition_sets set name = %s, description = %s, updated_at = %s where app_id = %s and id = %s"
        " returning *",
        (name, description, now, app_id, set_id),
    )
    return _set(row)


async def is_in_use(uow: UnitOfWork, app_id: AppId, set_id: str) -> bool:
    """Whether a policy in force names the set; locks it, so that none begins to."""
    await uow.execute("select from condition_sets where app_id = %s and id = %s for update", (app_id, set_id))
    row = await uow.find(
        "select from policy_condition_sets where app_id = %s and set_id = %s limit 1", (app_id, set_id)
    )
    return row is not None


async def delete_set(uow: UnitOfWork, app_id: AppId, set_id: str) -> None:
    """Delete a set with its items."""
    await uow.execute("delete from condition_sets where app_id = %s and id = %s", (app_id, set_id))


async def insert_items(uow: UnitOfWork, app_id: AppId, items: Sequence[ConditionSetItem]) -> int:
    """Add those whose value is not in the set yet; returns how many these were."""
    return await uow.execute(
        "insert into condition_set_items (id, app_id, set_id, value, original, created_at)"
        " select q.id, %s, q.set_id, q.value, q.original, q.created_at"
        " from unnest(%b::text[], %b::text[], %b::text[], %b::text[], %b::timestamptz[])"
        " as q (id, set_id, value, original, created_at) on conflict (set_id, value) do nothing",
        (
            app_id,
            [item.id for item in items],
            [item.set_id for item in items],
            [item.value for item in items],
            [item.original for item in items],
            [item.created_at for item in items],
        ),
    )


async def delete_items_except(uow: UnitOfWork, app_id: AppId, set_id: str, values: Collection[str]) -> int:
    """Delete the items with other values than these; returns how many these were."""
    return await uow.execute(
        "delete from condition_set_items where app_id = %s and set_id = %s and value <> all(%s)",
        (app_id, set_id, list(values)),
    )


async def delete_item(uow: UnitOfWork, app_id: AppId, set_id: str, item_id: str) -> int:
    return await uow.execute(
        "delete from condition_set_items where app_id = %s and set_id = %s and id = %s", (app_id, set_id, item_id)
    )


async def compute_content(uow: UnitOfWork, of: ConditionSet) -> tuple[int, bytes]:
    """Number and hash of the items that a set has now."""
    row = await uow.get(_CONTENT, (str(of.value_type), of.app_id, of.id))
    return row["item_count"], bytes(row["content_hash"])


async def count_revision(uow: UnitOfWork, changed: ConditionSet, now: datetime) -> ConditionSet:
    """The next revision of a set whose items were changed, with their number and hash."""
    count, content_hash = await compute_content(uow, changed)
    row = await uow.get(
        "update condition_sets set revision = revision + 1, item_count = %s, content_hash = %s, updated_at = %s"
        " where app_id = %s and id = %s returning *",
        (count, content_hash, now, changed.app_id, changed.id),
    )
    return _set(row)


async def list_items(
    uow: UnitOfWork, app_id: AppId, set_id: str, *, query: str | None, after: str | None, limit: int
) -> list[ConditionSetItem]:
    """Items in the order in which they were added.

    Args:
        query: a part of the value, as it was written or as it is compared; case does not matter.
    """
    rows = await uow.fetch(
        "select id, set_id, value, original, created_at from condition_set_items where app_id = %s and set_id = %s"
        " and (%s::text is null or strpos(lower(original), lower(%s)) > 0 or strpos(lower(value), lower(%s)) > 0)"
        " and (%s::text is null or id > %s) order by id limit %s",
        (app_id, set_id, query, query, query, after, after, limit),
    )
    return [_item(row) for row in rows]


async def find_items(
    uow: UnitOfWork, app_id: AppId, set_id: str, *, values: Collection[str] = (), ids: Collection[str] = ()
) -> list[ConditionSetItem]:
    """Those of the items with these values or ids that the set has, in the order in which they were added."""
    rows = await uow.fetch(
        "select id, set_id, value, original, created_at from condition_set_items"
        " where app_id = %s and set_id = %s and (value = any(%s) or id = any(%s)) order by id",
        (app_id, set_id, list(values), list(ids)),
    )
    return [_item(row) for row in rows]


async def find_sealed(
    uow: UnitOfWork, app_id: AppId, set_ids: Collection[str]
) -> list[tuple[ConditionSet, Sealed | None]]:
    """Those of these sets that exist, with their seals."""
    return [(_set(row), _seal(row)) for row in await uow.fetch(_SEALED_COLUMNS + _SEALED_SETS, (app_id, list(set_ids)))]


async def find_content(
    uow: UnitOfWork, app_id: AppId, set_id: str
) -> tuple[ConditionSet, Sealed | None, list[str]] | None:
    """A set with its seal and all its values, in the order of their bytes, as of one moment."""
    row = await uow.find(_SEALED_COLUMNS + _ITEMS_COLUMN + _SEALED_SETS, (app_id, [set_id]))
    return None if row is None else (_set(row), _seal(row), row["items"])


async def link_policy(uow: UnitOfWork, app_id: AppId, policy_id: str, set_ids: Collection[str]) -> None:
    """Note which sets the revision in force of a policy names."""
    await uow.execute(
        "delete from policy_condition_sets where app_id = %s and policy_id = %s and set_id <> all(%s)",
        (app_id, policy_id, list(set_ids)),
    )
    await uow.execute(
        "insert into policy_condition_sets (app_id, policy_id, set_id)"
        " select %s, %s, q.id from unnest(%b::text[]) as q (id) on conflict do nothing",
        (app_id, policy_id, list(set_ids)),
    )


def _set(row: Row) -> ConditionSet:
    return ConditionSet(
        id=row["id"],
        app_id=AppId(row["app_id"]),
        name=row["name"],
        description=row["description"],
        value_type=SetType(row["value_type"]),
        owner_user_id=None if row["owner_user_id"] is None else UserId(row["owner_user_id"]),
        revision=row["revision"],
        item_count=row["item_count"],
        content_hash=bytes(row["content_hash"]),
        created_at=row["created_at"],
        updated_at=row["updated_at"],
    )


def _seal(row: Row) -> Sealed | None:
    return None if row["code"] is None else Sealed(row["sealed_revision"], bytes(row["code"]))


def _item(row: Row) -> ConditionSetItem:
    return ConditionSetItem(**row)
