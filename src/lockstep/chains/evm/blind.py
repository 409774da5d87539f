"""What is signed without anybody seeing what it means: a hash, or bytes with the function that they are hashed with."""

from __future__ import annotations

import hashlib
from typing import Literal, TypeAlias

from lockstep.chains.evm.addresses import keccak256
from lockstep.chains.evm.types import Hash32

HashFunction: TypeAlias = Literal["keccak256", "sha256"]
_KINDS: dict[HashFunction | None, int] = {None: 0, "keccak256": 1, "sha256": 2}


def encode_blind(content: bytes, function: HashFunction | None) -> bytes:
    """One byte for the function (0: the content is the hash itself), then the content."""
    return bytes([_KINDS[function]]) + content


def blind_digest(encoded: bytes) -> Hash32:
    """The 32 bytes that are signed.

    Raises:
        ValueError: no such function, or a hash of another length.
    """
    kind, content = encoded[:1], encoded[1:]
    if kind == b"\x00" and len(content) == 32:
        return content
    if kind == b"\x01":
        return keccak256(content)
    if kind == b"\x02":
        return hashlib.sha256(content).digest()
    raise ValueError("expected a hash of 32 bytes, or bytes with keccak256 or sha256")
