"""SQL of transactions and their timeline. Writes go in batches: one statement per table."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import LiteralString

from psycopg.types.json import Jsonb

from lockstep.chains.evm import Address, Hash32, Speed
from lockstep.kit import outbox
from lockstep.kit.database import Row, UnitOfWork
from lockstep.kit.ids import AppId, WalletId
from lockstep.kit.money import from_numeric
from lockstep.transactions.types import Change, State, Step, Transaction
from lockstep.transactions.views import updated_event


async def insert(uow: UnitOfWork, transaction: Transaction) -> bool:
    """Insert a queued transaction with its first step and event; False when its idempotency key exists already."""
    t = transaction
    count = await uow.execute(
        "insert into transactions (id, app_id, wallet_id, decision_id, chain, from_address, to_address, value, data, type,"
        " speed, is_private, gas_limit_ceiling, max_fee_ceiling, max_priority_fee_ceiling, idempotency_key, priority,"
        " deadline_at, cancels_late, correlation_id, wakes_kind, wakes_id, state, version, due_at, created_at, updated_at)"
        " values (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)"
        " on conflict (app_id, wallet_id, idempotency_key) do nothing",
        (
            t.id,
            t.app_id,
            t.wallet_id,
            t.decision_id,
            t.chain,
            t.sender,
            t.to,
            t.value,
            t.data,
            t.type,
            t.speed,
            t.is_private,
            t.gas_limit_ceiling,
            t.max_fee_ceiling,
            t.max_priority_fee_ceiling,
            t.idempotency_key,
            t.priority,
            t.deadline_at,
            t.cancels_late,
            t.correlation_id,
            t.wakes_kind,
            t.wakes_id,
            t.state,
            t.version,
            t.due_at,
            t.created_at,
            t.updated_at,
        ),
    )
    if count == 0:
        return False
    await _insert_steps(uow, [(t, None, {})])
    await outbox.append(uow, updated_event(t))
    return True


async def find(uow: UnitOfWork, app_id: AppId, transaction_id: str, *, lock: bool = False) -> Transaction | None:
    """A transaction of an app."""
    row = await uow.find(
        "select * from transactions where app_id = %s and id = %s for update"
        if lock
        else "select * from transactions where app_id = %s and id = %s",
        (app_id, transaction_id),
    )
    return None if row is None else _transaction(row)


async def set_terms(uow: UnitOfWork, transaction: Transaction) -> None:
    """Write the decision, fee ceilings and wanted attempt of a locked transaction; `apply` tells of it."""
    t = transaction
    await uow.execute(
        "update transactions set decision_id = %s, max_fee_ceiling = %s, max_priority_fee_ceiling = %s,"
        " wanted_attempt = %s where app_id = %s and id = %s",
        (t.decision_id, t.max_fee_ceiling, t.max_priority_fee_ceiling, t.wanted_attempt, t.app_id, t.id),
    )


async def find_by_key(uow: UnitOfWork, app_id: AppId, wallet_id: WalletId, key: str) -> Transaction | None:
    """A transaction by its idempotency key."""
    row = await uow.find(
        "select * from transactions where app_id = %s and wallet_id = %s and idempotency_key = %s",
        (app_id, wallet_id, key),
    )
    return None if row is None else _transaction(row)


async def list_page(
    uow: UnitOfWork,
    app_id: AppId,
    *,
    wallet_ids: Sequence[WalletId] | None,
    chain: str | None,
    state: State | None,
    before: str | None,
    limit: int,
) -> list[Transaction]:
    """Newest first, from behind the cursor; one row more than the limit shows that there are more."""
    rows = await uow.fetch(
        "select * from transactions where app_id = %(app_id)s"
        " and (%(wallet_ids)s::text[] is null or wallet_id = any(%(wallet_ids)s))"
        " and (%(chain)s::text is null or chain = %(chain)s)"
        " and (%(state)s::text is null or state = %(state)s)"
        " and (%(before)s::text is null or id < %(before)s) order by id desc limit %(limit)s",
        {
            "app_id": app_id,
            "wallet_ids": None if wallet_ids is None else list(wallet_ids),
            "chain": chain,
            "state": state,
            "before": before,
            "limit": limit + 1,
        },
    )
    return [_transaction(row) for row in rows]


async def list_states(
    uow: UnitOfWork, transactions: Sequence[tuple[AppId, str]]
) -> dict[str, tuple[State, str | None]]:
    """State and reason by id, of those that belong to the app named with them."""
    rows = await uow.fetch(
        "select t.id, t.state, t.reason from transactions t"
        " join unnest(%s::text[], %s::text[]) as wanted (app_id, id) on t.app_id = wanted.app_id and t.id = wanted.id",
        ([app_id for app_id, _ in transactions], [transaction_id for _, transaction_id in transactions]),
    )
    return {row["id"]: (State(row["state"]), row["reason"]) for row in rows}


async def list_steps(uow: UnitOfWork, app_id: AppId, transaction_id: str) -> list[Step]:
    """The timeline, oldest first."""
    rows = await uow.fetch(
        "select * from transaction_steps where app_id = %s and transaction_id = %s order by version",
        (app_id, transaction_id),
    )
    return [
        Step(
            version=row["version"],
            from_state=None if row["from_state"] is None else State(row["from_state"]),
            to_state=State(row["to_state"]),
            reason=row["reason"],
            facts=row["facts"],
            created_at=row["created_at"],
        )
        for row in rows
    ]


# --- work of the engine -----------------------------------------------------------------------------------------------


async def list_due_states(uow: UnitOfWork, chain: str, now: datetime) -> set[State]:
    """States before the signature in which something is due: one cheap probe per look. All tenants: for the engine."""
    rows = await uow.fetch(
        "select s.state from unnest(array['queued', 'reserved', 'replaced']) as s (state)"
        " where exists (select 1 from transactions t where t.chain = %s and t.state = s.state and t.due_at <= %s)",
        (chain, now),
    )
    return {State(row["state"]) for row in rows}


async def list_queued(uow: UnitOfWork, chain: str, now: datetime, limit: int) -> list[Transaction]:
    """Queued transactions that are due, those first that have waited longest for a look: many that cannot go must not keep
    others out. Not locked. All tenants: for the engine."""
    rows = await uow.fetch(
        "select * from transactions where chain = %s and state = 'queued' and due_at <= %s"
        " order by priority desc, due_at, id limit %s",
        (chain, now, limit),
    )
    return [_transaction(row) for row in rows]


async def lock_queued(uow: UnitOfWork, chain: str, ids: list[str], addresses: list[Address]) -> list[Transaction]:
    """Lock those of the transactions that are still queued, for accounts whose lock is held. All tenants: for the engine."""
    rows = await uow.fetch(
        "select * from transactions where id = any(%s) and chain = %s and state = 'queued' and from_address = any(%s)"
        " order by priority desc, id for update skip locked",
        (ids, chain, addresses),
    )
    return [_transaction(row) for row in rows]


async def count_earlier(uow: UnitOfWork, ids: list[str]) -> dict[str, int]:
    """How many transactions of the same account were queued before each of these and are neither mined nor ended; absent:
    none. All tenants: for the engine."""
    if not ids:
        return {}
    rows = await uow.fetch(
        "select t.id, count(*) as number from transactions t join transactions e on e.chain = t.chain"
        " and e.from_address = t.from_address and e.id < t.id and e.due_at is not null and e.state <> 'mined'"
        " where t.id = any(%s) group by t.id",
        (ids,),
    )
    return {row["id"]: row["number"] for row in rows}


async def lock_due(
    uow: UnitOfWork, chain: str, states: Sequence[State], now: datetime, limit: int
) -> list[Transaction]:
    """Lock due transactions in these states, each account's in the order of nonces. All tenants: for the engine."""
    rows = await uow.fetch(
        "select * from transactions where chain = %s and state = any(%s) and due_at <= %s"
        " order by from_address, nonce limit %s for update skip locked",
        (chain, list(states), now, limit),
    )
    return [_transaction(row) for row in rows]


