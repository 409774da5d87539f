"""From a row to the transaction that is signed, and to what custody is asked to decide on. Asks nobody but custody."""

from __future__ import annotations

from lockstep.chains.evm import Fees, UnsignedTransaction
from lockstep.custody import Principal, TransactionIntent
from lockstep.kit.database import UnitOfWork
from lockstep.transactions.evm.lane import EvmLane
from lockstep.transactions.evm.rules import cancellation_ceiling, content_of
from lockstep.transactions.types import Attempt, Transaction


def unsigned(lane: EvmLane, transaction: Transaction, attempt: Attempt) -> UnsignedTransaction:
    """The transaction of an attempt; always the same bytes."""
    return build(
        lane,
        content_of(transaction, attempt.form),
        nonce=attempt.nonce,
        gas_limit=attempt.gas_limit,
        fees=Fees(attempt.max_fee_per_gas, attempt.max_priority_fee_per_gas),
    )


def build(lane: EvmLane, transaction: Transaction, *, nonce: int, gas_limit: int, fees: Fees) -> UnsignedTransaction:
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


async def decide_cancellation(uow: UnitOfWork, lane: EvmLane, transaction: Transaction) -> str:
    """Id of a decision that lets the engine itself cancel.

    Raises:
        Refuse, Retry: the wallet or its app is stopped.
    """
    engine = Principal(kind="module", app_id=transaction.app_id, name="engine")
    intent = cancellation_intent(transaction, lane.client.config.max_fee_per_gas)
    return (await lane.signer.decide_cancellation(uow, engine, intent)).id
