"""The order that a maker signs: its members, its EIP-712 document and hash, and the price over time.

A maker's client must not sign or reveal on the word of a server: everything here is computed locally. EVM only.
Source of the layout: the escrow factory's contract; of the price: the auction formula without gas bump.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, is_dataclass
from typing import Any, Final

from eth_hash.auto import keccak

from lockstep.client.decoding import camel, write

BUMP_ONE: Final = 10_000_000
"""A rate bump of this much doubles the end amount."""
_TEXT = {"wire": "text"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Destination:
    """Where and in what the maker is paid; raw bytes of that chain (20 on EVM)."""

    chain: str
    factory: bytes
    token: bytes
    receiver: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class PricePoint:
    """A bend of the price curve."""

    rate_bump: int
    delay: int
    """Seconds after the previous point."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PriceCurve:
    """The destination amount over the source chain's time; from `start_time + duration` on it is `end_amount`."""

    start_time: int
    duration: int
    end_amount: int = field(metadata=_TEXT)
    initial_rate_bump: int
    points: tuple[PricePoint, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Deposits:
    """Least safety deposits of the taker, native coin of each chain."""

    source: int = field(metadata=_TEXT)
    destination: int = field(metadata=_TEXT)


@dataclass(frozen=True, slots=True, kw_only=True)
class TimeLocks:
    """Seconds after the creation of the escrow of that side at which each stage opens."""

    source_withdrawal: int
    source_public_withdrawal: int
    source_cancellation: int
    source_public_cancellation: int
    destination_withdrawal: int
    destination_public_withdrawal: int
    destination_cancellation: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SwapOrder:
    """All members that the maker signs."""

    maker: str
    source_token: str
    source_amount: int = field(metadata=_TEXT)
    destination: Destination
    price: PriceCurve
    deposits: Deposits
    time_locks: TimeLocks
    hashlock_info: bytes
    allowed_takers: tuple[str, ...] = ()
    """Empty: anyone."""
    nonce: int = field(metadata=_TEXT)
    expiry: int
    """Time of the source chain from which on it cannot be taken."""
    extension_hash: bytes = bytes(32)

    def members(self) -> dict[str, Any]:
        """The members by their EIP-712 names, numbers and bytes as ABI codecs take them."""
        named: dict[str, Any] = _named(self)
        return named

    def wire(self) -> dict[str, Any]:
        """The members as the API takes them: EIP-712 names, decimal strings, 0x hex."""
        document: dict[str, Any] = write(self)
        return document


ORDER_TYPES: Final[Mapping[str, tuple[tuple[str, str], ...]]] = {
    "Order": (
        ("maker", "address"),
        ("sourceToken", "address"),
        ("sourceAmount", "uint256"),
        ("destination", "Destination"),
        ("price", "PriceCurve"),
        ("deposits", "Deposits"),
        ("timeLocks", "TimeLocks"),
        ("hashlockInfo", "bytes32"),
        ("allowedTakers", "address[]"),
        ("nonce", "uint256"),
        ("expiry", "uint64"),
        ("extensionHash", "bytes32"),
    ),
    "Deposits": (("source", "uint256"), ("destination", "uint256")),
    "Destination": (("chain", "string"), ("factory", "bytes"), ("token", "bytes"), ("receiver", "bytes")),
    "PriceCurve": (
        ("startTime", "uint64"),
        ("duration", "uint32"),
        ("endAmount", "uint256"),
        ("initialRateBump", "uint32"),
        ("points", "PricePoint[]"),
    ),
    "PricePoint": (("rateBump", "uint32"), ("delay", "uint32")),
    "TimeLocks": tuple((camel(name), "uint32") for name in TimeLocks.__slots__),
}
"""The EIP-712 types of an order; after the primary one in the order of their names, as `encodeType` wants them."""
_DOMAIN = (("name", "string"), ("version", "string"), ("chainId", "uint256"), ("verifyingContract", "address"))


def order_typed_data(order: SwapOrder, chain_id: int, factory: str) -> dict[str, Any]:
    """The document for `eth_signTypedData_v4`.

    Args:
        chain_id: of the source chain.
        factory: escrow factory on the source chain.
    """
    types = {"EIP712Domain": _DOMAIN, **ORDER_TYPES}
    return {
        "types": {
            name: [{"name": member, "type": kind} for member, kind in members] for name, members in types.items()
        },
        "primaryType": "Order",
        "domain": {"name": "Lockstep", "version": "1", "chainId": chain_id, "verifyingContract": factory},
        "message": order.wire(),
    }


def order_hash(order: SwapOrder, chain_id: int, factory: str) -> bytes:
    """The EIP-712 digest: what is signed, and the name of the order everywhere."""
    domain = {"name": "Lockstep", "version": "1", "chainId": chain_id, "verifyingContract": factory}
    separator = _struct_hash(_DOMAIN, _encode_type("EIP712Domain", _DOMAIN), domain)
    return keccak(b"\x19\x01" + separator + _struct("Order", order.wire()))


def hashlock(secret: bytes) -> bytes:
    """The lock that a secret opens, the same on both chains.

    Raises:
        ValueError: the secret is not 32 bytes.
    """
    if len(secret) != 32:
        raise ValueError(f"expected a secret of 32 bytes, was {len(secret)}")
    return keccak(secret)


def rate_bump(curve: PriceCurve, at: int) -> int:
    """Premium over the end amount at a moment of the source chain, in 1/10,000,000, rounded down inside a segment."""
    finish = curve.start_time + curve.duration
    if at >= finish:
        return 0
    if at <= curve.start_time:
        return curve.initial_rate_bump
    since, bump = curve.start_time, curve.initial_rate_bump
    for point in curve.points:
        until = since + point.delay
        if at <= until:
            return ((at - since) * point.rate_bump + (until - at) * bump) // (until - since)
        since, bump = until, point.rate_bump
    return (finish - at) * bump // (finish - since)


def destination_amount(curve: PriceCurve, at: int) -> int:
    """What a taker owes at a moment of the source chain, smallest unit, rounded up: the maker gains."""
    return -(-curve.end_amount * (BUMP_ONE + rate_bump(curve, at)) // BUMP_ONE)


def _named(value: Any) -> Any:
    if isinstance(value, tuple):
        return [_named(member) for member in value]
    if is_dataclass(value):
        return {camel(member.name): _named(getattr(value, member.name)) for member in fields(value)}
    return value


# --- EIP-712 ----------------------------------------------------------------------------------------------------------


def _struct(name: str, message: Mapping[str, Any]) -> bytes:
    members = ORDER_TYPES[name]
    used = sorted(_structs_of(name) - {name})
    encoded = "".join(_encode_type(each, ORDER_TYPES[each]) for each in (name, *used))
    return _struct_hash(members, encoded, message)


def _struct_hash(members: tuple[tuple[str, str], ...], encoded_type: str, message: Mapping[str, Any]) -> bytes:
    return keccak(keccak(encoded_type.encode()) + b"".join(_word(kind, message[member]) for member, kind in members))


def _word(kind: str, value: Any) -> bytes:
    if kind.endswith("[]"):
        return keccak(b"".join(_word(kind.removesuffix("[]"), member) for member in value))
    if kind in ORDER_TYPES:
        return _struct(kind, value)
    if kind == "string":
        return keccak(value.encode())
    if kind == "bytes":
        return keccak(bytes.fromhex(value[2:]))
    number = int(value, 16) if kind in ("address", "bytes32") else int(value)
    bits = {"address": 160, "bytes32": 256}.get(kind) or int(kind.removeprefix("uint"))
    if number >> bits:
        raise ValueError(f"expected {kind}, was {value}")
    return number.to_bytes(32, "big")


def _encode_type(name: str, members: tuple[tuple[str, str], ...]) -> str:
    return f"{name}({','.join(f'{kind} {member}' for member, kind in members)})"


def _structs_of(name: str) -> set[str]:
    inner = {kind.removesuffix("[]") for _, kind in ORDER_TYPES[name]} & ORDER_TYPES.keys()
    return {name}.union(*(_structs_of(each) for each in inner))
