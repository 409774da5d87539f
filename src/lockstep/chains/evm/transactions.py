"""Transactions of type 2 (EIP-1559) and type 0 (EIP-155): the bytes that are signed, the bytes that are sent, and back.

Whoever decides about a transaction decodes the very bytes that will be signed: `decode_unsigned` accepts only what
encodes to the same bytes again. Does not fetch, sign or send.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

from lockstep.chains.evm import rlp
from lockstep.chains.evm.addresses import address_from_bytes, address_to_bytes, is_address, keccak256
from lockstep.chains.evm.errors import MalformedTransaction
from lockstep.chains.evm.signatures import HALF_ORDER, ORDER, recover_public_address
from lockstep.chains.evm.types import Address, Hash32

TransactionType: TypeAlias = Literal[0, 2]
"""0: one gas price (EIP-155). 2: a fee cap and a tip cap (EIP-1559)."""
AccessList: TypeAlias = "tuple[tuple[Address, tuple[bytes, ...]], ...]"

MAX_DATA_BYTES = 131_072
"""Size that common nodes take into their pool; the same cap for everything that we sign."""
MAX_INITCODE_BYTES = 49_152
_MAX_UINT64 = 2**64 - 1
_MAX_UINT256 = 2**256 - 1


@dataclass(frozen=True, slots=True, kw_only=True)
class UnsignedTransaction:
    """A transaction before its signature. Checked when made, so that an instance always encodes.

    Amounts and fees are in wei; a type-0 transaction carries its gas price in both fee fields. `to` None creates a contract.

    Raises:
        MalformedTransaction: a field out of range, tip above the fee, data above 128 KiB, gas below the intrinsic cost.
    """

    chain_id: int
    nonce: int
    to: Address | None
    value: int
    data: bytes
    gas_limit: int
    max_fee_per_gas: int
    max_priority_fee_per_gas: int
    access_list: AccessList = ()
    type: TransactionType = 2

    def __post_init__(self) -> None:
        _check(self)

    def signing_payload(self) -> bytes:
        """The bytes whose keccak256 is signed."""
        if self.type == 0:
            return rlp.encode([*_legacy_fields(self), rlp.encode_number(self.chain_id), b"", b""])
        return b"\x02" + rlp.encode(_fields(self))

    def digest(self) -> Hash32:
        """The 32 bytes that are signed."""
        return keccak256(self.signing_payload())


@dataclass(frozen=True, slots=True, kw_only=True)
class SignedTransaction:
    """What a raw transaction says: its content, its sender and its hash."""

    transaction: UnsignedTransaction
    sender: Address
    hash: Hash32
    raw: bytes


def decode_unsigned(payload: bytes) -> UnsignedTransaction:
    """Read a signing payload of type 0 (EIP-155) or 2.

    Raises:
        MalformedTransaction: another type, not canonical, or content that does not hold.
    """
    try:
        if payload[:1] == b"\x02":
            fields = _list(rlp.decode(payload[1:]), 9)
            return _from_fields(fields)
        if payload[:1] >= b"\xc0":
            fields = _list(rlp.decode(payload), 9)
            if fields[7] != b"" or fields[8] != b"":
                raise ValueError("a legacy payload must end with chain id, 0, 0 (EIP-155)")
            return _from_legacy(fields, rlp.decode_number(fields[6]))
    except (ValueError, RecursionError) as error:
        raise MalformedTransaction(f"the transaction cannot be read: {error}") from error
    raise MalformedTransaction("expected a transaction of type 2, or of type 0 with a chain id")


def encode_signed(transaction: UnsignedTransaction, r: int, s: int, y_parity: int) -> bytes:
    """The raw transaction that is sent.

    Raises:
        MalformedTransaction: y parity not 0 or 1, r or s out of range, s in the upper half (EIP-2).
    """
    if y_parity not in (0, 1) or not 0 < r < ORDER or not 0 < s <= HALF_ORDER:
        raise MalformedTransaction("the signature is out of range or malleated")
    signature = [rlp.encode_number(r), rlp.encode_number(s)]
    if transaction.type == 0:
        v = 35 + 2 * transaction.chain_id + y_parity
        return rlp.encode([*_legacy_fields(transaction), rlp.encode_number(v), *signature])
    return b"\x02" + rlp.encode([*_fields(transaction), rlp.encode_number(y_parity), *signature])


def decode_signed(raw: bytes) -> SignedTransaction:
    """Read a raw transaction and recover its sender.

    Raises:
        MalformedTransaction: another type, not canonical, or a signature that does not hold.
    """
    try:
        if raw[:1] == b"\x02":
            fields = _list(rlp.decode(raw[1:]), 12)
            transaction = _from_fields(fields[:9])
            y_parity = rlp.decode_number(fields[9])
        elif raw[:1] >= b"\xc0":
            fields = _list(rlp.decode(raw), 9)
            v = rlp.decode_number(fields[6])
            if v < 37:
                raise ValueError("a legacy transaction must be bound to a chain (EIP-155)")
            transaction = _from_legacy(fields, (v - 35) // 2)
            y_parity = (v - 35) % 2
        else:
            raise ValueError("expected type 2, or type 0 with a chain id")
        r, s = rlp.decode_number(fields[-2]), rlp.decode_number(fields[-1])
    except (ValueError, RecursionError) as error:
        raise MalformedTransaction(f"the transaction cannot be read: {error}") from error
    if encode_signed(transaction, r, s, y_parity) != raw:
        raise MalformedTransaction("the transaction is not in canonical form")
    sender = recover_public_address(transaction.digest(), r, s, y_parity)
    return SignedTransaction(transaction=transaction, sender=sender, hash=transaction_hash(raw), raw=raw)


def transaction_hash(raw: bytes) -> Hash32:
    """Hash of a raw (signed) transaction."""
    return keccak256(raw)


def intrinsic_gas(to: Address | None, data: bytes, access_list: AccessList = ()) -> int:
    """Gas that a transaction costs before its first instruction, floor of EIP-7623 included.

    Source: EIP-2028, EIP-2930, EIP-3860, EIP-7623.
    """
    zeros = data.count(0)
    others = len(data) - zeros
    gas = 21_000 + 4 * zeros + 16 * others
    gas += sum(2_400 + 1_900 * len(keys) for _, keys in access_list)
    if to is None:
        gas += 32_000 + 2 * ((len(data) + 31) // 32)
    return max(gas, 21_000 + 10 * (zeros + 4 * others))


def _check(tx: UnsignedTransaction) -> None:
    limits = {
        "chain_id": _MAX_UINT64,
        "nonce": _MAX_UINT64 - 1,
        "value": _MAX_UINT256,
        "gas_limit": _MAX_UINT64,
        "max_fee_per_gas": _MAX_UINT256,
        "max_priority_fee_per_gas": _MAX_UINT256,
    }
    for name, limit in limits.items():
        number = getattr(tx, name)
        if type(number) is not int or not 0 <= number <= limit:
            raise MalformedTransaction(f"{name} is out of range")
    if tx.type not in (0, 2):
        raise MalformedTransaction("expected a transaction of type 0 or 2")
    if tx.chain_id == 0:
        raise MalformedTransaction("chain_id must be at least 1")
    if tx.to is not None and not is_address(tx.to):
        raise MalformedTransaction("to must be an address in lower case, or absent")
    if not isinstance(tx.data, bytes) or len(tx.data) > MAX_DATA_BYTES:
        raise MalformedTransaction(f"data must be at most {MAX_DATA_BYTES} bytes")
    if tx.to is None and len(tx.data) > MAX_INITCODE_BYTES:
        raise MalformedTransaction(f"init code must be at most {MAX_INITCODE_BYTES} bytes")
    if tx.max_priority_fee_per_gas > tx.max_fee_per_gas:
        raise MalformedTransaction("max_priority_fee_per_gas must not be above max_fee_per_gas")
    if tx.type == 0 and (tx.access_list or tx.max_priority_fee_per_gas != tx.max_fee_per_gas):
        raise MalformedTransaction("a legacy transaction has one gas price and no access list")
    for address, keys in tx.access_list:
        if not is_address(address) or any(not isinstance(key, bytes) or len(key) != 32 for key in keys):
            raise MalformedTransaction("the access list holds addresses with keys of 32 bytes")
    if tx.gas_limit < intrinsic_gas(tx.to, tx.data, tx.access_list):
        raise MalformedTransaction(
            f"gas_limit is below what the transaction costs before it runs "
            f"({intrinsic_gas(tx.to, tx.data, tx.access_list)}), was {tx.gas_limit}"
        )


def _fields(tx: UnsignedTransaction) -> list[rlp.Item]:
    number = rlp.encode_number
    return [
        number(tx.chain_id),
        number(tx.nonce),
        number(tx.max_priority_fee_per_gas),
        number(tx.max_fee_per_gas),
        number(tx.gas_limit),
        b"" if tx.to is None else address_to_bytes(tx.to),
        number(tx.value),
        tx.data,
        [[address_to_bytes(address), list(keys)] for address, keys in tx.access_list],
    ]


def _legacy_fields(tx: UnsignedTransaction) -> list[rlp.Item]:
    number = rlp.encode_number
    to = b"" if tx.to is None else address_to_bytes(tx.to)
    return [
        number(tx.nonce),
        number(tx.max_fee_per_gas),
        number(tx.gas_limit),
        to,
        number(tx.value),
        tx.data,
    ]


def _from_fields(fields: list[rlp.Decoded]) -> UnsignedTransaction:
    number = rlp.decode_number
    return UnsignedTransaction(
        chain_id=number(fields[0]),
        nonce=number(fields[1]),
        max_priority_fee_per_gas=number(fields[2]),
        max_fee_per_gas=number(fields[3]),
        gas_limit=number(fields[4]),
        to=_recipient(fields[5]),
        value=number(fields[6]),
        data=_bytes(fields[7]),
        access_list=_access_list(fields[8]),
    )


def _from_legacy(fields: list[rlp.Decoded], chain_id: int) -> UnsignedTransaction:
    number = rlp.decode_number
    return UnsignedTransaction(
        type=0,
        chain_id=chain_id,
        nonce=number(fields[0]),
        max_fee_per_gas=number(fields[1]),
        max_priority_fee_per_gas=number(fields[1]),
        gas_limit=number(fields[2]),
        to=_recipient(fields[3]),
        value=number(fields[4]),
        data=_bytes(fields[5]),
    )


def _list(item: rlp.Decoded, length: int) -> list[rlp.Decoded]:
    if not isinstance(item, list) or len(item) != length:
        raise ValueError(f"expected a list of {length} fields")
    return item


def _bytes(item: rlp.Decoded) -> bytes:
    if not isinstance(item, bytes):
        raise ValueError("expected bytes, was a list")
    return item


def _recipient(item: rlp.Decoded) -> Address | None:
    raw = _bytes(item)
    if len(raw) not in (0, 20):
        raise ValueError("the recipient must have 20 bytes, or none")
    return address_from_bytes(raw) if raw else None


def _access_list(item: rlp.Decoded) -> AccessList:
    if not isinstance(item, list):
        raise ValueError("expected an access list")
    entries = []
    for entry in item:
        address, keys = _list(entry, 2)
        if not isinstance(keys, list) or len(_bytes(address)) != 20:
            raise ValueError("an access list entry is an address with its keys")
        entries.append((address_from_bytes(_bytes(address)), tuple(_bytes(key) for key in keys)))
    return tuple(entries)
