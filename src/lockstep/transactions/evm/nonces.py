"""SQL of nonces: reservations, the ledger of digests that were signed for them, and the locks around both.

All tenants: nonces belong to chain and account, whoever owns it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from lockstep.chains.evm import Address, Fees, Hash32
from lockstep.kit.database import UnitOfWork
from lockstep.kit.ids import AppId
from lockstep.kit.money import from_numeric
from lockstep.transactions.errors import DoubleSignPrevented
from lockstep.transactions.evm.rules import content_hash, is_replacement


@dataclass(frozen=True, slots=True, kw_only=True)
class Reservation:
    """A nonce that belongs to a transaction (None: to a caller who sends it)."""

    chain: str
    address: Address
    nonce: int
    app_id: AppId
    transaction_id: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class LedgerEntry:
    """A digest that is about to be signed for a nonce."""

    chain: str
    address: Address
    nonce: int
    digest: Hash32
    app_id: AppId
    content: bytes
    fees: Fees


async def list_reserved(uow: UnitOfWork, chain: str, from_nonces: dict[Address, int]) -> dict[Address, set[int]]:
    """Reserved nonces per account, from the given one upwards."""
    rows = await uow.fetch(
        "select r.address, r.nonce from nonce_reservations r"
        " join unnest(%b::text[], %b::bigint[]) as a (address, nonce) on r.address = a.address and r.nonce >= a.nonce"
        " where r.chain = %s",
        (list(from_nonces), list(from_nonces.values()), chain),
    )
    found: dict[Address, set[int]] = {address: set() for address in from_nonces}
    for row in rows:
        found[row["address"]].add(row["nonce"])
    return found


async def list_next_nonces(uow: UnitOfWork, chain: str) -> dict[Address, int]:
    """The nonce behind the highest reserved one, of every account that has any."""
    rows = await uow.fetch(
        "select address, max(nonce) + 1 as next from nonce_reservations where chain = %s group by address order by address",
        (chain,),
    )
    return {Address(row["address"]): row["next"] for row in rows}


async def sum_in_flight(uow: UnitOfWork, chain: str, addresses: list[Address]) -> dict[Address, tuple[int, int]]:
    """Number and highest cost (wei) of each account's transactions that have a nonce and are not mined."""
    rows = await uow.fetch(
        "select from_address, count(*) as number, sum(value + gas_limit * max_fee_per_gas + data_fee) as cost from transactions"
        " where chain = %s and from_address = any(%s) and state in ('reserved', 'signed', 'broadcast', 'replaced')"
        " and due_at is not null group by from_address",
        (chain, addresses),
    )
    found = dict.fromkeys(addresses, (0, 0))
    for row in rows:
        found[row["from_address"]] = (row["number"], from_numeric(row["cost"]))
    return found


async def reserve(uow: UnitOfWork, reservations: Sequence[Reservation], now: datetime) -> None:
    """Write reservations; the caller holds the locks of the accounts. A nonce that is taken is an error of the database."""
    if reservations:
        await uow.execute(
            "insert into nonce_reservations (chain, address, nonce, app_id, transaction_id, created_at)"
            " select *, %s from unnest(%b::text[], %b::text[], %b::bigint[], %b::text[], %b::text[])",
            (
                now,
                [r.chain for r in reservations],
                [r.address for r in reservations],
                [r.nonce for r in reservations],
                [r.app_id for r in reservations],
                [r.transaction_id for r in reservations],
            ),
        )


async def reserve_if_free(uow: UnitOfWork, reservation: Reservation, now: datetime) -> None:
    """Write a reservation unless the nonce has one; needs no lock, the primary key decides."""
    r = reservation
    await uow.execute(
        "insert into nonce_reservations (chain, address, nonce, app_id, transaction_id, created_at, claimed_at)"
        " values (%s, %s, %s, %s, %s, %s, %s) on conflict (chain, address, nonce) do nothing",
        (r.chain, r.address, r.nonce, r.app_id, r.transaction_id, now, None if r.transaction_id else now),
    )


