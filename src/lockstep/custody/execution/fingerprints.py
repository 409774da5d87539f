"""Ed25519 public keys: what stands for them where secp256k1 keys have addresses, and whether a signature is theirs."""

from __future__ import annotations

import hashlib

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from lockstep.chains.evm import Address, address_from_bytes


def fingerprint(public_key: bytes) -> Address:
    """20 bytes of a hash of its own, so that no address of a chain is ever one."""
    return address_from_bytes(hashlib.blake2b(public_key, digest_size=20, person=b"lockstep ed25519").digest())


def is_signed_by(public_key: bytes, content: bytes, signature: bytes) -> bool:
    """Whether this key made the signature over these bytes."""
    try:
        Ed25519PublicKey.from_public_bytes(public_key).verify(signature, content)
    except (InvalidSignature, ValueError):
        return False
    return True
