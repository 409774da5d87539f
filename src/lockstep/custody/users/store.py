"""SQL of users as their app looks after them."""

from __future__ import annotations

from lockstep.custody.users.types import User
from lockstep.kit.database import Row, UnitOfWork
from lockstep.kit.ids import AppId


async def find_user(uow: UnitOfWork, app_id: AppId, user_id: str, *, lock: bool = False) -> User | None:
    """A user of the app; with `lock` nobody else changes it until the transaction ends."""
    query = "select * from users where app_id = %s and id = %s"
    row = await uow.find(query + " for update" if lock else query, (app_id, user_id))
    return _user(row) if row else None


async def list_users(uow: UnitOfWork, app_id: AppId, after: str | None, limit: int) -> list[User]:
    """Users in the order in which they came."""
    rows = await uow.fetch(
        "select * from users where app_id = %s and id > %s order by id limit %s", (app_id, after or "", limit)
    )
    return [_user(row) for row in rows]


async def update_user(uow: UnitOfWork, user: User) -> None:
    """Write role and status."""
    await uow.execute(
        "update users set role = %s, status = %s where app_id = %s and id = %s",
        (user.role, user.status, user.app_id, user.id),
    )


def _user(row: Row) -> User:
    return User(
        id=row["id"],
        app_id=row["app_id"],
        issuer=row["issuer"],
        subject=row["subject"],
        role=row["role"],
        status=row["status"],
        created_at=row["created_at"],
    )