async def lock_sendable(uow: UnitOfWork, chain: str, now: datetime, limit: int) -> list[Transaction]:
    """Lock signed transactions that are due and have no unsigned one of the same account before them. All tenants: for the engine."""
    rows = await uow.fetch(
        "select t.* from transactions t where t.chain = %(chain)s and t.state = 'signed' and t.due_at <= %(now)s"
        " and not exists (select 1 from transactions e where e.chain = t.chain and e.state = 'reserved'"
        "  and e.from_address = t.from_address and e.nonce < t.nonce and e.due_at is not null)"
        " order by t.from_address, t.nonce limit %(limit)s for update skip locked",
        {"chain": chain, "now": now, "limit": limit},
    )
    return [_transaction(row) for row in rows]


async def lock_in_flight(
    uow: UnitOfWork, chain: str, *, due_at: datetime | None, after: str, limit: int
) -> list[Transaction]:
    """Lock transactions of which a form may be in a pool or mined; with `due_at` only those due then. By id. All tenants: for the engine."""
    rows = await uow.fetch(
        "select * from transactions where chain = %(chain)s"
        " and (state = 'broadcast' or (state in ('replaced', 'signed') and attempt > 1))"
        " and (%(due)s::timestamptz is null or due_at <= %(due)s) and id > %(after)s and due_at is not null"
        " order by id limit %(limit)s for update skip locked",
        {"chain": chain, "due": due_at, "after": after, "limit": limit},
    )
    return [_transaction(row) for row in rows]


