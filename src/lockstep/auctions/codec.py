"""An order as EIP-712 typed data and as an argument of the factory. EVM only; signs nothing, calls nothing."""

from __future__ import annotations

from functools import cache
from typing import Any

from lockstep.auctions.types import Order, SignedOrder
from lockstep.chains.evm import Contract, parse_chain, typed_data_digest

ORDER_TYPES: dict[str, list[dict[str, str]]] = {
    "EIP712Domain": [
        {"name": "name", "type": "string"},
        {"name": "version", "type": "string"},
        {"name": "chainId", "type": "uint256"},
        {"name": "verifyingContract", "type": "address"},
    ],
    "Order": [
        {"name": "maker", "type": "address"},
        {"name": "sourceToken", "type": "address"},
        {"name": "sourceAmount", "type": "uint256"},
        {"name": "destination", "type": "Destination"},
        {"name": "price", "type": "PriceCurve"},
        {"name": "deposits", "type": "Deposits"},
        {"name": "timeLocks", "type": "TimeLocks"},
        {"name": "hashlockInfo", "type": "bytes32"},
        {"name": "allowedTakers", "type": "address[]"},
        {"name": "nonce", "type": "uint256"},
        {"name": "expiry", "type": "uint64"},
        {"name": "extensionHash", "type": "bytes32"},
    ],
    "Destination": [
        {"name": "chain", "type": "string"},
        {"name": "factory", "type": "bytes"},
        {"name": "token", "type": "bytes"},
        {"name": "receiver", "type": "bytes"},
    ],
    "PriceCurve": [
        {"name": "startTime", "type": "uint64"},
        {"name": "duration", "type": "uint32"},
        {"name": "endAmount", "type": "uint256"},
        {"name": "initialRateBump", "type": "uint32"},
        {"name": "points", "type": "PricePoint[]"},
    ],
    "PricePoint": [{"name": "rateBump", "type": "uint32"}, {"name": "delay", "type": "uint32"}],
    "Deposits": [{"name": "source", "type": "uint256"}, {"name": "destination", "type": "uint256"}],
    "TimeLocks": [
        {"name": "sourceWithdrawal", "type": "uint32"},
        {"name": "sourcePublicWithdrawal", "type": "uint32"},
        {"name": "sourceCancellation", "type": "uint32"},
        {"name": "sourcePublicCancellation", "type": "uint32"},
        {"name": "destinationWithdrawal", "type": "uint32"},
        {"name": "destinationPublicWithdrawal", "type": "uint32"},
        {"name": "destinationCancellation", "type": "uint32"},
    ],
}
"""The types that a maker signs, with `EIP712Domain`."""


@cache
def factory() -> Contract:
    """The codec of our escrow factory."""
    return Contract.load("EscrowFactory")


def order_members(order: Order) -> dict[str, Any]:
    """The signed members by their EIP-712 names: integers as int, bytes as bytes."""
    price, locks, other = order.price, order.time_locks, order.destination
    return {
        "maker": order.maker,
        "sourceToken": order.source_token,
        "sourceAmount": order.source_amount,
        "destination": {
            "chain": other.chain,
            "factory": other.factory,
            "token": other.token,
            "receiver": other.receiver,
        },
        "price": {
            "startTime": price.start_time,
            "duration": price.duration,
            "endAmount": price.end_amount,
            "initialRateBump": price.initial_rate_bump,
            "points": [{"rateBump": point.rate_bump, "delay": point.delay} for point in price.points],
        },
        "deposits": {"source": order.source_deposit, "destination": order.destination_deposit},
        "timeLocks": {
            "sourceWithdrawal": locks.source_withdrawal,
            "sourcePublicWithdrawal": locks.source_public_withdrawal,
            "sourceCancellation": locks.source_cancellation,
            "sourcePublicCancellation": locks.source_public_cancellation,
            "destinationWithdrawal": locks.destination_withdrawal,
            "destinationPublicWithdrawal": locks.destination_public_withdrawal,
            "destinationCancellation": locks.destination_cancellation,
        },
        "hashlockInfo": order.hashlock,
        "allowedTakers": list(order.allowed_takers),
        "nonce": order.nonce,
        "expiry": order.expiry,
        "extensionHash": order.extension_hash,
    }


def typed_data(order: Order) -> dict[str, Any]:
    """The EIP-712 document that the maker signs, as JSON: big numbers as decimal strings, bytes as hex."""
    return {
        "types": ORDER_TYPES,
        "primaryType": "Order",
        "domain": {
            "name": "Lockstep",
            "version": "1",
            "chainId": parse_chain(order.source_chain),
            "verifyingContract": order.source_factory,
        },
        "message": _json(order_members(order)),
    }


def order_digest(order: Order) -> bytes:
    """EIP-712 digest: what is signed, and the hash by which the order is known everywhere."""
    return typed_data_digest(typed_data(order)).digest


def create_source_call(signed: SignedOrder) -> bytes:
    """Calldata by which a taker opens the source escrow."""
    return factory().encode("createSource", [order_members(signed.order), signed.signature, signed.permit])


def invalidate_nonce_call(order: Order) -> bytes:
    """Calldata by which the maker cancels on chain."""
    return factory().encode("invalidateNonce", [order.nonce])


def _json(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _json(member) for name, member in value.items()}
    if isinstance(value, list):
        return [_json(member) for member in value]
    if isinstance(value, bytes):
        return "0x" + value.hex()
    if isinstance(value, int):
        return str(value)
    return value
