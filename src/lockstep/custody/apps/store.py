"""SQL of apps as a whole. All tenants: administrators look after every app."""

from __future__ import annotations

from collections.abc import Mapping

from lockstep.custody.access.store import app_of
from lockstep.custody.access.types import App
from lockstep.kit.database import UnitOfWork
from lockstep.kit.ids import AppId

_UPDATE = """
update apps set name = coalesce(%(name)s, name), status = coalesce(%(status)s, status),
    allowed_networks = coalesce(%(allowed_networks)s::text[]::cidr[], allowed_networks),
    accounts = coalesce(%(accounts)s, accounts),
    access_token_seconds = coalesce(%(access_token_seconds)s, access_token_seconds),
    login_seconds = coalesce(%(login_seconds)s, login_seconds),
    login_history_days = coalesce(%(login_history_days)s, login_history_days)
where app_id = %(app_id)s returning *
"""
CHANGEABLE = (
    "name",
    "status",
    "allowed_networks",
    "accounts",
    "access_token_seconds",
    "login_seconds",
    "login_history_days",
)


async def list_apps(uow: UnitOfWork, after: str | None, limit: int) -> list[App]:
    """Apps in the order of their making."""
    rows = await uow.fetch("select * from apps where app_id > %s order by app_id limit %s", (after or "", limit))
    return [app_of(row) for row in rows]


async def update_app(uow: UnitOfWork, app_id: AppId, changes: Mapping[str, object]) -> App:
    """Write the changed columns, those that stay left out."""
    row = await uow.get(_UPDATE, {**dict.fromkeys(CHANGEABLE), **changes, "app_id": app_id})
    return app_of(row)
