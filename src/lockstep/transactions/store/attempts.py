"""SQL of attempts: every form in which a transaction was signed, and what nodes answered to it.

All tenants: the engine works per chain and account, whoever owns it.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from lockstep.chains.evm import Hash32
from lockstep.kit.database import Row, UnitOfWork
from lockstep.kit.ids import AppId
from lockstep.kit.money import from_numeric
from lockstep.transactions.types import Attempt, Form, Submission


async def list_hashes(uow: UnitOfWork, app_id: AppId, transaction_id: str) -> list[Hash32]:
    """Hashes of all signed forms, oldest first."""
    rows = await uow.fetch(
        "select hash from transaction_attempts where app_id = %s and transaction_id = %s and hash is not null"
        " order by attempt",
        (app_id, transaction_id),
    )
    return [bytes(row["hash"]) for row in rows]


async def list_attempts(uow: UnitOfWork, ids: list[str]) -> dict[str, list[Attempt]]:
    """All attempts of these transactions, oldest first."""
    rows = await uow.fetch(
        "select * from transaction_attempts where transaction_id = any(%s) order by transaction_id, attempt", (ids,)
    )
    found: dict[str, list[Attempt]] = {one: [] for one in ids}
    for row in rows:
        found[row["transaction_id"]].append(_attempt(row))
    return found


async def insert_attempts(uow: UnitOfWork, attempts: Sequence[Attempt]) -> None:
    """Store attempts before their signature is asked for."""
    if attempts:
        await uow.execute(
            "insert into transaction_attempts (transaction_id, attempt, form, app_id, nonce, gas_limit, max_fee_per_gas,"
            " max_priority_fee_per_gas, digest, created_at)"
            " select * from unnest(%b::text[], %b::integer[], %b::text[], %b::text[], %b::bigint[], %b::bigint[], %b::numeric[],"
            " %b::numeric[], %b::bytea[], %b::timestamptz[])",
            (
                [a.transaction_id for a in attempts],
                [a.attempt for a in attempts],
                [a.form.value for a in attempts],
                [a.app_id for a in attempts],
                [a.nonce for a in attempts],
                [a.gas_limit for a in attempts],
                [a.max_fee_per_gas for a in attempts],
                [a.max_priority_fee_per_gas for a in attempts],
                [a.digest for a in attempts],
                [a.created_at for a in attempts],
            ),
        )


async def record_signatures(uow: UnitOfWork, signed: Sequence[tuple[Attempt, Hash32, bytes]]) -> None:
    """Store hash and raw bytes of signed attempts."""
    if signed:
        await uow.execute(
            "update transaction_attempts a set hash = s.hash, raw = s.raw"
            " from unnest(%b::text[], %b::integer[], %b::bytea[], %b::bytea[]) as s (id, attempt, hash, raw)"
            " where a.transaction_id = s.id and a.attempt = s.attempt",
            (
                [attempt.transaction_id for attempt, _, _ in signed],
                [attempt.attempt for attempt, _, _ in signed],
                [transaction_hash for _, transaction_hash, _ in signed],
                [raw for _, _, raw in signed],
            ),
        )


async def record_sends(uow: UnitOfWork, sent: Sequence[tuple[Attempt, Submission]], head: int, now: datetime) -> None:
    """Store what the network answered to the bytes."""
    if sent:
        await uow.execute(
            "update transaction_attempts a set sent_at = %s, sent_block = coalesce(a.sent_block, %s), sends = a.sends + 1,"
            " outcome = s.outcome, message = s.message"
            " from unnest(%b::text[], %b::integer[], %b::text[], %b::text[]) as s (id, attempt, outcome, message)"
            " where a.transaction_id = s.id and a.attempt = s.attempt",
            (
                now,
                head,
                [attempt.transaction_id for attempt, _ in sent],
                [attempt.attempt for attempt, _ in sent],
                [submission.outcome for _, submission in sent],
                [submission.message for _, submission in sent],
            ),
        )


def _attempt(row: Row) -> Attempt:
    return Attempt(
        transaction_id=row["transaction_id"],
        attempt=row["attempt"],
        form=Form(row["form"]),
        app_id=row["app_id"],
        nonce=row["nonce"],
        gas_limit=row["gas_limit"],
        max_fee_per_gas=from_numeric(row["max_fee_per_gas"]),
        max_priority_fee_per_gas=from_numeric(row["max_priority_fee_per_gas"]),
        digest=bytes(row["digest"]),
        created_at=row["created_at"],
        hash=None if row["hash"] is None else bytes(row["hash"]),
        raw=None if row["raw"] is None else bytes(row["raw"]),
        sent_at=row["sent_at"],
        sent_block=row["sent_block"],
        sends=row["sends"],
    )
