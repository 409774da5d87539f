"""SQL of kill switches. Rows are never deleted: released ones are the history."""

from __future__ import annotations

from datetime import datetime
from typing import LiteralString

from lockstep.custody.switches.types import KillSwitch
from lockstep.kit.database import Row, UnitOfWork
from lockstep.kit.ids import AppId

_ENGAGED: LiteralString = (
    "select id, app_id, reason, engaged_by, engaged_at from kill_switches where released_at is null"
)


async def insert_switch(uow: UnitOfWork, switch: KillSwitch) -> bool:
    """False when one is engaged there already."""
    touched = await uow.execute(
        "insert into kill_switches (id, app_id, reason, engaged_by, engaged_at) values (%s, %s, %s, %s, %s)"
        " on conflict do nothing",
        (switch.id, switch.app_id, switch.reason, switch.engaged_by, switch.engaged_at),
    )
    return touched == 1


async def find_engaged(uow: UnitOfWork, app_id: AppId | None) -> KillSwitch | None:
    """The one that stops this app (None: the deployment) now, locked."""
    row = await uow.find(_ENGAGED + " and app_id is not distinct from %s for update", (app_id,))
    return _switch(row) if row else None


async def list_engaged(uow: UnitOfWork) -> list[KillSwitch]:
    """Those that stop something now, among those that the unit of work may see; the oldest first."""
    rows = await uow.fetch(_ENGAGED + " order by engaged_at, id")
    return [_switch(row) for row in rows]


async def release_switch(uow: UnitOfWork, switch: KillSwitch, released_by: str, now: datetime) -> None:
    await uow.execute(
        "update kill_switches set released_by = %s, released_at = %s where id = %s and app_id is not distinct from %s",
        (released_by, now, switch.id, switch.app_id),
    )


def _switch(row: Row) -> KillSwitch:
    return KillSwitch(**row)
