"""The bloom of a block: which addresses and topics its logs may hold. Pure.

Of 2048 bits each address and each topic sets three, so a bloom never denies what is there; it may promise what is not.
Source: Ethereum yellow paper, section 4.4.1 (the function M3:2048).
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache

from lockstep.chains.evm.addresses import address_to_bytes, keccak256
from lockstep.chains.evm.types import Address, Hash32


@lru_cache(maxsize=1 << 14)
def bloom_bits(item: bytes) -> int:
    """The three bits that an address (20 bytes) or a topic (32 bytes) sets, as a number of 2048 bits."""
    digest = keccak256(item)
    bits = 0
    for at in (0, 2, 4):
        bits |= 1 << (int.from_bytes(digest[at : at + 2], "big") & 2047)
    return bits


def log_bits(address: Address, topics: Iterable[Hash32]) -> int:
    """The bits that a log entry sets."""
    bits = bloom_bits(address_to_bytes(address))
    for topic in topics:
        bits |= bloom_bits(topic)
    return bits


def may_hold(bloom: int, items: Iterable[bytes]) -> bool:
    """Whether a bloom may hold at least one of these."""
    return any(bloom & (bits := bloom_bits(item)) == bits for item in items)
