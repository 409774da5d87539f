"""What every step of the engine on one chain shares, and how a step changes a transaction."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

from lockstep.chains.evm import Address, BlockRef, EvmClient, FeeMarket, Fees, Hash32, UnsignedTransaction
from lockstep.custody import Principal, TransactionIntent
from lockstep.kit import processes
from lockstep.kit.clock import Clock
from lockstep.kit.database import Database, UnitOfWork
from lockstep.transactions.engine.rules import cancellation_ceiling, content_of
from lockstep.transactions.rules import backoff_seconds
from lockstep.transactions.store import rows
from lockstep.transactions.types import (
    Attempt,
    Change,
    EngineSettings,
    State,
    StateObserver,
    Transaction,
    TransactionSigner,
)


@dataclass(slots=True)
class Lane:
    """The engine's work on one chain: what it needs, and the little that it remembers between looks."""

    client: EvmClient
    database: Database
    clock: Clock
    signer: TransactionSigner
    settings: EngineSettings
    observer: StateObserver | None = None
    """Says what of the state around transactions is kept."""
    head_seen: Hash32 | None = None
    """Head of the last look at what is in flight."""
    final_seen: tuple[int, Hash32] | None = None
    """Number and hash of the highest block in which something became final."""
    market_seen: tuple[Hash32, FeeMarket] | None = None
    """Fee market at the newest head."""
    low_balance: int = 0
    """An account that sends and has less, wei, is told of; 0: none is."""
    measured_at: datetime | None = None
    balances: dict[Address, int] = field(default_factory=dict)
    """Of the sending accounts, wei, when they were last measured."""
    gaps_seen: dict[tuple[Address, int], datetime] = field(default_factory=dict)
    """Nonces that nobody has, below others in flight, and since when they were seen."""
    gaps_filled: dict[tuple[Address, int], datetime] = field(default_factory=dict)
    """When a nonce was last given to a self-send: what is refused again and again is not tried all the time."""
    jams_seen: set[Address] = field(default_factory=set)
    """Accounts that were found jammed at the last look."""

    @property
    def chain(self) -> str:
        return self.client.chain

    @property
    def block_time(self) -> timedelta:
        return timedelta(seconds=self.client.config.block_seconds)

    async def fee_market(self, head: BlockRef) -> FeeMarket:
        """The fee market at this head, asked for once per head."""
        if self.market_seen is None or self.market_seen[0] != head.hash:
            self.market_seen = (head.hash, await self.client.fee_market())
        return self.market_seen[1]

    def fee_ceiling(self, transaction: Transaction) -> int:
        """The most that a transaction may pay per gas: its own ceiling, or the chain's where that is lower. Wei."""
        limit = self.client.config.max_fee_per_gas
        own = transaction.max_fee_ceiling
        return limit if own is None else min(own, limit)


def move(transaction: Transaction, state: State, now: datetime, due_at: datetime | None, **changes: Any) -> Transaction:
    """The transaction in another state, one version further; failures begin anew and the reason is the given one."""
    return replace(
        transaction,
        **({"reason": None, "failures": 0} | changes),
        state=state,
        version=transaction.version + 1,
        due_at=due_at,
        updated_at=now,
    )


def change(before: Transaction, after: Transaction, /, **facts: object) -> Change:
    """A step for the timeline; bytes are written as hex, amounts as text."""
    return Change(transaction=after, from_state=before.state, facts={name: _fact(fact) for name, fact in facts.items()})


def wait(transaction: Transaction, reason: str, now: datetime, seconds: float | None = None) -> Transaction:
    """The transaction where it stands, looked at again later: after `seconds`, or after a pause that grows."""
    pause = backoff_seconds(transaction.failures) if seconds is None else seconds
    return replace(
        transaction,
        reason=reason,
        failures=transaction.failures + 1,
        due_at=now + timedelta(seconds=pause),
    )


