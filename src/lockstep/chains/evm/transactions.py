"""Transactions of types 0 (EIP-155), 1 (EIP-2930), 2 (EIP-1559), 3 (EIP-4844) and 4 (EIP-7702): the bytes that are
signed, the bytes that are sent, and back. Type 3 names blobs by their hashes; the blobs themselves are not handled here.

Whoever decides about a transaction decodes the very bytes that will be signed: `decode_unsigned` accepts only what
encodes to the same bytes again. Does not fetch, sign or send.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

from lockstep.chains.evm import rlp
from lockstep.chains.evm.addresses import address_from_bytes, address_to_bytes, is_address, keccak256
from lockstep.chains.evm.authorizations import SignedAuthorization, read_signed_authorization
from lockstep.chains.evm.errors import MalformedTransaction
from lockstep.chains.evm.signatures import HALF_ORDER, ORDER, recover_public_address
from lockstep.chains.evm.types import Address, Hash32

TransactionType: TypeAlias = Literal[0, 2]
"""What is sent. 0: one gas price (EIP-155). 2: a fee cap and a tip cap (EIP-1559)."""
EnvelopeType: TypeAlias = Literal[0, 1, 2, 3, 4]
"""What can be signed. 1: one gas price with an access list (EIP-2930). 3: with blobs (EIP-4844). 4: with authorizations
(EIP-7702)."""
AccessList: TypeAlias = "tuple[tuple[Address, tuple[bytes, ...]], ...]"

MAX_DATA_BYTES = 131_072
"""Size that common nodes take into their pool; the same cap for everything that we sign."""
MAX_INITCODE_BYTES = 49_152
MAX_BLOBS = 6
"""Blobs of one transaction (EIP-7594)."""
GAS_PER_BLOB = 131_072
_LENGTHS: dict[int, int] = {1: 8, 2: 9, 3: 11, 4: 10}
"""Fields of each type in front of its signature."""
_MAX_UINT64 = 2**64 - 1
_MAX_UINT256 = 2**256 - 1


@dataclass(frozen=True, slots=True, kw_only=True)
class UnsignedTransaction:
    """A transaction before its signature. Checked when made, so that an instance always encodes.

    Amounts and fees are in wei; types 0 and 1 carry their gas price in both fee fields. `to` None creates a contract.

    Raises:
        MalformedTransaction: a field out of range or of another type, tip above the fee, data above 128 KiB, gas below the
            intrinsic cost.
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
    type: EnvelopeType = 2
    max_fee_per_blob_gas: int = 0
    blob_hashes: tuple[Hash32, ...] = ()
    """Versioned hashes of a type-3 transaction's blobs, 32 bytes each."""
    authorizations: tuple[SignedAuthorization, ...] = ()
    """Of a type-4 transaction."""

    def __post_init__(self) -> None:
        _check(self)

    def signing_payload(self) -> bytes:
        """The bytes whose keccak256 is signed."""
        if self.type == 0:
            return rlp.encode([*_legacy_fields(self), rlp.encode_number(self.chain_id), b"", b""])
        return bytes([self.type]) + rlp.encode(_fields(self))

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
    """Read a signing payload.

    Raises:
        MalformedTransaction: another type, not canonical, or content that does not hold.
    """
    try:
        kind = _envelope(payload)
        if kind is not None:
            return _from_fields(kind, _list(rlp.decode(payload[1:]), _LENGTHS[kind]))
        if payload[:1] >= b"\xc0":
            fields = _list(rlp.decode(payload), 9)
            if fields[7] != b"" or fields[8] != b"":
                raise ValueError("a legacy payload must end with chain id, 0, 0 (EIP-155)")
            return _from_legacy(fields, rlp.decode_number(fields[6]))
    except (ValueError, RecursionError) as error:
        raise MalformedTransaction(f"the transaction cannot be read: {error}") from error
    raise MalformedTransaction("expected a transaction of type 1 to 4, or of type 0 with a chain id")


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
    return bytes([transaction.type]) + rlp.encode([*_fields(transaction), rlp.encode_number(y_parity), *signature])


