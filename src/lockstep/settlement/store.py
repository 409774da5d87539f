"""All SQL of swaps: the rows of a swap, its parties, secret and legs. Escrows have their own store.

`swaps` is deployment-wide: the system role writes, everybody may read what is public on the chains anyway. What
belongs to an app stands in `swap_parties`; secrets and legs are hidden from tenants.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import LiteralString

from lockstep.kit.database import Row, UnitOfWork
from lockstep.kit.ids import AppId
from lockstep.kit.money import from_numeric
from lockstep.settlement.errors import SwapMoved
from lockstep.settlement.rules import Leg
from lockstep.settlement.types import Party, Swap, SwapId, SwapTerms, TimeLocks


@dataclass(frozen=True, slots=True, kw_only=True)
class LegRow:
    """The newest attempt of a leg."""

    leg: Leg
    attempt: int
    app_id: AppId | None
    """App whose wallet signs."""
    transaction_id: str | None
    refusal: str | None
    reason: str | None


async def insert_swap(uow: UnitOfWork, swap: Swap) -> bool:
    """Create a swap; False when this taker has an open or ended (not cancelled) one for the fill already."""
    t = swap.terms
    return (
        await uow.execute(
            "insert into swaps (id, order_hash, fill_index, hashlock, maker, receiver, taker, mode, source_chain,"
            " source_factory, source_token, source_amount, source_deposit, destination_chain, destination_factory,"
            " destination_token, destination_amount, destination_deposit, time_locks, expires_at, reserved_until,"
            " source_funding, signature_kind, source_call, state, reason, waiting_for, created_at, updated_at)"
            " values (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s,"
            " %s, %s, %s, %s, %s) on conflict do nothing",
            (
                swap.id,
                t.order_hash,
                t.fill_index,
                t.hashlock,
                t.maker,
                t.receiver,
                t.taker,
                swap.mode,
                t.source_chain,
                t.source_factory,
                t.source_token,
                t.source_amount,
                t.source_deposit,
                t.destination_chain,
                t.destination_factory,
                t.destination_token,
                t.destination_amount,
                t.destination_deposit,
                t.time_locks.pack(),
                t.expires_at,
                swap.reserved_until,
                t.source_funding,
                t.signature_kind,
                swap.source_call,
                swap.state,
                swap.reason,
                swap.waiting_for,
                swap.created_at,
                swap.updated_at,
            ),
        )
    ) == 1


async def insert_party(uow: UnitOfWork, swap_id: SwapId, role: str, party: Party) -> None:
    """Note which app stands behind a side."""
    await uow.execute(
        "insert into swap_parties (swap_id, role, app_id, user_id, wallet_id, session_id)"
        " values (%s, %s, %s, %s, %s, %s)",
        (swap_id, role, party.app_id, party.user_id, party.wallet_id, party.session_id),
    )


async def find_swap(uow: UnitOfWork, swap_id: str, *, lock: bool = False) -> Swap | None:
    """A swap by id."""
    query: LiteralString = "select * from swaps where id = %s"
    row = await uow.find(query + " for update" if lock else query, (swap_id,))
    return _swap(row) if row else None


async def list_fill(uow: UnitOfWork, order_hash: bytes, fill_index: int) -> list[Swap]:
    """All attempts at a fill, the newest first."""
    rows = await uow.fetch(
        "select * from swaps where order_hash = %s and fill_index = %s order by id desc", (order_hash, fill_index)
    )
    return [_swap(row) for row in rows]


async def list_parties(uow: UnitOfWork, swap_id: SwapId) -> dict[str, Party]:
    """Parties of a swap by role; a tenant sees its own only."""
    rows = await uow.fetch(
        "select role, app_id, user_id, wallet_id, session_id from swap_parties where swap_id = %s", (swap_id,)
    )
    return {
        row["role"]: Party(
            app_id=row["app_id"], user_id=row["user_id"], wallet_id=row["wallet_id"], session_id=row["session_id"]
        )
        for row in rows
    }


async def list_party_swaps(
    uow: UnitOfWork,
    *,
    app_id: AppId | None,
    user_id: str | None,
    wallet_id: str | None,
    address: bytes | None,
    state: str | None,
    before: str | None,
    limit: int,
) -> list[Swap]:
    """Swaps of an app (or one user or wallet of it), or of an external address, the newest first."""
    rows = await uow.fetch(
        "select s.* from swaps s where (%(before)s::text is null or s.id < %(before)s)"
        " and (%(state)s::text is null or s.state = %(state)s)"
        " and ((%(app)s::text is not null and exists (select 1 from swap_parties p where p.swap_id = s.id"
        "   and p.app_id = %(app)s and (%(user)s::text is null or p.user_id = %(user)s)"
        "   and (%(wallet)s::text is null or p.wallet_id = %(wallet)s)))"
        "  or (%(address)s::bytea is not null and (s.maker = %(address)s or s.taker = %(address)s)))"
        " order by s.id desc limit %(limit)s",
        {
            "before": before,
            "state": state,
            "app": app_id,
            "user": user_id,
            "wallet": wallet_id,
            "address": address,
            "limit": limit,
        },
    )
    return [_swap(row) for row in rows]


async def update_swap(
    uow: UnitOfWork,
    swap: Swap,
    *,
    is_open: bool,
    source_wake: int | None,
    destination_wake: int | None,
    now: datetime,
) -> None:
    """Write what a step decided; `secret_released_at` is only compared.

    Raises:
        SwapMoved: the secret was released since the step looked.
    """
    touched = await uow.execute(
        "update swaps set state = %s, version = %s, reason = %s, waiting_for = %s, is_open = %s, source_escrow = %s,"
        " destination_escrow = %s, destination_amount = %s, source_wake = %s, destination_wake = %s, updated_at = %s"
        " where id = %s and (secret_released_at is null) = %s",
        (
            swap.state,
            swap.version,
            swap.reason,
            swap.waiting_for,
            is_open,
            swap.source_escrow,
            swap.destination_escrow,
            swap.terms.destination_amount,
            source_wake,
            destination_wake,
            now,
            swap.id,
            swap.secret_released_at is None,
        ),
    )
    if touched == 0:
        raise SwapMoved


async def list_open_for_fill(uow: UnitOfWork, order_hash: bytes) -> list[str]:
    """Ids of the open swaps of an order."""
    rows = await uow.fetch("select id from swaps where order_hash = %s and is_open", (order_hash,))
    return [row["id"] for row in rows]


async def list_due_at_head(uow: UnitOfWork, chain: str, time: int) -> list[str]:
    """Ids of the open swaps that a new head of this chain, with this chain time, may move."""
    rows = await uow.fetch(
        "select id from swaps where is_open and ((source_chain = %(chain)s and source_wake <= %(time)s)"
        " or (destination_chain = %(chain)s and destination_wake <= %(time)s))",
        {"chain": chain, "time": time},
    )
    return [row["id"] for row in rows]


# --- secrets ----------------------------------------------------------------------------------------------------------


async def insert_secret(
    uow: UnitOfWork, swap_id: SwapId, secret: bytes, source_time: int, destination_time: int, now: datetime
) -> bool:
    """Store a secret at its legal release; False: it was released before."""
    inserted = await uow.execute(
        "insert into swap_secrets (swap_id, secret, source_time, destination_time, released_at)"
        " values (%s, %s, %s, %s, %s) on conflict do nothing",
        (swap_id, secret, source_time, destination_time, now),
    )
    if inserted == 0:
        return False
    await uow.execute(
        "update swaps set secret_released_at = %s, version = version + 1, updated_at = %s where id = %s",
        (now, now, swap_id),
    )
    return True


async def find_secret(uow: UnitOfWork, swap_id: SwapId) -> bytes | None:
    """The released secret."""
    row = await uow.find("select secret from swap_secrets where swap_id = %s", (swap_id,))
    return bytes(row["secret"]) if row else None


# --- legs -------------------------------------------------------------------------------------------------------------


async def insert_leg(
    uow: UnitOfWork,
    swap_id: SwapId,
    leg: Leg,
    attempt: int,
    *,
    app_id: AppId | None,
    transaction_id: str | None,
    refusal: str | None = None,
    reason: str | None = None,
    now: datetime,
) -> None:
    """Note the transaction of a leg, or its refusal."""
    await uow.execute(
        "insert into swap_legs (swap_id, leg, attempt, app_id, transaction_id, refusal, reason, created_at)"
        " values (%s, %s, %s, %s, %s, %s, %s, %s)",
        (swap_id, leg, attempt, app_id, transaction_id, refusal, reason, now),
    )


async def list_legs(uow: UnitOfWork, swap_id: SwapId) -> list[LegRow]:
    """The newest attempt of every leg."""
    rows = await uow.fetch(
        "select distinct on (leg) leg, attempt, app_id, transaction_id, refusal, reason from swap_legs where swap_id = %s"
        " order by leg, attempt desc",
        (swap_id,),
    )
    return [
        LegRow(
            leg=Leg(row["leg"]),
            attempt=row["attempt"],
            app_id=row["app_id"],
            transaction_id=row["transaction_id"],
            refusal=row["refusal"],
            reason=row["reason"],
        )
        for row in rows
    ]


async def count_public_legs(uow: UnitOfWork, since: datetime) -> int:
    """How many public duties the coordinator has sent since then; a refused one costs nobody anything."""
    row = await uow.get(
        "select count(*) as count from swap_legs"
        " where created_at >= %s and leg like '%%public%%' and transaction_id is not null",
        (since,),
    )
    return int(row["count"])


def _swap(row: Row) -> Swap:
    return Swap(
        id=SwapId(row["id"]),
        terms=SwapTerms(
            order_hash=bytes(row["order_hash"]),
            fill_index=row["fill_index"],
            hashlock=bytes(row["hashlock"]),
            maker=bytes(row["maker"]),
            receiver=bytes(row["receiver"]),
            taker=bytes(row["taker"]),
            source_chain=row["source_chain"],
            source_factory=bytes(row["source_factory"]),
            source_token=bytes(row["source_token"]),
            source_amount=from_numeric(row["source_amount"]),
            source_deposit=from_numeric(row["source_deposit"]),
            destination_chain=row["destination_chain"],
            destination_factory=bytes(row["destination_factory"]),
            destination_token=bytes(row["destination_token"]),
            destination_amount=from_numeric(row["destination_amount"]),
            destination_deposit=from_numeric(row["destination_deposit"]),
            time_locks=TimeLocks.unpack(from_numeric(row["time_locks"]))[0],
            expires_at=row["expires_at"],
            source_funding=row["source_funding"],
            signature_kind=row["signature_kind"],
        ),
        mode=row["mode"],
        state=row["state"],
        version=row["version"],
        reason=row["reason"],
        waiting_for=row["waiting_for"],
        reserved_until=row["reserved_until"],
        source_call=bytes(row["source_call"]) if row["source_call"] is not None else None,
        source_escrow=bytes(row["source_escrow"]) if row["source_escrow"] is not None else None,
        destination_escrow=bytes(row["destination_escrow"]) if row["destination_escrow"] is not None else None,
        secret_released_at=row["secret_released_at"],
        created_at=row["created_at"],
        updated_at=row["updated_at"],
    )
