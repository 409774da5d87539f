"""All SQL of the auction book. `orders` and `order_fills` are public and written by the system role only; what belongs
to an app stands in `order_owners`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, LiteralString

from psycopg.types.json import Jsonb

from lockstep.auctions.schemas import OrderIn
from lockstep.auctions.types import BookOrder, Fill, OrderState, Owner, SignedOrder, Validity
from lockstep.kit.database import Row, UnitOfWork
from lockstep.kit.money import from_numeric


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderFilter:
    """Which orders to list; None: any."""

    maker: bytes | None = None
    state: str | None = None
    validity: str | None = None
    source_chain: str | None = None
    destination_chain: str | None = None
    source_token: bytes | None = None
    destination_token: bytes | None = None


_SELECT: LiteralString = """
select o.*, coalesce((select jsonb_agg(jsonb_build_object(
        'fill_index', f.fill_index, 'swap_id', f.swap_id, 'taker', encode(f.taker, 'hex'), 'mode', f.mode,
        'settlement_state', f.settlement_state, 'source_amount', f.source_amount::text,
        'destination_amount', f.destination_amount::text, 'is_consumed', f.is_consumed) order by f.swap_id)
    from order_fills f where f.order_hash = o.hash), '[]'::jsonb) as fills
from orders o
"""


async def insert_order(uow: UnitOfWork, order: BookOrder, now: datetime) -> str | None:
    """Keep an order. None when it was inserted, else what it collides with: hash, hashlock or nonce."""
    signed, terms = order.signed, order.signed.order
    inserted = await uow.execute(
        "insert into orders (id, hash, source_chain, source_factory, maker, source_token, source_amount,"
        " destination_chain, destination_token, start_time, expiry, hashlock, nonce, document, signature,"
        " signature_kind, permit, state, validity, validity_checked_at, version, created_at, updated_at)"
        " values (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)"
        " on conflict do nothing",
        (
            order.id,
            signed.hash,
            terms.source_chain,
            _raw(terms.source_factory),
            _raw(terms.maker),
            _raw(terms.source_token),
            terms.source_amount,
            terms.destination.chain,
            terms.destination.token,
            terms.price.start_time,
            terms.expiry,
            terms.hashlock,
            terms.nonce,
            Jsonb(dict(order.document)),
            signed.signature,
            signed.signature_kind,
            signed.permit,
            order.state,
            order.validity,
            now,
            order.version,
            now,
            now,
        ),
    )
    if inserted == 1:
        return None
    row = await uow.get(
        "select exists (select 1 from orders where hash = %(hash)s) as hash,"
        " exists (select 1 from orders where maker = %(maker)s and hashlock = %(hashlock)s) as hashlock",
        {"hash": signed.hash, "maker": _raw(terms.maker), "hashlock": terms.hashlock},
    )
    return "hash" if row["hash"] else "hashlock" if row["hashlock"] else "nonce"


async def insert_held_secret(
    uow: UnitOfWork, order_hash: bytes, fill_index: int, sealed: bytes, now: datetime
) -> datetime:
    """Keep a sealed secret, in place of one that is there; returns since when it has been held."""
    row = await uow.get(
        "insert into order_secrets (order_hash, fill_index, sealed, held_at) values (%s, %s, %s, %s)"
        " on conflict (order_hash, fill_index) do update set sealed = excluded.sealed returning held_at",
        (order_hash, fill_index, sealed, now),
    )
    held_at: datetime = row["held_at"]
    return held_at


async def find_held_secret(uow: UnitOfWork, order_hash: bytes, fill_index: int) -> bytes | None:
    """A sealed secret."""
    row = await uow.find(
        "select sealed from order_secrets where order_hash = %s and fill_index = %s", (order_hash, fill_index)
    )
    return bytes(row["sealed"]) if row else None


async def delete_held_secrets(uow: UnitOfWork, order_hash: bytes) -> int:
    """Forget the secrets of an order; returns how many there were."""
    return await uow.execute("delete from order_secrets where order_hash = %s", (order_hash,))


async def delete_expired_secrets(uow: UnitOfWork, expired_before: datetime, over: list[str]) -> int:
    """Forget the secrets of orders that expired before this and whose swaps are all in one of these states; how many."""
    return await uow.execute(
        "delete from order_secrets s using orders o where o.hash = s.order_hash and o.state = 'expired'"
        " and o.updated_at < %s and not exists"
        " (select 1 from order_fills f where f.order_hash = o.hash and f.settlement_state <> all(%s))",
        (expired_before, over),
    )


async def insert_owner(uow: UnitOfWork, order_hash: bytes, owner: Owner) -> None:
    """Note who stands behind the maker."""
    await uow.execute(
        "insert into order_owners (order_hash, app_id, user_id, wallet_id) values (%s, %s, %s, %s)",
        (order_hash, owner.app_id, owner.user_id, owner.wallet_id),
    )


async def find_owner(uow: UnitOfWork, order_hash: bytes) -> Owner | None:
    """Who stands behind the maker; None for an external one."""
    row = await uow.find("select app_id, user_id, wallet_id from order_owners where order_hash = %s", (order_hash,))
    return Owner(app_id=row["app_id"], user_id=row["user_id"], wallet_id=row["wallet_id"]) if row else None


async def find_order(uow: UnitOfWork, order_hash: bytes, *, lock: bool = False) -> BookOrder | None:
    """An order by hash."""
    query: LiteralString = _SELECT + " where o.hash = %s"
    row = await uow.find(query + " for update of o" if lock else query, (order_hash,))
    return _order(row) if row else None


async def list_orders(uow: UnitOfWork, wanted: OrderFilter, before: str | None, limit: int) -> list[BookOrder]:
    """Orders, the newest first."""
    rows = await uow.fetch(
        _SELECT + " where (%(before)s::text is null or o.id < %(before)s)"
        " and (%(maker)s::bytea is null or o.maker = %(maker)s)"
        " and (%(state)s::text is null or o.state = %(state)s)"
        " and (%(validity)s::text is null or o.validity = %(validity)s)"
        " and (%(source_chain)s::text is null or o.source_chain = %(source_chain)s)"
        " and (%(destination_chain)s::text is null or o.destination_chain = %(destination_chain)s)"
        " and (%(source_token)s::bytea is null or o.source_token = %(source_token)s)"
        " and (%(destination_token)s::bytea is null or o.destination_token = %(destination_token)s)"
        " order by o.id desc limit %(limit)s",
        {
            "before": before,
            "limit": limit,
            "maker": wanted.maker,
            "state": wanted.state,
            "validity": wanted.validity,
            "source_chain": wanted.source_chain,
            "destination_chain": wanted.destination_chain,
            "source_token": wanted.source_token,
            "destination_token": wanted.destination_token,
        },
    )
    return [_order(row) for row in rows]


async def list_open(uow: UnitOfWork, hashes: Sequence[bytes] | None = None) -> list[BookOrder]:
    """Open orders, those of the hashes or all, the nearest expiry first."""
    rows = await uow.fetch(
        _SELECT + " where o.state = 'open' and (%(hashes)s::bytea[] is null or o.hash = any(%(hashes)s))"
        " order by o.expiry limit 5000",
        {"hashes": list(hashes) if hashes is not None else None},
    )
    return [_order(row) for row in rows]


async def list_unchecked(uow: UnitOfWork, chain: str, before: datetime, limit: int) -> list[BookOrder]:
    """Live orders of a chain whose validity was not looked at since then, the longest unseen first."""
    rows = await uow.fetch(
        _SELECT + " where o.source_chain = %s and o.state in ('scheduled', 'open') and o.validity_checked_at < %s"
        " order by o.validity_checked_at limit %s",
        (chain, before, limit),
    )
    return [_order(row) for row in rows]


async def list_due(uow: UnitOfWork, chain: str, time: int, final_block: int) -> list[BookOrder]:
    """Orders of a chain that its time or a final invalidation moves: to open, expired or cancelled. Locked."""
    rows = await uow.fetch(
        _SELECT + " where o.source_chain = %(chain)s and o.state in ('scheduled', 'open')"
        " and ((o.state = 'scheduled' and o.start_time <= %(time)s) or o.expiry <= %(time)s"
        "  or o.invalidated_block <= %(final)s) order by o.id limit 500 for update of o skip locked",
        {"chain": chain, "time": time, "final": final_block},
    )
    return [_order(row) for row in rows]


async def list_invalidated(uow: UnitOfWork, chain: str, factory: bytes, maker: bytes, nonce: int) -> list[bytes]:
    """Hashes of the orders with this nonce that are live, or were filled: a nonce is used by one of both only, so on this
    branch the fill is gone."""
    rows = await uow.fetch(
        "select hash from orders where source_chain = %s and source_factory = %s and maker = %s and nonce = %s"
        " and state in ('scheduled', 'open', 'filled')",
        (chain, factory, maker, nonce),
    )
    return [bytes(row["hash"]) for row in rows]


async def list_invalidated_above(uow: UnitOfWork, chain: str, block_number: int) -> list[bytes]:
    """Hashes of the orders whose invalidation stands above this block."""
    rows = await uow.fetch(
        "select hash from orders where source_chain = %s and invalidated_block > %s", (chain, block_number)
    )
    return [bytes(row["hash"]) for row in rows]


async def find_invalidated_block(uow: UnitOfWork, order_hash: bytes) -> int | None:
    """Block in which the nonce was invalidated."""
    row = await uow.get("select invalidated_block from orders where hash = %s", (order_hash,))
    return int(row["invalidated_block"]) if row["invalidated_block"] is not None else None


async def set_invalidated(uow: UnitOfWork, order_hash: bytes, block_number: int | None) -> None:
    """Note in which block the nonce was invalidated; None when that block is gone."""
    await uow.execute("update orders set invalidated_block = %s where hash = %s", (block_number, order_hash))


async def update_order(
    uow: UnitOfWork,
    order_hash: bytes,
    *,
    state: OrderState,
    validity: Validity,
    cancel_requested_at: datetime | None,
    now: datetime,
) -> None:
    """Change what readers see; counts the version."""
    await uow.execute(
        "update orders set state = %s, validity = %s, cancel_requested_at = %s, version = version + 1, updated_at = %s"
        " where hash = %s",
        (state, validity, cancel_requested_at, now, order_hash),
    )


async def mark_checked(uow: UnitOfWork, hashes: Sequence[bytes], now: datetime) -> None:
    """The validity of these orders was looked at now."""
    await uow.execute("update orders set validity_checked_at = %s where hash = any(%s)", (now, list(hashes)))


async def upsert_fill(uow: UnitOfWork, order_hash: bytes, fill: Fill, now: datetime) -> bool:
    """Take over the state of a swap; returns whether anything changed."""
    return (
        await uow.execute(
            "insert into order_fills as f (order_hash, fill_index, swap_id, taker, mode, settlement_state, source_amount,"
            " destination_amount, is_consumed, created_at, updated_at) values (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)"
            " on conflict (order_hash, fill_index, swap_id) do update set settlement_state = excluded.settlement_state,"
            " destination_amount = excluded.destination_amount, is_consumed = excluded.is_consumed,"
            " updated_at = excluded.updated_at where (f.settlement_state, f.destination_amount, f.is_consumed)"
            " is distinct from (excluded.settlement_state, excluded.destination_amount, excluded.is_consumed)",
            (
                order_hash,
                fill.fill_index,
                fill.swap_id,
                fill.taker,
                fill.mode,
                fill.settlement_state,
                fill.source_amount,
                fill.destination_amount,
                fill.is_consumed,
                now,
                now,
            ),
        )
    ) > 0


def _order(row: Row) -> BookOrder:
    document: Mapping[str, Any] = row["document"]
    order = OrderIn.model_validate(document).to_order(row["source_chain"], "0x" + bytes(row["source_factory"]).hex())
    return BookOrder(
        id=row["id"],
        signed=SignedOrder(
            order=order,
            hash=bytes(row["hash"]),
            signature=bytes(row["signature"]),
            signature_kind=row["signature_kind"],
            permit=bytes(row["permit"]),
        ),
        document=document,
        state=OrderState(row["state"]),
        validity=Validity(row["validity"]),
        fills=tuple(
            Fill(
                fill_index=fill["fill_index"],
                swap_id=fill["swap_id"],
                taker=bytes.fromhex(fill["taker"]),
                mode=fill["mode"],
                settlement_state=fill["settlement_state"],
                source_amount=from_numeric(int(fill["source_amount"])),
                destination_amount=from_numeric(int(fill["destination_amount"])),
                is_consumed=fill["is_consumed"],
            )
            for fill in row["fills"]
        ),
        cancel_requested_at=row["cancel_requested_at"],
        version=row["version"],
        created_at=row["created_at"],
        updated_at=row["updated_at"],
    )


def _raw(address: str) -> bytes:
    return bytes.fromhex(address[2:])