async def list_mined_blocks(uow: UnitOfWork, chain: str) -> list[tuple[int, Hash32]]:
    """Blocks with mined, not yet final transactions. All tenants: for the engine."""
    rows = await uow.fetch(
        "select distinct block_number, block_hash from transactions"
        " where chain = %s and state = 'mined' and due_at is not null order by block_number",
        (chain,),
    )
    return [(row["block_number"], bytes(row["block_hash"])) for row in rows]


async def find_above(uow: UnitOfWork, chain: str, address: Address, nonce: int) -> Transaction | None:
    """The account's next transaction in flight above a nonce. All tenants: for the engine."""
    row = await uow.find(
        "select * from transactions where chain = %s and from_address = %s and nonce > %s and due_at is not null"
        " and state in ('reserved', 'signed', 'broadcast', 'replaced') order by nonce limit 1",
        (chain, address, nonce),
    )
    return None if row is None else _transaction(row)


async def lock_mined(uow: UnitOfWork, chain: str, blocks: list[Hash32], limit: int) -> list[Transaction]:
    """Lock mined transactions of these blocks. All tenants: for the engine."""
    rows = await uow.fetch(
        "select * from transactions where chain = %s and state = 'mined' and block_hash = any(%s)"
        " and due_at is not null order by from_address, nonce limit %s for update skip locked",
        (chain, blocks, limit),
    )
    return [_transaction(row) for row in rows]


_UPDATE: LiteralString = """
update transactions t /* all tenants: rows that the engine has locked */ set state = c.state, version = c.version, due_at = c.due_at, failures = c.failures,
    reason = c.reason, nonce = c.nonce, attempt = c.attempt, gas_limit = c.gas_limit,
    max_fee_per_gas = c.max_fee_per_gas, max_priority_fee_per_gas = c.max_priority_fee_per_gas, hash = c.hash,
    block_number = c.block_number, block_hash = c.block_hash, succeeded = c.succeeded, gas_used = c.gas_used,
    effective_gas_price = c.effective_gas_price, contract_address = c.contract_address,
    revert_reason = c.revert_reason, data_fee = c.data_fee, cancel_requested_at = c.cancel_requested_at,
    cancel_decision_id = c.cancel_decision_id, updated_at = c.updated_at
from unnest(%b::text[], %b::text[], %b::integer[], %b::timestamptz[], %b::integer[], %b::text[], %b::bigint[],
    %b::integer[], %b::bigint[], %b::numeric[], %b::numeric[], %b::bytea[], %b::bigint[], %b::bytea[], %b::boolean[],
    %b::bigint[], %b::numeric[], %b::text[], %b::text[], %b::numeric[], %b::timestamptz[], %b::text[], %b::timestamptz[])
    as c (id, state, version, due_at, failures, reason, nonce, attempt, gas_limit, max_fee_per_gas,
    max_priority_fee_per_gas, hash, block_number, block_hash, succeeded, gas_used, effective_gas_price,
    contract_address, revert_reason, data_fee, cancel_requested_at, cancel_decision_id, updated_at)
where t.id = c.id
"""


