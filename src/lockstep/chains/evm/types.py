"""Names that everything about EVM chains shares: addresses, hashes and the block that a read was made at."""

from dataclasses import dataclass
from typing import NewType

Address = NewType("Address", str)
"""20 bytes as lower-case hex with 0x, 42 characters. `to_checksum` makes the form for people."""

Hash32 = bytes
"""32 bytes: a block hash, a transaction hash, a digest."""

ZERO_ADDRESS = Address("0x" + "00" * 20)


@dataclass(frozen=True, slots=True)
class BlockRef:
    """The block that a cycle of reads is made at; passed on so that all of them see one state.

    `timestamp` is chain time, whole seconds since 1970.
    """

    chain: str
    number: int
    hash: Hash32
    timestamp: int