async def write(
    uow: UnitOfWork, lane: Lane, changes: list[Change], waits: Mapping[str, tuple[Transaction, Transaction]]
) -> None:
    """Write steps, and waits (before, after): a wait with a new reason is told to others, a repeated one is not."""
    now = lane.clock.now()
    silent: list[Transaction] = []
    told = list(changes)
    for before, after in waits.values():
        if before.reason == after.reason:
            silent.append(after)
        else:
            spoken = replace(after, version=before.version + 1, updated_at=now)
            told.append(Change(transaction=spoken, from_state=before.state))
    await rows.update(uow, silent)
    await rows.apply(uow, told)
    await _wake(uow, [c.transaction for c in changes], now)


async def _wake(uow: UnitOfWork, transactions: list[Transaction], now: datetime) -> None:
    """Make the processes due that wait for what was mined or has ended."""
    waiting: dict[str, list[str]] = {}
    for transaction in transactions:
        if (
            transaction.wakes_kind
            and transaction.wakes_id
            and (transaction.state.is_terminal or transaction.state is State.MINED)
        ):
            waiting.setdefault(transaction.wakes_kind, []).append(transaction.wakes_id)
    for kind, ids in waiting.items():
        await processes.wake(uow, kind, ids, now)


def unsigned(lane: Lane, transaction: Transaction, attempt: Attempt) -> UnsignedTransaction:
    """The transaction of an attempt; always the same bytes."""
    return build(
        lane,
        content_of(transaction, attempt.form),
        nonce=attempt.nonce,
        gas_limit=attempt.gas_limit,
        fees=Fees(attempt.max_fee_per_gas, attempt.max_priority_fee_per_gas),
    )


def build(lane: Lane, transaction: Transaction, *, nonce: int, gas_limit: int, fees: Fees) -> UnsignedTransaction:
    """The unsigned transaction with this nonce and these fees.

    Raises:
        MalformedTransaction: no node would take it, for example a gas limit below the intrinsic cost.
    """
    return UnsignedTransaction(
        chain_id=lane.client.config.chain_id,
        nonce=nonce,
        to=transaction.to,
        value=transaction.value,
        data=transaction.data,
        gas_limit=gas_limit,
        max_fee_per_gas=fees.max_fee_per_gas,
        max_priority_fee_per_gas=fees.max_priority_fee_per_gas,
        type=transaction.type,
    )


def cancellation_intent(transaction: Transaction, chain_ceiling: int) -> TransactionIntent:
    """What custody is asked to allow: a self-send under the transaction's nonce, within what a cancellation may cost.

    Args:
        chain_ceiling: highest fee of ordinary transactions, wei per gas.
    """
    ceiling = cancellation_ceiling(chain_ceiling)
    return TransactionIntent(
        app_id=transaction.app_id,
        wallet_id=transaction.wallet_id,
        chain=transaction.chain,
        from_address=transaction.sender,
        to=transaction.sender,
        value=0,
        data=b"",
        type=transaction.type,
        max_fee_per_gas=ceiling,
        max_priority_fee_per_gas=ceiling,
        idempotency_key="",
        correlation_id=transaction.correlation_id,
    )


def intent_of(transaction: Transaction) -> TransactionIntent:
    """What custody decides on when a transaction's ceilings change."""
    t = transaction
    return TransactionIntent(
        app_id=t.app_id,
        wallet_id=t.wallet_id,
        chain=t.chain,
        from_address=t.sender,
        to=t.to,
        value=t.value,
        data=t.data,
        type=t.type,
        speed=t.speed,
        is_private=t.is_private,
        gas_limit=t.gas_limit_ceiling,
        max_fee_per_gas=t.max_fee_ceiling,
        max_priority_fee_per_gas=t.max_priority_fee_ceiling,
        idempotency_key=t.idempotency_key,
        priority=t.priority,
        deadline_at=t.deadline_at,
        correlation_id=t.correlation_id,
    )


async def decide_cancellation(uow: UnitOfWork, lane: Lane, transaction: Transaction) -> str:
    """Id of a decision that lets the engine itself cancel.

    Raises:
        Refuse, Retry: the wallet or its app is stopped.
    """
    engine = Principal(kind="module", app_id=transaction.app_id, name="engine")
    intent = cancellation_intent(transaction, lane.client.config.max_fee_per_gas)
    return (await lane.signer.decide_cancellation(uow, engine, intent)).id


def _fact(value: object) -> object:
    if isinstance(value, bytes):
        return "0x" + value.hex()
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) >= 2**53:
        return str(value)
    return value