async def take_over(uow: UnitOfWork, reservation: Reservation) -> None:
    """Give a nonce that a caller did not use to a transaction; the caller of this holds the lock of the account.

    Raises:
        LookupError: no caller has it.
    """
    r = reservation
    count = await uow.execute(
        "update nonce_reservations set transaction_id = %s"
        " where chain = %s and address = %s and nonce = %s and transaction_id is null",
        (r.transaction_id, r.chain, r.address, r.nonce),
    )
    if count != 1:
        raise LookupError("no caller has this nonce")


async def release(uow: UnitOfWork, transaction_ids: Sequence[str]) -> None:
    """Give nonces back whose signature was refused: no signed bytes exist, the next transaction may have them.

    What a caller was given a signature for stays the caller's: those bytes exist.
    """
    await uow.execute(
        "delete from signed_digests d using nonce_reservations r where r.transaction_id = any(%s)"
        " and d.chain = r.chain and d.address = r.address and d.nonce = r.nonce and (r.claimed_at is null"
        "  or d.digest in (select a.digest from transaction_attempts a where a.transaction_id = r.transaction_id))",
        (transaction_ids,),
    )
    await uow.execute(
        "update nonce_reservations set transaction_id = null where transaction_id = any(%s) and claimed_at is not null",
        (transaction_ids,),
    )
    await uow.execute("delete from nonce_reservations where transaction_id = any(%s)", (transaction_ids,))


async def enter_digests(uow: UnitOfWork, entries: Sequence[LedgerEntry], now: datetime) -> None:
    """Check and enter digests before their signatures are asked for; the same digest may come again.

    Raises:
        DoubleSignPrevented: the nonce has another digest that is not a cheaper form of the same transaction. A self-send of
            nothing may follow any cheaper one; nothing but a dearer self-send may follow it.
    """
    if not entries:
        return
    known = await _list_digests(uow, entries)
    for entry in entries:
        for digest, content, fees in known.get((entry.chain, entry.address, entry.nonce), ()):
            if digest != entry.digest and not (
                is_replacement(fees, entry.fees) and entry.content in (content, content_hash(entry.address, 0, b""))
            ):
                raise DoubleSignPrevented(
                    f"nonce {entry.nonce} of {entry.address} on {entry.chain} was signed for something else before",
                    chain=entry.chain,
                    address=entry.address,
                    nonce=entry.nonce,
                )
    await uow.execute(
        "insert into signed_digests (chain, address, nonce, digest, app_id, content, max_fee_per_gas,"
        " max_priority_fee_per_gas, created_at)"
        " select *, %s from unnest(%b::text[], %b::text[], %b::bigint[], %b::bytea[], %b::text[], %b::bytea[],"
        " %b::numeric[], %b::numeric[]) on conflict (chain, address, nonce, digest) do nothing",
        (
            now,
            [e.chain for e in entries],
            [e.address for e in entries],
            [e.nonce for e in entries],
            [e.digest for e in entries],
            [e.app_id for e in entries],
            [e.content for e in entries],
            [e.fees.max_fee_per_gas for e in entries],
            [e.fees.max_priority_fee_per_gas for e in entries],
        ),
    )


async def forget_digests(uow: UnitOfWork, digests: Iterable[tuple[str, Address, int, Hash32]]) -> None:
    """Take digests of refused replacements out again: their signatures do not exist."""
    await uow.execute_many(
        "delete from signed_digests where chain = %s and address = %s and nonce = %s and digest = %s", list(digests)
    )


async def _list_digests(
    uow: UnitOfWork, entries: Sequence[LedgerEntry]
) -> dict[tuple[str, Address, int], list[tuple[Hash32, bytes, Fees]]]:
    rows = await uow.fetch(
        "select d.* from signed_digests d join unnest(%b::text[], %b::text[], %b::bigint[]) as e (chain, address, nonce)"
        " on d.chain = e.chain and d.address = e.address and d.nonce = e.nonce",
        ([e.chain for e in entries], [e.address for e in entries], [e.nonce for e in entries]),
    )
    found: dict[tuple[str, Address, int], list[tuple[Hash32, bytes, Fees]]] = {}
    for row in rows:
        fees = Fees(from_numeric(row["max_fee_per_gas"]), from_numeric(row["max_priority_fee_per_gas"]))
        found.setdefault((row["chain"], row["address"], row["nonce"]), []).append(
            (bytes(row["digest"]), bytes(row["content"]), fees)
        )
    return found
