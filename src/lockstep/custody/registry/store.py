"""SQL of the registry: many wallets at once, and one page of very many."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import LiteralString

import psycopg

from lockstep.custody.errors import ExternalIdTaken
from lockstep.custody.execution import NewKey
from lockstep.custody.registry.types import WalletFilter
from lockstep.custody.store import WALLET, wallet_of
from lockstep.custody.types import Wallet
from lockstep.kit.database import UnitOfWork
from lockstep.kit.ids import AppId


async def insert_wallets(uow: UnitOfWork, made: Sequence[tuple[Wallet, NewKey]]) -> None:
    """Write wallets with the shares of their keys.

    Raises:
        ExternalIdTaken: another wallet got one of the external ids meanwhile.
    """
    try:
        await uow.execute_many(
            "insert into wallets (id, app_id, address, native_address, chain_type, public_key, share_set, auth_share,"
            " recovery_share, owner_user_id, owner_key_id, owner_quorum_id, policy_ids, display_name, external_id, status, version,"
            " created_at, updated_at)"
            " values (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)",
            [_row(wallet, key) for wallet, key in made],
        )
    except psycopg.errors.UniqueViolation as error:
        if error.diag.constraint_name != "wallets_external_id":
            raise
        raise ExternalIdTaken from error


async def list_taken(uow: UnitOfWork, app_id: AppId, external_ids: Sequence[str]) -> list[str]:
    """Those of the external ids that wallets of the app have."""
    rows = await uow.fetch(
        "select external_id from wallets where app_id = %s and external_id = any(%s) order by external_id",
        (app_id, list(external_ids)),
    )
    return [row["external_id"] for row in rows]


async def list_wallets(
    uow: UnitOfWork,
    app_id: AppId,
    wanted: WalletFilter,
    *,
    wallet_id: str | None,
    quorum_ids: Sequence[str] | None = None,
    after: str | None,
    limit: int,
) -> list[Wallet]:
    """Wallets in the order of their making; those of the filter's user include those of the quorums.

    Only what is asked for stands in the query: a condition that holds for null as well keeps the planner from its index.
    """
    conditions: list[LiteralString] = ["app_id = %s"]
    params: list[object] = [app_id]
    filters: list[tuple[LiteralString, object]] = [
        ("owner_user_id = %s", None if quorum_ids else wanted.user_id),
        ("id = %s", wallet_id),
        ("address = %s", wanted.address),
        ("external_id = %s", wanted.external_id),
        ("chain_type = %s", wanted.chain_type),
        ("id > %s", after),
    ]
    for condition, value in filters:
        if value is not None:
            conditions.append(condition)
            params.append(value)
    if wanted.owner_id is not None:
        conditions.append("(owner_key_id = %s or owner_quorum_id = %s)")
        params += [wanted.owner_id, wanted.owner_id]
    if quorum_ids:
        conditions.append("(owner_user_id = %s or owner_quorum_id = any(%s))")
        params += [wanted.user_id, list(quorum_ids)]
    if wanted.status == "active":
        conditions.append("status = 'active'")
    elif wanted.status == "frozen":
        conditions.append("status = 'frozen'")
    if not wanted.include_archived:
        conditions.append("archived_at is null")
    rows = await uow.fetch(WALLET + " where " + " and ".join(conditions) + " order by id limit %s", (*params, limit))
    return [wallet_of(row) for row in rows]


async def set_archived(uow: UnitOfWork, wallet: Wallet, archived_at: datetime | None, now: datetime) -> Wallet:
    """Put a wallet away, or back into use; counts the version up."""
    row = await uow.get(
        "update wallets set archived_at = %s, version = version + 1, updated_at = %s where app_id = %s and id = %s"
        " returning *",
        (archived_at, now, wallet.app_id, wallet.id),
    )
    return wallet_of(row)


def _row(wallet: Wallet, key: NewKey) -> tuple[object, ...]:
    return (
        wallet.id,
        wallet.app_id,
        wallet.address,
        wallet.native_address,
        wallet.chain_type,
        wallet.public_key,
        key.share_set,
        key.auth_share,
        key.recovery_share,
        wallet.owner_user_id,
        wallet.owner_key_id,
        wallet.owner_quorum_id,
        list(wallet.policy_ids),
        wallet.display_name,
        wallet.external_id,
        wallet.status,
        wallet.version,
        wallet.created_at,
        wallet.created_at,
    )
