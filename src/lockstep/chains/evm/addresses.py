"""Keccak and addresses: one form inside (lower case), one for people (EIP-55), CAIP-2/10/19 around them."""

import re
from functools import lru_cache

from Crypto.Hash import keccak as _keccak

from lockstep.chains.evm.errors import BadAddress, UnknownChain
from lockstep.chains.evm.types import Address, Hash32

_ADDRESS = re.compile(r"0x[0-9a-fA-F]{40}")
_CHAIN = re.compile(r"eip155:([1-9][0-9]{0,31})")


def keccak256(content: bytes) -> Hash32:
    """Keccak-256 with the original padding (not NIST SHA3-256)."""
    return _keccak.new(digest_bits=256, data=content).digest()


@lru_cache(maxsize=8192)
def to_checksum(address: Address | str) -> str:
    """The EIP-55 form of an address, for people and for software that insists on it."""
    plain = address.lower().removeprefix("0x")
    digest = keccak256(plain.encode()).hex()
    return "0x" + "".join(
        letter.upper() if int(mark, 16) >= 8 else letter for letter, mark in zip(plain, digest, strict=False)
    )


def parse_address(text: str) -> Address:
    """Read an address from outside: any case, but a mixed-case one must carry the right checksum.

    Raises:
        BadAddress: not 0x and 40 hex digits, or a wrong EIP-55 checksum.
    """
    if not isinstance(text, str) or not _ADDRESS.fullmatch(text):
        raise BadAddress("expected an address: 0x and 40 hex digits")
    digits = text[2:]
    if digits not in (digits.lower(), digits.upper()) and to_checksum(text) != text:
        raise BadAddress("the mixed-case checksum of this address is wrong (EIP-55)")
    return Address(text.lower())


def is_address(text: object) -> bool:
    """Whether this is an address in the form used inside (lower case)."""
    return isinstance(text, str) and len(text) == 42 and text == text.lower() and _ADDRESS.fullmatch(text) is not None


def address_to_bytes(address: Address) -> bytes:
    """The 20 bytes of an address."""
    return bytes.fromhex(address[2:])


def address_from_bytes(raw: bytes) -> Address:
    """Address of 20 bytes.

    Raises:
        BadAddress: another length.
    """
    if len(raw) != 20:
        raise BadAddress(f"expected 20 bytes, was {len(raw)}")
    return Address("0x" + bytes(raw).hex())


def address_from_word(word: bytes) -> Address:
    """Address of a 32-byte word, whose first 12 bytes must be zero.

    Raises:
        BadAddress: another length or non-zero upper bytes.
    """
    if len(word) != 32 or any(word[:12]):
        raise BadAddress("expected a word of 32 bytes with 12 leading zero bytes")
    return Address("0x" + bytes(word[12:]).hex())


def address_from_public_key(uncompressed: bytes) -> Address:
    """Address of a secp256k1 public key: the last 20 bytes of keccak256(X‖Y).

    Args:
        uncompressed: 65 bytes, 04 first.
    """
    if len(uncompressed) != 65 or uncompressed[0] != 4:
        raise BadAddress("expected an uncompressed public key: 65 bytes, 04 first")
    return Address("0x" + keccak256(uncompressed[1:])[12:].hex())


def parse_chain(caip2: str) -> int:
    """Chain id of a CAIP-2 name: "eip155:1" is 1.

    Raises:
        UnknownChain: another namespace or not a canonical number.
    """
    found = _CHAIN.fullmatch(caip2)
    if found is None:
        raise UnknownChain('expected a chain like "eip155:1"')
    return int(found.group(1))


def chain_name(chain_id: int) -> str:
    """CAIP-2 name of a chain id."""
    return f"eip155:{chain_id}"
