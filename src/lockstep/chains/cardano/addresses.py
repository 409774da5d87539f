"""Addresses: bytes, their text (bech32, base58 for those of Byron), and the one address of a key. Source: CIP-19."""

from __future__ import annotations

import hashlib
from typing import Final, Literal, TypeAlias

from lockstep.chains.cardano.errors import BadCardanoAddress

Network: TypeAlias = Literal["mainnet", "testnet"]
_LETTERS: Final = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"
_BASE58: Final = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
_GENERATOR: Final = (0x3B6A57B2, 0x26508E6D, 0x1EA119FA, 0x3D4233DD, 0x2A1462B3)
_LENGTHS: Final[dict[int, range]] = {
    **dict.fromkeys((0, 1, 2, 3), range(57, 58)),
    **dict.fromkeys((4, 5), range(32, 60)),  # a pointer has three numbers of variable length
    **dict.fromkeys((6, 7, 14, 15), range(29, 30)),
}
"""Bytes of an address by its type, the high half of its first byte."""
_PAYMENT_KEY: Final = (0, 2, 4, 6)
_BYRON, _REWARDS = 8, (14, 15)
_BYRON_MOST: Final = 128


def key_hash(public_key: bytes) -> bytes:
    """BLAKE2b-224 of an Ed25519 public key, 28 bytes: the credential that it stands for."""
    return hashlib.blake2b(public_key, digest_size=28).digest()


def enterprise_address(public_key: bytes, network: Network) -> bytes:
    """The address of a key alone, without stake, 29 bytes."""
    return bytes([0x60 | (network == "mainnet")]) + key_hash(public_key)


def payment_key_hash(address: bytes) -> bytes | None:
    """The hash of the key that can spend from an address; None where a script can, or it is of Byron or for rewards."""
    return address[1:29] if address and address[0] >> 4 in _PAYMENT_KEY else None


def address_text(address: bytes) -> str:
    """The text of an address.

    Raises:
        BadCardanoAddress: bytes that are none.
    """
    kind = address[0] >> 4 if address else 16
    if kind == _BYRON and len(address) <= _BYRON_MOST:
        return _base58(address)
    if kind not in _LENGTHS or len(address) not in _LENGTHS[kind] or address[0] & 15 > 1:
        raise BadCardanoAddress(f"0x{address[:64].hex()} is not an address")
    prefix = ("stake" if kind in _REWARDS else "addr") + ("" if address[0] & 15 else "_test")
    return _bech32(prefix, address)


def read_address(text: str) -> bytes:
    """The bytes of an address in bech32. Byron addresses are not read: nothing new is sent to them.

    Raises:
        BadCardanoAddress: something else.
    """
    raw = _read_bech32(text) if text.startswith(("addr", "stake")) else None
    if raw is None or address_text(raw) != text:
        raise BadCardanoAddress(f"expected an address such as addr1… or addr_test1…, was {text[:120]!r}")
    return raw


def _bech32(prefix: str, raw: bytes) -> str:
    data = _regroup(raw, 8, 5, pad=True)
    assert data is not None  # padding makes every length fit
    check = _polymod([*_expand(prefix), *data, *[0] * 6]) ^ 1
    data += [check >> 5 * (5 - place) & 31 for place in range(6)]
    return prefix + "1" + "".join(_LETTERS[one] for one in data)


def _read_bech32(text: str) -> bytes | None:
    prefix, found, letters = text.rpartition("1")
    if not found or len(letters) < 6 or len(text) > 200 or any(one not in _LETTERS for one in letters):
        return None
    data = [_LETTERS.index(one) for one in letters]
    if _polymod([*_expand(prefix), *data]) != 1:
        return None
    raw = _regroup(data[:-6], 5, 8, pad=False)
    return None if raw is None else bytes(raw)


def _expand(prefix: str) -> list[int]:
    return [*(ord(one) >> 5 for one in prefix), 0, *(ord(one) & 31 for one in prefix)]


def _polymod(values: list[int]) -> int:
    check = 1
    for value in values:
        top = check >> 25
        check = (check & 0x1FFFFFF) << 5 ^ value
        for place, generator in enumerate(_GENERATOR):
            if top >> place & 1:
                check ^= generator
    return check


def _regroup(values: bytes | list[int], before: int, after: int, *, pad: bool) -> list[int] | None:
    """The same bits in groups of another size; None where the bits left over are not a padding of zeros."""
    held, bits, groups = 0, 0, []
    for value in values:
        held, bits = held << before | value, bits + before
        while bits >= after:
            bits -= after
            groups.append(held >> bits & (1 << after) - 1)
        held &= (1 << bits) - 1
    if pad:
        if bits:
            groups.append(held << after - bits & (1 << after) - 1)
    elif bits >= before or held:
        return None
    return groups


def _base58(raw: bytes) -> str:
    number, letters = int.from_bytes(raw, "big"), ""
    while number:
        number, digit = divmod(number, 58)
        letters = _BASE58[digit] + letters
    return "1" * (len(raw) - len(raw.lstrip(b"\0"))) + letters
