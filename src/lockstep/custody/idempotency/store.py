"""SQL of idempotency keys."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from lockstep.custody.idempotency.types import Claim
from lockstep.kit.database import Row, UnitOfWork


@dataclass(frozen=True, slots=True)
class StoredKey:
    """A key as it is stored."""

    scope: str
    key: str
    fingerprint: bytes
    state: str
    locked_until: datetime
    expires_at: datetime
    operation_id: str | None
    status_code: int | None
    response: bytes | None


INSERT_KEYS = """
insert into idempotency_keys (app_id, scope, key, fingerprint, state, locked_until, operation_id, created_at, expires_at)
select %s, q.scope, q.key, q.fingerprint, 'in_progress', %s, q.operation_id, %s, %s
from unnest(%b::text[], %b::text[], %b::bytea[], %b::text[]) as q (scope, key, fingerprint, operation_id)
order by q.scope, q.key
on conflict (app_id, scope, key) do nothing returning operation_id
"""
"""Ordered, so that two transactions that claim the same keys wait for each other in one direction only."""


def insert_params(
    app_id: str,
    claims: Sequence[Claim],
    operation_ids: Sequence[str],
    now: datetime,
    locked_until: datetime,
    expires_at: datetime,
) -> tuple[object, ...]:
    """Parameters of `INSERT_KEYS`; it returns the operation ids of the keys that were free."""
    return (
        app_id,
        locked_until,
        now,
        expires_at,
        [claim.scope for claim in claims],
        [claim.key for claim in claims],
        [claim.fingerprint for claim in claims],
        list(operation_ids),
    )


async def find_keys(uow: UnitOfWork, app_id: str, claims: Sequence[Claim]) -> dict[tuple[str, str], StoredKey]:
    """The rows of these claims by (scope, key), locked against a second taker."""
    rows = await uow.fetch(
        "select k.scope, k.key, k.fingerprint, k.state, k.locked_until, k.expires_at, k.operation_id, k.status_code,"
        " k.response from idempotency_keys k join unnest(%b::text[], %b::text[]) as q (scope, key)"
        " on k.scope = q.scope and k.key = q.key where k.app_id = %s order by k.scope, k.key for update of k",
        ([claim.scope for claim in claims], [claim.key for claim in claims], app_id),
    )
    return {(row["scope"], row["key"]): _stored(row) for row in rows}


async def take_over(
    uow: UnitOfWork, claim: Claim, operation_id: str, now: datetime, locked_until: datetime, expires_at: datetime
) -> None:
    """Begin again under a key whose last attempt died, failed in passing or was forgotten."""
    await uow.execute(
        "update idempotency_keys set state = 'in_progress', fingerprint = %s, operation_id = %s, locked_until = %s,"
        " created_at = %s, expires_at = %s, status_code = null, response = null"
        " where app_id = %s and scope = %s and key = %s",
        (claim.fingerprint, operation_id, locked_until, now, expires_at, claim.app_id, claim.scope, claim.key),
    )


FINISH_KEYS = """
insert into idempotency_keys as k (app_id, scope, key, fingerprint, state, locked_until, operation_id, status_code, response,
    created_at, expires_at)
select %s, q.scope, q.key, q.fingerprint, q.state, 'epoch', q.operation_id, q.status_code, q.response, 'epoch', 'epoch'
from unnest(%b::text[], %b::text[], %b::bytea[], %b::text[], %b::text[], %b::integer[], %b::bytea[])
    as q (scope, key, fingerprint, operation_id, state, status_code, response)
order by q.scope, q.key
on conflict (app_id, scope, key) do update
set state = excluded.state, status_code = excluded.status_code, response = excluded.response
where k.operation_id = excluded.operation_id and k.state = 'in_progress'
returning k.operation_id
"""
"""Only the attempt that holds the key completes it: one that was taken over changes nothing.

An insert that always meets its row: unlike an update with a join it can only be planned by the unique index, however
fast the table grew since it was last analysed."""


async def finish_keys(
    uow: UnitOfWork,
    app_id: str,
    finished: Sequence[tuple[Claim, str, int | None, bytes | None]],
) -> set[str]:
    """Complete keys: (claim, operation id, status, sealed answer); without an answer the next attempt may run at once.

    Returns the operation ids of those that were still held.
    """
    rows = await uow.fetch(
        FINISH_KEYS,
        (
            app_id,
            [claim.scope for claim, *_ in finished],
            [claim.key for claim, *_ in finished],
            [claim.fingerprint for claim, *_ in finished],
            [operation_id for _, operation_id, _, _ in finished],
            ["retryable" if response is None else "done" for *_, response in finished],
            [status for _, _, status, _ in finished],
            [response for *_, response in finished],
        ),
    )
    return {row["operation_id"] for row in rows}


async def find_key(uow: UnitOfWork, claim: Claim) -> StoredKey | None:
    """The row of a claim as it is now; locks nothing."""
    row = await uow.find(
        "select scope, key, fingerprint, state, locked_until, expires_at, operation_id, status_code, response"
        " from idempotency_keys where app_id = %s and scope = %s and key = %s",
        (claim.app_id, claim.scope, claim.key),
    )
    return _stored(row) if row else None


async def delete_expired(uow: UnitOfWork, now: datetime) -> int:
    return await uow.execute(
        "delete from idempotency_keys where expires_at < %s /* all tenants: forgets what has expired */", (now,)
    )


def _stored(row: Row) -> StoredKey:
    response = row["response"]
    return StoredKey(
        scope=row["scope"],
        key=row["key"],
        fingerprint=bytes(row["fingerprint"]),
        state=row["state"],
        locked_until=row["locked_until"],
        expires_at=row["expires_at"],
        operation_id=row["operation_id"],
        status_code=row["status_code"],
        response=None if response is None else bytes(response),
    )
