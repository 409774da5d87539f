"""SQL of authorization keys, quorums, owners, and signed requests that were used."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from lockstep.custody.authority.proofs import RequestProof
from lockstep.custody.authority.types import AuthorizationKeyRow, KeyQuorum, Owner, OwnerKey
from lockstep.kit.database import Row, UnitOfWork
from lockstep.kit.ids import AppId

_QUORUM = """
select q.*,
    array(select m.key_id from key_quorum_members m where m.app_id = q.app_id and m.quorum_id = q.id
        and m.key_id is not null order by m.key_id) as key_ids,
    array(select m.user_id from key_quorum_members m where m.app_id = q.app_id and m.quorum_id = q.id
        and m.user_id is not null order by m.user_id) as user_ids,
    array(select m.child_id from key_quorum_members m where m.app_id = q.app_id and m.quorum_id = q.id
        and m.child_id is not null order by m.child_id) as quorum_ids
from key_quorums q
"""


async def lock_authority(uow: UnitOfWork, app_id: AppId) -> None:
    """One change of keys and quorums of an app at a time: what a change is checked against stays until it is written."""
    await uow.find("select pg_advisory_xact_lock(hashtextextended('lockstep.authority.' || %s, 0)) as x", (app_id,))


# --- owners -----------------------------------------------------------------------------------------------------------


async def find_owner(uow: UnitOfWork, app_id: AppId, owner_id: str | None) -> Owner | None:
    """The key or quorum with this id as an owner."""
    if owner_id is None:
        return None
    row = await uow.get(
        "select lockstep_owner(%(app_id)s, %(id)s, %(id)s) as owner", {"app_id": app_id, "id": owner_id}
    )
    return read_owner(row["owner"])


def read_owner(value: Mapping[str, Any] | None) -> Owner | None:
    """An owner as `lockstep_owner` in the database gives it."""
    if value is None:
        return None
    return Owner(
        id=value["id"],
        kind=value["kind"],
        threshold=value["threshold"],
        keys=tuple(key for each in value["keys"] if (key := read_key(each)) is not None),
        user_ids=tuple(value["users"]),
        disabled=frozenset(value.get("disabled", ())),
        quorums=tuple(quorum for each in value["quorums"] if (quorum := read_owner(each)) is not None),
    )


def read_key(value: Mapping[str, Any] | None) -> OwnerKey | None:
    """A key as `lockstep_key` in the database gives it."""
    if value is None:
        return None
    return OwnerKey(
        id=value["id"],
        public_key=bytes.fromhex(value["public_key"]),
        revision=value["revision"],
        is_active=value["is_active"],
    )


async def is_owner(uow: UnitOfWork, app_id: AppId, owner_id: str) -> bool:
    """Whether a wallet or a policy belongs to this key or quorum."""
    row = await uow.get(
        "select exists (select from wallets where app_id = %(app_id)s and %(id)s in (owner_key_id, owner_quorum_id))"
        " or exists (select from policies where app_id = %(app_id)s and %(id)s in (owner_key_id, owner_quorum_id)) as x",
        {"app_id": app_id, "id": owner_id},
    )
    return bool(row["x"])


# --- keys -------------------------------------------------------------------------------------------------------------


async def insert_key(uow: UnitOfWork, key: AuthorizationKeyRow) -> None:
    await uow.execute(
        "insert into authorization_keys (id, app_id, public_key, display_name, created_at) values (%s, %s, %s, %s, %s)",
        (key.id, key.app_id, key.public_key, key.display_name, key.created_at),
    )


async def insert_point(uow: UnitOfWork, key: AuthorizationKeyRow, now: datetime) -> bool:
    """Note the public key of a key; False when the app has, or had, it already."""
    touched = await uow.execute(
        "insert into authorization_key_points (app_id, public_key, key_id, revision, created_at)"
        " values (%s, %s, %s, %s, %s) on conflict do nothing",
        (key.app_id, key.public_key, key.id, key.revision, now),
    )
    return touched == 1


async def find_key(uow: UnitOfWork, app_id: AppId, key_id: str) -> AuthorizationKeyRow | None:
    row = await uow.find("select * from authorization_keys where app_id = %s and id = %s", (app_id, key_id))
    return _key(row) if row else None


async def list_keys(uow: UnitOfWork, app_id: AppId, *, after: str | None, limit: int) -> list[AuthorizationKeyRow]:
    rows = await uow.fetch(
        "select * from authorization_keys where app_id = %s and (%s::text is null or id > %s) order by id limit %s",
        (app_id, after, after, limit),
    )
    return [_key(row) for row in rows]


async def update_key(uow: UnitOfWork, key: AuthorizationKeyRow) -> None:
    await uow.execute(
        "update authorization_keys set public_key = %s, status = %s, revision = %s, rotated_at = %s, revoked_at = %s"
        " where app_id = %s and id = %s",
        (key.public_key, key.status, key.revision, key.rotated_at, key.revoked_at, key.app_id, key.id),
    )


async def list_key_owners(uow: UnitOfWork, app_id: AppId, key_id: str) -> list[Owner]:
    """The quorums that have this key, and those that have such a quorum in them."""
    rows = await uow.fetch(
        "with direct as (select quorum_id as id from key_quorum_members where app_id = %(app_id)s and key_id = %(id)s)"
        " select lockstep_owner(%(app_id)s, null, q.id) as owner from (select id from direct union"
        " select m.quorum_id from key_quorum_members m join direct d on m.child_id = d.id where m.app_id = %(app_id)s) q",
        {"app_id": app_id, "id": key_id},
    )
    return [owner for row in rows if (owner := read_owner(row["owner"])) is not None]


# --- quorums ----------------------------------------------------------------------------------------------------------


async def insert_quorum(uow: UnitOfWork, quorum: KeyQuorum) -> None:
    await uow.execute(
        "insert into key_quorums (id, app_id, display_name, threshold, created_at, updated_at)"
        " values (%s, %s, %s, %s, %s, %s)",
        (quorum.id, quorum.app_id, quorum.display_name, quorum.threshold, quorum.created_at, quorum.updated_at),
    )
    await _insert_members(uow, quorum)


async def update_quorum(uow: UnitOfWork, quorum: KeyQuorum) -> None:
    """Write a quorum with other members."""
    await uow.execute(
        "update key_quorums set display_name = %s, threshold = %s, version = %s, updated_at = %s"
        " where app_id = %s and id = %s",
        (quorum.display_name, quorum.threshold, quorum.version, quorum.updated_at, quorum.app_id, quorum.id),
    )
    await uow.execute("delete from key_quorum_members where app_id = %s and quorum_id = %s", (quorum.app_id, quorum.id))
    await _insert_members(uow, quorum)


async def _insert_members(uow: UnitOfWork, quorum: KeyQuorum) -> None:
    members: list[tuple[str | None, str | None, str | None]] = [
        *((key, None, None) for key in quorum.key_ids),
        *((None, user, None) for user in quorum.user_ids),
        *((None, None, child) for child in quorum.quorum_ids),
    ]
    await uow.execute_many(
        "insert into key_quorum_members (app_id, quorum_id, key_id, user_id, child_id) values (%s, %s, %s, %s, %s)",
        [(quorum.app_id, quorum.id, *member) for member in members],
    )


async def delete_quorum(uow: UnitOfWork, app_id: AppId, quorum_id: str) -> None:
    await uow.execute("delete from key_quorums where app_id = %s and id = %s", (app_id, quorum_id))


async def find_quorum(uow: UnitOfWork, app_id: AppId, quorum_id: str) -> KeyQuorum | None:
    row = await uow.find(_QUORUM + " where q.app_id = %s and q.id = %s", (app_id, quorum_id))
    return _quorum(row) if row else None


async def list_quorums(uow: UnitOfWork, app_id: AppId, *, after: str | None, limit: int) -> list[KeyQuorum]:
    rows = await uow.fetch(
        _QUORUM + " where q.app_id = %s and (%s::text is null or q.id > %s) order by q.id limit %s",
        (app_id, after, after, limit),
    )
    return [_quorum(row) for row in rows]


async def list_parents(uow: UnitOfWork, app_id: AppId, quorum_id: str) -> list[Owner]:
    """The quorums that have this one in them."""
    rows = await uow.fetch(
        "select lockstep_owner(app_id, null, quorum_id) as owner from key_quorum_members"
        " where app_id = %s and child_id = %s",
        (app_id, quorum_id),
    )
    return [owner for row in rows if (owner := read_owner(row["owner"])) is not None]


async def list_quorums_of_user(uow: UnitOfWork, app_id: AppId, user_id: str) -> list[str]:
    """Ids of the quorums in which a user stands, directly or in a quorum in them."""
    rows = await uow.fetch(
        "with direct as (select quorum_id as id from key_quorum_members where app_id = %(app_id)s and user_id = %(id)s)"
        " select id from direct union select m.quorum_id from key_quorum_members m join direct d on m.child_id = d.id"
        " where m.app_id = %(app_id)s",
        {"app_id": app_id, "id": user_id},
    )
    return [row["id"] for row in rows]


# --- used requests ----------------------------------------------------------------------------------------------------


async def use_request(uow: UnitOfWork, app_id: AppId, proof: RequestProof) -> bool:
    """Note that a signed request is carried out; False when an earlier arrival of it was."""
    touched = await uow.execute(
        "insert into used_requests as u (app_id, payload_hash, use_id, expires_at) values (%s, %s, %s, %s)"
        " on conflict (app_id, payload_hash) do update set use_id = u.use_id where u.use_id = excluded.use_id",
        (app_id, proof.payload_hash, proof.use_id, proof.expires_at),
    )
    return touched == 1


async def delete_expired_requests(uow: UnitOfWork, now: datetime) -> int:
    return await uow.execute(
        "delete from used_requests where expires_at < %s /* all tenants: forgets what is refused as expired */", (now,)
    )


async def unknown_members(
    uow: UnitOfWork, app_id: AppId, key_ids: Sequence[str], user_ids: Sequence[str], quorum_ids: Sequence[str]
) -> list[str]:
    """Those of these ids that the app does not have."""
    rows = await uow.fetch(
        "select wanted.id from unnest(%(keys)s::text[]) wanted (id) where not exists"
        " (select from authorization_keys k where k.app_id = %(app_id)s and k.id = wanted.id)"
        " union all select wanted.id from unnest(%(users)s::text[]) wanted (id) where not exists"
        " (select from users u where u.app_id = %(app_id)s and u.id = wanted.id)"
        " union all select wanted.id from unnest(%(quorums)s::text[]) wanted (id) where not exists"
        " (select from key_quorums q where q.app_id = %(app_id)s and q.id = wanted.id)",
        {"app_id": app_id, "keys": list(key_ids), "users": list(user_ids), "quorums": list(quorum_ids)},
    )
    return [row["id"] for row in rows]


def _key(row: Row) -> AuthorizationKeyRow:
    return AuthorizationKeyRow(
        id=row["id"],
        app_id=AppId(row["app_id"]),
        public_key=bytes(row["public_key"]),
        display_name=row["display_name"],
        status=row["status"],
        revision=row["revision"],
        created_at=row["created_at"],
        rotated_at=row["rotated_at"],
        revoked_at=row["revoked_at"],
    )


def _quorum(row: Row) -> KeyQuorum:
    return KeyQuorum(
        id=row["id"],
        app_id=AppId(row["app_id"]),
        display_name=row["display_name"],
        threshold=row["threshold"],
        key_ids=tuple(row["key_ids"]),
        user_ids=tuple(row["user_ids"]),
        quorum_ids=tuple(row["quorum_ids"]),
        version=row["version"],
        created_at=row["created_at"],
        updated_at=row["updated_at"],
    )
