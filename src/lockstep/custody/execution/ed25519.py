"""Ed25519: making keys and signing with them, with every signature verified before anybody sees it.

The seed stays in one `bytearray` that native code reads and that the caller wipes; the library's own copy is wiped by the
library. Only the signer may import this module.
"""

from __future__ import annotations

import secrets

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from lockstep.chains.evm import Address
from lockstep.custody.execution.errors import ShareMismatch, SignatureFault
from lockstep.custody.execution.fingerprints import fingerprint, is_signed_by

SEED_BYTES = 32


def generate_seed() -> bytearray:
    """A fresh private key, 32 bytes; every value is one."""
    return bytearray(secrets.token_bytes(SEED_BYTES))


def public_key(seed: bytearray) -> bytes:
    """The public key, 32 bytes.

    Raises:
        ShareMismatch: not 32 bytes.
    """
    return _key(seed).public_key().public_bytes_raw()


def sign(seed: bytearray, content: bytes, address: Address) -> bytes:
    """Sign bytes; 64 bytes R‖S, released only if they verify under the key of `address`.

    Raises:
        ShareMismatch: the key is not the key of this fingerprint.
        SignatureFault: the key is right, but the signature is not.
    """
    key = _key(seed)
    public = key.public_key().public_bytes_raw()
    if fingerprint(public) != address:
        raise ShareMismatch("the shares make a key, but not the key of this wallet")
    signature = key.sign(content)
    if not is_signed_by(public, content, signature):
        raise SignatureFault
    return signature


def _key(seed: bytearray) -> Ed25519PrivateKey:
    if len(seed) != SEED_BYTES:
        raise ShareMismatch("the shares do not make a private key")
    return Ed25519PrivateKey.from_private_bytes(seed)
