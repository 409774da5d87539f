"""SQL of sending accounts: what is in flight for them, and who has the nonces in between.

All tenants: nonces belong to chain and account, whoever owns it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from lockstep.chains.evm import Address
from lockstep.kit.database import UnitOfWork

IN_FLIGHT = ("reserved", "signed", "broadcast", "replaced")
"""States with a nonce that is not mined."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountInFlight:
    """An account with transactions that have a nonce and are not mined."""

    address: Address
    first_id: str
    """The transaction with the lowest nonce: all others wait for it."""
    lowest: int
    highest: int
    reason: str | None
    """Why the first one waits."""
    reserved_at: datetime
    sent_block: int | None
    """Head when a node was first given the first one; None: not yet."""


async def try_lock(uow: UnitOfWork, chain: str, addresses: Sequence[Address]) -> list[Address]:
    """Lock accounts until the end of the database transaction; those that others hold are left out."""
    rows = await uow.fetch(
        "select a.address from unnest(%b::text[]) as a (address)"
        " where pg_try_advisory_xact_lock(hashtextextended('lockstep.nonces.' || %s || '.' || a.address, 0))",
        (sorted(addresses), chain),
    )
    return [Address(row["address"]) for row in rows]


async def list_in_flight(uow: UnitOfWork, chain: str) -> list[AccountInFlight]:
    """Every account of a chain that has something in flight."""
    rows = await uow.fetch(
        "select t.id, t.from_address, t.reason, f.lowest, f.highest, a.sent_block, a.created_at"
        " from (select from_address, min(nonce) as lowest, max(nonce) as highest from transactions"
        "  where chain = %(chain)s and state = any(%(states)s) and due_at is not null group by from_address) f"
        " join transactions t on t.chain = %(chain)s and t.from_address = f.from_address and t.nonce = f.lowest"
        "  and t.state = any(%(states)s) and t.due_at is not null"
        " join transaction_attempts a on a.transaction_id = t.id and a.attempt = 1",
        {"chain": chain, "states": list(IN_FLIGHT)},
    )
    return [
        AccountInFlight(
            address=Address(row["from_address"]),
            first_id=row["id"],
            lowest=row["lowest"],
            highest=row["highest"],
            reason=row["reason"],
            reserved_at=row["created_at"],
            sent_block=row["sent_block"],
        )
        for row in rows
    ]


async def list_holders(
    uow: UnitOfWork, chain: str, ranges: Mapping[Address, tuple[int, int]]
) -> dict[Address, dict[int, datetime | None]]:
    """Per account the reserved nonces in [from, to): when it was signed for a caller who sends it, None for ours."""
    rows = await uow.fetch(
        "select r.address, r.nonce, case when r.transaction_id is null then r.claimed_at end as claimed_at"
        " from nonce_reservations r join unnest(%b::text[], %b::bigint[], %b::bigint[]) as a (address, low, high)"
        " on r.address = a.address and r.nonce >= a.low and r.nonce < a.high where r.chain = %s",
        (list(ranges), [low for low, _ in ranges.values()], [high for _, high in ranges.values()], chain),
    )
    found: dict[Address, dict[int, datetime | None]] = {address: {} for address in ranges}
    for row in rows:
        found[row["address"]][row["nonce"]] = row["claimed_at"]
    return found


async def find_oldest_pending(uow: UnitOfWork, chain: str) -> datetime | None:
    """When the oldest transaction was queued that is neither mined nor over; None: there is none."""
    row = await uow.get(
        "select min(created_at) as oldest from transactions where chain = %s and state = any(%s) and due_at is not null",
        (chain, ["queued", *IN_FLIGHT]),
    )
    oldest: datetime | None = row["oldest"]
    return oldest


async def list_senders(uow: UnitOfWork, chain: str, since: datetime, limit: int = 1_000) -> list[Address]:
    """Accounts that got a nonce since then, by address; at most `limit` accounts are looked at."""
    rows = await uow.fetch(
        "with recursive sender (address, number) as ("
        "  (select address, 1 from nonce_reservations where chain = %(chain)s order by address limit 1)"
        "  union all select (select r.address from nonce_reservations r where r.chain = %(chain)s"
        "   and r.address > s.address order by r.address limit 1), s.number + 1"
        "  from sender s where s.address is not null and s.number < %(limit)s)"
        " select s.address from sender s cross join lateral (select r.created_at from nonce_reservations r"
        "  where r.chain = %(chain)s and r.address = s.address order by r.nonce desc limit 1) last"
        " where s.address is not null and last.created_at >= %(since)s order by s.address",
        {"chain": chain, "since": since, "limit": limit},
    )
    return [Address(row["address"]) for row in rows]