async def update(uow: UnitOfWork, transactions: Sequence[Transaction]) -> None:
    """Write the changeable columns of locked transactions."""
    if transactions:
        ts = transactions
        await uow.execute(
            _UPDATE,
            (
                [t.id for t in ts],
                [t.state.value for t in ts],
                [t.version for t in ts],
                [t.due_at for t in ts],
                [t.failures for t in ts],
                [t.reason for t in ts],
                [t.nonce for t in ts],
                [t.attempt for t in ts],
                [t.gas_limit for t in ts],
                [t.max_fee_per_gas for t in ts],
                [t.max_priority_fee_per_gas for t in ts],
                [t.hash for t in ts],
                [t.block_number for t in ts],
                [t.block_hash for t in ts],
                [t.succeeded for t in ts],
                [t.gas_used for t in ts],
                [t.effective_gas_price for t in ts],
                [t.contract_address for t in ts],
                [t.revert_reason for t in ts],
                [t.data_fee for t in ts],
                [t.cancel_requested_at for t in ts],
                [t.cancel_decision_id for t in ts],
                [t.updated_at for t in ts],
            ),
        )


async def apply(uow: UnitOfWork, changes: Sequence[Change]) -> None:
    """Write changed transactions with their steps and events."""
    if changes:
        await update(uow, [change.transaction for change in changes])
        await _insert_steps(uow, [(change.transaction, change.from_state, change.facts) for change in changes])
        await outbox.append(uow, *(updated_event(change.transaction) for change in changes))


async def _insert_steps(uow: UnitOfWork, steps: Sequence[tuple[Transaction, State | None, object]]) -> None:
    await uow.execute(
        "insert into transaction_steps (transaction_id, version, app_id, from_state, to_state, reason, facts, created_at)"
        " select * from unnest(%b::text[], %b::integer[], %b::text[], %b::text[], %b::text[], %b::text[], %b::jsonb[],"
        " %b::timestamptz[])",
        (
            [t.id for t, _, _ in steps],
            [t.version for t, _, _ in steps],
            [t.app_id for t, _, _ in steps],
            [None if before is None else before.value for _, before, _ in steps],
            [t.state.value for t, _, _ in steps],
            [t.reason for t, _, _ in steps],
            [Jsonb(facts) for _, _, facts in steps],
            [t.updated_at for t, _, _ in steps],
        ),
    )


def _transaction(row: Row) -> Transaction:
    return Transaction(
        id=row["id"],
        app_id=row["app_id"],
        wallet_id=row["wallet_id"],
        decision_id=row["decision_id"],
        chain=row["chain"],
        sender=row["from_address"],
        to=row["to_address"],
        value=from_numeric(row["value"]),
        data=bytes(row["data"]),
        type=row["type"],
        speed=Speed(row["speed"]),
        is_private=row["is_private"],
        gas_limit_ceiling=row["gas_limit_ceiling"],
        max_fee_ceiling=_integer(row["max_fee_ceiling"]),
        max_priority_fee_ceiling=_integer(row["max_priority_fee_ceiling"]),
        idempotency_key=row["idempotency_key"],
        priority=row["priority"],
        deadline_at=row["deadline_at"],
        cancels_late=row["cancels_late"],
        correlation_id=row["correlation_id"],
        wakes_kind=row["wakes_kind"],
        wakes_id=row["wakes_id"],
        state=State(row["state"]),
        version=row["version"],
        due_at=row["due_at"],
        failures=row["failures"],
        reason=row["reason"],
        nonce=row["nonce"],
        attempt=row["attempt"],
        gas_limit=row["gas_limit"],
        max_fee_per_gas=_integer(row["max_fee_per_gas"]),
        max_priority_fee_per_gas=_integer(row["max_priority_fee_per_gas"]),
        data_fee=from_numeric(row["data_fee"]),
        hash=_bytes(row["hash"]),
        block_number=row["block_number"],
        block_hash=_bytes(row["block_hash"]),
        succeeded=row["succeeded"],
        gas_used=row["gas_used"],
        effective_gas_price=_integer(row["effective_gas_price"]),
        contract_address=row["contract_address"],
        revert_reason=row["revert_reason"],
        cancel_requested_at=row["cancel_requested_at"],
        cancel_decision_id=row["cancel_decision_id"],
        wanted_attempt=row["wanted_attempt"],
        created_at=row["created_at"],
        updated_at=row["updated_at"],
    )


def _integer(value: object) -> int | None:
    return None if value is None else from_numeric(value)  # type: ignore[arg-type]  # a numeric column gives Decimal


def _bytes(value: object) -> bytes | None:
    return None if value is None else bytes(value)  # type: ignore[call-overload]  # a bytea column