def decode_signed(raw: bytes) -> SignedTransaction:
    """Read a raw transaction and recover its sender.

    Raises:
        MalformedTransaction: another type, not canonical, or a signature that does not hold.
    """
    try:
        kind = _envelope(raw)
        if kind is not None:
            fields = _list(rlp.decode(raw[1:]), _LENGTHS[kind] + 3)
            transaction = _from_fields(kind, fields[:-3])
            y_parity = rlp.decode_number(fields[-3])
        elif raw[:1] >= b"\xc0":
            fields = _list(rlp.decode(raw), 9)
            v = rlp.decode_number(fields[6])
            if v < 37:
                raise ValueError("a legacy transaction must be bound to a chain (EIP-155)")
            transaction = _from_legacy(fields, (v - 35) // 2)
            y_parity = (v - 35) % 2
        else:
            raise ValueError("expected type 1 to 4, or type 0 with a chain id")
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


def intrinsic_gas(to: Address | None, data: bytes, access_list: AccessList = (), authorizations: int = 0) -> int:
    """Gas that a transaction costs before its first instruction, floor of EIP-7623 included.

    Args:
        authorizations: how many it carries.
    Source: EIP-2028, EIP-2930, EIP-3860, EIP-7623, EIP-7702.
    """
    zeros = data.count(0)
    others = len(data) - zeros
    gas = 21_000 + 4 * zeros + 16 * others
    gas += sum(2_400 + 1_900 * len(keys) for _, keys in access_list) + 25_000 * authorizations
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
        "max_fee_per_blob_gas": _MAX_UINT256,
    }
    for name, limit in limits.items():
        number = getattr(tx, name)
        if type(number) is not int or not 0 <= number <= limit:
            raise MalformedTransaction(f"{name} is out of range")
    if tx.type not in (0, 1, 2, 3, 4):
        raise MalformedTransaction("expected a transaction of type 0 to 4")
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
    _check_type(tx)
    for address, keys in tx.access_list:
        if not is_address(address) or any(not isinstance(key, bytes) or len(key) != 32 for key in keys):
            raise MalformedTransaction("the access list holds addresses with keys of 32 bytes")
    least = intrinsic_gas(tx.to, tx.data, tx.access_list, len(tx.authorizations))
    if tx.gas_limit < least:
        raise MalformedTransaction(
            f"gas_limit is below what the transaction costs before it runs ({least}), was {tx.gas_limit}"
        )


def _check_type(tx: UnsignedTransaction) -> None:
    """What belongs to some types only."""
    if tx.type in (0, 1) and tx.max_priority_fee_per_gas != tx.max_fee_per_gas:
        raise MalformedTransaction(f"a transaction of type {tx.type} has one gas price")
    if tx.type == 0 and tx.access_list:
        raise MalformedTransaction("a legacy transaction has no access list")
    if tx.type in (3, 4) and tx.to is None:
        raise MalformedTransaction(f"a transaction of type {tx.type} has a recipient")
    if tx.type == 3:
        if not 0 < len(tx.blob_hashes) <= MAX_BLOBS:
            raise MalformedTransaction(f"expected 1 to {MAX_BLOBS} blob hashes, was {len(tx.blob_hashes)}")
        if any(not isinstance(one, bytes) or len(one) != 32 or one[0] != 1 for one in tx.blob_hashes):
            raise MalformedTransaction("a blob hash has 32 bytes, of which the first is 01")
    elif tx.blob_hashes or tx.max_fee_per_blob_gas:
        raise MalformedTransaction("only a transaction of type 3 has blobs")
    if (tx.type == 4) != bool(tx.authorizations):
        raise MalformedTransaction("a transaction of type 4, and no other, carries authorizations")


def _envelope(raw: bytes) -> EnvelopeType | None:
    """The type of a typed transaction; None for what may be a legacy one."""
    kinds: dict[bytes, EnvelopeType] = {b"\x01": 1, b"\x02": 2, b"\x03": 3, b"\x04": 4}
    return kinds.get(raw[:1])


def _fields(tx: UnsignedTransaction) -> list[rlp.Item]:
    number = rlp.encode_number
    fees = [tx.max_fee_per_gas] if tx.type == 1 else [tx.max_priority_fee_per_gas, tx.max_fee_per_gas]
    fields: list[rlp.Item] = [
        number(tx.chain_id),
        number(tx.nonce),
        *(number(fee) for fee in fees),
        number(tx.gas_limit),
        b"" if tx.to is None else address_to_bytes(tx.to),
        number(tx.value),
        tx.data,
        [[address_to_bytes(address), list(keys)] for address, keys in tx.access_list],
    ]
    if tx.type == 3:
        fields += [number(tx.max_fee_per_blob_gas), list(tx.blob_hashes)]
    if tx.type == 4:
        fields += [[one.fields() for one in tx.authorizations]]
    return fields


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


def _from_fields(kind: EnvelopeType, fields: list[rlp.Decoded]) -> UnsignedTransaction:
    number = rlp.decode_number
    if kind == 1:
        fields = [*fields[:3], fields[2], *fields[3:]]  # one price is both fees
    return UnsignedTransaction(
        type=kind,
        chain_id=number(fields[0]),
        nonce=number(fields[1]),
        max_priority_fee_per_gas=number(fields[2]),
        max_fee_per_gas=number(fields[3]),
        gas_limit=number(fields[4]),
        to=_recipient(fields[5]),
        value=number(fields[6]),
        data=_bytes(fields[7]),
        access_list=_access_list(fields[8]),
        max_fee_per_blob_gas=number(fields[9]) if kind == 3 else 0,
        blob_hashes=tuple(_bytes(one) for one in _items(fields[10])) if kind == 3 else (),
        authorizations=tuple(read_signed_authorization(one) for one in _items(fields[9])) if kind == 4 else (),
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


def _items(item: rlp.Decoded) -> list[rlp.Decoded]:
    if not isinstance(item, list):
        raise ValueError("expected a list, was bytes")
    return item


def _access_list(item: rlp.Decoded) -> AccessList:
    entries = []
    for entry in _items(item):
        address, keys = _list(entry, 2)
        if len(_bytes(address)) != 20:
            raise ValueError("an access list entry is an address with its keys")
        entries.append((address_from_bytes(_bytes(address)), tuple(_bytes(key) for key in _items(keys))))
    return tuple(entries)
