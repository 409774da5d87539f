"""A raw transaction as a node reads it. Reads it by itself, not with the codec of the product, which it is to check."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import rlp
from coincurve import PublicKey
from eth_hash.auto import keccak


@dataclass(frozen=True, slots=True, kw_only=True)
class Tx:
    """A signed transaction of type 0 (EIP-155) or 2. Amounts in wei, addresses in lower case."""

    type: int
    chain_id: int
    nonce: int
    to: str | None
    value: int
    data: bytes
    gas: int
    max_fee: int
    tip: int
    sender: str
    hash: bytes
    size: int

    @property
    def cost(self) -> int:
        """The most that it can take from its sender."""
        return self.value + self.gas * self.max_fee

    def price(self, base_fee: int) -> int:
        """What it pays per gas."""
        return min(self.max_fee, base_fee + self.tip)

    @property
    def intrinsic_gas(self) -> int:
        """EIP-2028, EIP-3860."""
        zeros = self.data.count(0)
        gas = 21_000 + 4 * zeros + 16 * (len(self.data) - zeros)
        return gas if self.to is not None else gas + 32_000 + 2 * ((len(self.data) + 31) // 32)

    @property
    def floor_gas(self) -> int:
        """EIP-7623."""
        zeros = self.data.count(0)
        return 21_000 + 10 * (zeros + 4 * (len(self.data) - zeros))


def decode(raw: bytes) -> Tx:
    """Read raw bytes and recover the sender.

    Raises:
        ValueError: not a transaction of a type that the node knows, or its signature does not hold.
    """
    try:
        if raw[:1] == b"\x02":
            fields: list[Any] = rlp.decode(raw[1:])
            chain_id, nonce, tip, fee, gas = (_number(field) for field in fields[:5])
            to, value, data = fields[5], _number(fields[6]), fields[7]
            digest = keccak(b"\x02" + rlp.encode(fields[:9]))
            parity = _number(fields[9])
            r, s = fields[10], fields[11]
            kind = 2
        elif raw[:1] >= b"\xc0":
            fields = rlp.decode(raw)
            nonce, fee, gas = (_number(field) for field in fields[:3])
            to, value, data = fields[3], _number(fields[4]), fields[5]
            v = _number(fields[6])
            chain_id, parity, tip, kind = (v - 35) // 2, (v - 35) % 2, fee, 0
            digest = keccak(rlp.encode([*fields[:6], _bytes(chain_id), b"", b""]))
            r, s = fields[7], fields[8]
        else:
            raise ValueError("transaction type not supported")
        signature = r.rjust(32, b"\0") + s.rjust(32, b"\0") + bytes([parity])
        key = PublicKey.from_signature_and_message(signature, digest, hasher=None).format(compressed=False)
    except (IndexError, rlp.DecodingError, rlp.EncodingError, TypeError) as error:
        raise ValueError(f"rlp: {error}") from error
    return Tx(
        type=kind,
        chain_id=chain_id,
        nonce=nonce,
        to="0x" + to.hex() if to else None,
        value=value,
        data=bytes(data),
        gas=gas,
        max_fee=fee,
        tip=tip,
        sender="0x" + keccak(key[1:])[-20:].hex(),
        hash=keccak(raw),
        size=len(raw),
    )


def _number(field: bytes) -> int:
    return int.from_bytes(field, "big")


def _bytes(number: int) -> bytes:
    return number.to_bytes((number.bit_length() + 7) // 8, "big")
