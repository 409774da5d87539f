"""The public representation of a transaction: what the API answers and what events carry. Never raw bytes."""

from __future__ import annotations

from lockstep.chains.evm import to_checksum
from lockstep.kit.clock import rfc3339
from lockstep.kit.outbox import Event
from lockstep.transactions.types import Transaction

TOPIC = "transactions"


def public(transaction: Transaction) -> dict[str, object]:
    """JSON form of a transaction; calldata only by its selector."""
    t = transaction
    return {
        "id": t.id,
        "wallet_id": t.wallet_id,
        "chain": t.chain,
        "from": to_checksum(t.sender),
        "to": None if t.to is None else to_checksum(t.to),
        "value": str(t.value),
        "selector": "0x" + t.data[:4].hex() if len(t.data) >= 4 else None,
        "type": t.type,
        "speed": t.speed.value,
        "is_private": t.is_private,
        "state": t.state.value,
        "version": t.version,
        "reason": t.reason,
        "nonce": t.nonce,
        "attempt": t.attempt,
        "hash": _hex(t.hash),
        "gas_limit": _text(t.gas_limit),
        "max_fee_per_gas": _text(t.max_fee_per_gas),
        "max_priority_fee_per_gas": _text(t.max_priority_fee_per_gas),
        "block_number": t.block_number,
        "block_hash": _hex(t.block_hash),
        "succeeded": t.succeeded,
        "gas_used": _text(t.gas_used),
        "effective_gas_price": _text(t.effective_gas_price),
        "data_fee": str(t.data_fee),
        "fee_paid": _text(t.fee_paid),
        "contract_address": None if t.contract_address is None else to_checksum(t.contract_address),
        "revert_reason": t.revert_reason,
        "deadline_at": None if t.deadline_at is None else rfc3339(t.deadline_at),
        "cancel_requested_at": None if t.cancel_requested_at is None else rfc3339(t.cancel_requested_at),
        "correlation_id": t.correlation_id,
        "created_at": rfc3339(t.created_at),
        "updated_at": rfc3339(t.updated_at),
    }


def updated_event(transaction: Transaction) -> Event:
    """The event that a transaction has changed."""
    return Event(
        topic=TOPIC,
        type="transaction_updated",
        object_id=transaction.id,
        version=transaction.version,
        data=public(transaction),
        app_id=transaction.app_id,
        correlation_id=transaction.correlation_id,
    )


def _text(amount: int | None) -> str | None:
    return None if amount is None else str(amount)


def _hex(raw: bytes | None) -> str | None:
    return None if raw is None else "0x" + raw.hex()
