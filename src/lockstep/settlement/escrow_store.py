"""All SQL of escrows and their events: an index of what the chains say now; dropped blocks are deleted."""

from __future__ import annotations

from lockstep.kit.database import Row, UnitOfWork
from lockstep.kit.money import from_numeric
from lockstep.settlement.escrows import EscrowEvent
from lockstep.settlement.types import DestinationTerms, Immutables, Lock, Side


async def insert_lock(uow: UnitOfWork, lock: Lock) -> None:
    """Keep an escrow; the same event twice is one row."""
    words, terms = lock.immutables, lock.terms
    await uow.execute(
        "insert into escrows (chain, block_number, log_index, block_hash, block_time, transaction_hash, side, factory,"
        " address, order_hash, fill_index, hashlock, maker, taker, token, amount, safety_deposit, time_locks,"
        " parameters, terms_chain, terms_factory, terms_token, terms_receiver, terms_amount, terms_safety_deposit)"
        " values (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)"
        " on conflict do nothing",
        (
            lock.chain,
            lock.block_number,
            lock.log_index,
            lock.block_hash,
            lock.block_time,
            lock.transaction_hash,
            lock.side,
            lock.factory,
            lock.address,
            words.order_hash,
            lock.fill_index,
            words.hashlock,
            words.maker,
            words.taker,
            words.token,
            words.amount,
            words.safety_deposit,
            words.time_locks,
            words.parameters,
            terms.chain if terms else None,
            terms.factory if terms else None,
            terms.token if terms else None,
            terms.receiver if terms else None,
            terms.amount if terms else None,
            terms.safety_deposit if terms else None,
        ),
    )


async def insert_event(uow: UnitOfWork, event: EscrowEvent) -> None:
    """Keep what an escrow said; the same event twice is one row."""
    await uow.execute(
        "insert into escrow_events (chain, block_number, log_index, block_hash, block_time, transaction_hash, address,"
        " kind, secret) values (%s, %s, %s, %s, %s, %s, %s, %s, %s) on conflict do nothing",
        (
            event.chain,
            event.block_number,
            event.log_index,
            event.block_hash,
            event.block_time,
            event.transaction_hash,
            event.address,
            event.kind,
            event.secret,
        ),
    )


async def find_lock(uow: UnitOfWork, chain: str, address: bytes) -> Lock | None:
    """A known escrow by address."""
    row = await uow.find("select * from escrows where chain = %s and address = %s", (chain, address))
    return _lock(row) if row else None


async def list_open_addresses(uow: UnitOfWork, chain: str) -> list[bytes]:
    """Known escrows of a chain that have not ended."""
    rows = await uow.fetch(
        "select e.address from escrows e where e.chain = %s and not exists"
        " (select 1 from escrow_events v where v.chain = e.chain and v.address = e.address) order by e.address",
        (chain,),
    )
    return [bytes(row["address"]) for row in rows]


async def has_source(uow: UnitOfWork, order_hash: bytes, fill_index: int, taker: bytes) -> bool:
    """Whether a source escrow of this taker is known for the fill."""
    row = await uow.find(
        "select 1 from escrows where order_hash = %s and fill_index = %s and taker = %s and side = 'source' limit 1",
        (order_hash, fill_index, taker),
    )
    return row is not None


async def list_locks(uow: UnitOfWork, order_hash: bytes) -> list[Lock]:
    """Escrows that claim this order, in the order of their chains."""
    rows = await uow.fetch(
        "select * from escrows where order_hash = %s order by side, chain, block_number, log_index", (order_hash,)
    )
    return [_lock(row) for row in rows]


async def find_shown_secret(uow: UnitOfWork, order_hash: bytes, hashlock: bytes) -> bytes | None:
    """The secret that a withdrawal of one of the order's escrows has shown."""
    row = await uow.find(
        "select v.secret from escrow_events v join escrows e on e.chain = v.chain and e.address = v.address"
        " where e.order_hash = %s and e.hashlock = %s and v.secret is not null limit 1",
        (order_hash, hashlock),
    )
    return bytes(row["secret"]) if row else None


async def delete_above(uow: UnitOfWork, chain: str, block_number: int) -> list[bytes]:
    """Forget the blocks above this one; returns the order hashes that lost something."""
    rows = await uow.fetch(
        "with events as (delete from escrow_events where chain = %(chain)s and block_number > %(number)s"
        "  returning address),"
        " gone as (delete from escrows where chain = %(chain)s and block_number > %(number)s returning order_hash)"
        " select order_hash from gone union"
        " select e.order_hash from escrows e join events v on v.address = e.address where e.chain = %(chain)s",
        {"chain": chain, "number": block_number},
    )
    return [bytes(row["order_hash"]) for row in rows]


def _lock(row: Row) -> Lock:
    return Lock(
        side=Side(row["side"]),
        chain=row["chain"],
        factory=bytes(row["factory"]),
        address=bytes(row["address"]),
        fill_index=row["fill_index"],
        immutables=Immutables(
            order_hash=bytes(row["order_hash"]),
            hashlock=bytes(row["hashlock"]),
            maker=bytes(row["maker"]),
            taker=bytes(row["taker"]),
            token=bytes(row["token"]),
            amount=from_numeric(row["amount"]),
            safety_deposit=from_numeric(row["safety_deposit"]),
            time_locks=from_numeric(row["time_locks"]),
            parameters=bytes(row["parameters"]),
        ),
        terms=DestinationTerms(
            chain=row["terms_chain"],
            factory=bytes(row["terms_factory"]),
            token=bytes(row["terms_token"]),
            receiver=bytes(row["terms_receiver"]),
            amount=from_numeric(row["terms_amount"]),
            safety_deposit=from_numeric(row["terms_safety_deposit"]),
        )
        if row["terms_chain"] is not None
        else None,
        block_number=row["block_number"],
        block_hash=bytes(row["block_hash"]),
        block_time=row["block_time"],
        transaction_hash=bytes(row["transaction_hash"]),
        log_index=row["log_index"],
    )
