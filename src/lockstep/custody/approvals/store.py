"""SQL of approvals."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime
from urllib.parse import urlsplit

from lockstep.custody.approvals.types import Approval, HolderSignature, Operation
from lockstep.custody.authority.store import read_owner
from lockstep.custody.authority.types import Owner
from lockstep.kit.database import Row, UnitOfWork
from lockstep.kit.ids import AppId

_APPROVAL = """
select a.*, (select coalesce(jsonb_agg(jsonb_build_object('holder', s.holder, 'signature', encode(s.signature, 'hex'),
    'signed_at', s.signed_at, 'seal', encode(s.seal, 'hex')) order by s.signed_at, s.holder), '[]'::jsonb) from approval_signatures s
    where s.app_id = a.app_id and s.approval_id = a.id) as signatures
from approvals a
"""


async def insert_approval(uow: UnitOfWork, approval: Approval) -> None:
    await uow.execute(
        "insert into approvals (id, app_id, kind, resource_id, payload, payload_digest, created_by, created_at, expires_at)"
        " values (%s, %s, %s, %s, %s, %s, %s, %s, %s)",
        (
            approval.id,
            approval.app_id,
            approval.operation.kind,
            approval.operation.resource_id,
            approval.payload,
            approval.payload_digest,
            approval.created_by,
            approval.created_at,
            approval.expires_at,
        ),
    )


async def find_approval(uow: UnitOfWork, app_id: AppId, approval_id: str) -> Approval | None:
    row = await uow.find(_APPROVAL + " where a.app_id = %s and a.id = %s", (app_id, approval_id))
    return _approval(row) if row else None


async def lock_approval(uow: UnitOfWork, app_id: AppId, approval_id: str) -> Approval | None:
    """An approval, and nobody else moves it until the transaction ends."""
    await uow.find("select id from approvals where app_id = %s and id = %s for update", (app_id, approval_id))
    return await find_approval(uow, app_id, approval_id)


async def list_approvals(
    uow: UnitOfWork,
    app_id: AppId,
    *,
    status: str | None,
    resource_id: str | None,
    now: datetime,
    before: str | None,
    limit: int,
) -> list[Approval]:
    """Approvals, the newest first; a filter that is None filters nothing. What has run out counts as expired."""
    rows = await uow.fetch(
        _APPROVAL + " where a.app_id = %(app_id)s"
        " and (%(status)s::text is null or %(status)s = case when a.status = 'pending' and a.expires_at <= %(now)s"
        " then 'expired' else a.status end)"
        " and (%(resource_id)s::text is null or a.resource_id = %(resource_id)s)"
        " and (%(before)s::text is null or a.id < %(before)s) order by a.id desc limit %(limit)s",
        {
            "app_id": app_id,
            "status": status,
            "resource_id": resource_id,
            "now": now,
            "before": before,
            "limit": limit,
        },
    )
    return [_approval(row) for row in rows]


async def insert_signature(uow: UnitOfWork, approval: Approval, signed: HolderSignature) -> bool:
    """False when this holder has authorised already."""
    touched = await uow.execute(
        "insert into approval_signatures (app_id, approval_id, holder, signature, signed_at, seal)"
        " values (%s, %s, %s, %s, %s, %s) on conflict do nothing",
        (approval.app_id, approval.id, signed.holder, signed.signature, signed.signed_at, signed.seal),
    )
    return touched == 1


async def start(uow: UnitOfWork, approval: Approval, now: datetime, due_at: datetime) -> None:
    """Enough have authorised: it is carried out now, and taken up again at `due_at` if that died."""
    await uow.execute(
        "update approvals set status = 'processing', started_at = %s, due_at = %s, version = version + 1"
        " where app_id = %s and id = %s and status = 'pending'",
        (now, due_at, approval.app_id, approval.id),
    )


async def finish(
    uow: UnitOfWork,
    approval: Approval,
    status: str,
    now: datetime,
    *,
    reason_code: str | None = None,
    response: bytes | None = None,
) -> bool:
    """Write the end of an approval; False when it is over already."""
    touched = await uow.execute(
        "update approvals set status = %s, reason_code = %s, response = %s, finished_at = %s, due_at = null,"
        " version = version + 1 where app_id = %s and id = %s and status in ('pending', 'processing')",
        (status, reason_code, response, now, approval.app_id, approval.id),
    )
    return touched == 1


async def claim_due(uow: UnitOfWork, now: datetime, due_at: datetime, limit: int) -> list[Approval]:
    """Approvals of all apps whose execution died: whoever claims them takes them up, until `due_at`.

    All tenants: one loop takes up what is due in the deployment.
    """
    rows = await uow.fetch(
        "update approvals set due_at = %s where id in (select id from approvals where status = 'processing'"
        " and due_at <= %s order by due_at limit %s for update skip locked) returning app_id, id",
        (due_at, now, limit),
    )
    found = [await find_approval(uow, AppId(row["app_id"]), row["id"]) for row in rows]
    return [approval for approval in found if approval is not None]


async def expire(uow: UnitOfWork, now: datetime) -> int:
    """End what nobody completed in time; returns how many."""
    return await uow.execute(
        "update approvals set status = 'expired', finished_at = %s, version = version + 1"
        " where status = 'pending' and expires_at <= %s /* all tenants: ends what has run out */",
        (now, now),
    )


async def find_wallet_owner(uow: UnitOfWork, app_id: AppId, wallet_id: str) -> Owner | None:
    row = await uow.find(
        "select lockstep_owner(app_id, owner_key_id, owner_quorum_id) as owner from wallets where app_id = %s and id = %s",
        (app_id, wallet_id),
    )
    return read_owner(row["owner"]) if row else None


async def find_policy_owner(uow: UnitOfWork, app_id: AppId, policy_id: str) -> Owner | None:
    row = await uow.find(
        "select lockstep_owner(app_id, owner_key_id, owner_quorum_id) as owner from policies where app_id = %s and id = %s",
        (app_id, policy_id),
    )
    return read_owner(row["owner"]) if row else None


def _approval(row: Row) -> Approval:
    request = json.loads(row["payload"])["request"]
    return Approval(
        id=row["id"],
        app_id=AppId(row["app_id"]),
        operation=Operation(
            kind=row["kind"],
            resource_id=row["resource_id"],
            method=request["method"],
            path=urlsplit(request["url"]).path,
            body=request["body"],
        ),
        payload=row["payload"],
        payload_digest=bytes(row["payload_digest"]),
        status=row["status"],
        reason_code=row["reason_code"],
        response=None if row["response"] is None else bytes(row["response"]),
        version=row["version"],
        created_by=row["created_by"],
        created_at=row["created_at"],
        expires_at=row["expires_at"],
        started_at=row["started_at"],
        finished_at=row["finished_at"],
        signatures=_signatures(row["signatures"]),
    )


def _signatures(values: Sequence[Row]) -> tuple[HolderSignature, ...]:
    return tuple(
        HolderSignature(
            holder=value["holder"],
            signature=None if value["signature"] is None else bytes.fromhex(value["signature"]),
            signed_at=datetime.fromisoformat(value["signed_at"]),
            seal=None if value["seal"] is None else bytes.fromhex(value["seal"]),
        )
        for value in values
    )
