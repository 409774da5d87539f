"""Signatures on secp256k1: who signed, and the one form that we accept.

A signature is 65 bytes r‖s‖v with v 27 or 28 and s in the lower half of the order (EIP-2). Holds no key, signs nothing.
"""

import coincurve

from lockstep.chains.evm.addresses import address_from_public_key, keccak256
from lockstep.chains.evm.errors import BadSignature
from lockstep.chains.evm.types import Address, Hash32

ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
HALF_ORDER = ORDER // 2


def recover_address(digest: Hash32, signature: bytes) -> Address:
    """Address whose key made this signature over the digest.

    Raises:
        BadSignature: not 65 bytes, v not 27 or 28, r or s zero or out of range, s in the upper half, or no such key.
    """
    if len(signature) != 65:
        raise BadSignature(f"expected a signature of 65 bytes, was {len(signature)}")
    v = signature[64]
    if v not in (27, 28):
        raise BadSignature(f"expected v 27 or 28, was {v}")
    r, s = int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:64], "big")
    return recover_public_address(digest, r, s, v - 27)


def recover_public_address(digest: Hash32, r: int, s: int, y_parity: int) -> Address:
    """Address whose key made the signature (r, s, y parity) over the digest.

    Raises:
        BadSignature: see `recover_address`.
    """
    if len(digest) != 32:
        raise BadSignature("expected a digest of 32 bytes")
    if not 0 < r < ORDER or not 0 < s < ORDER:
        raise BadSignature("r and s must be between 1 and the order of the curve")
    if s > HALF_ORDER:
        raise BadSignature("s is in the upper half of the order: the signature was malleated (EIP-2)")
    compact = r.to_bytes(32, "big") + s.to_bytes(32, "big") + bytes([y_parity])
    try:
        key = coincurve.PublicKey.from_signature_and_message(compact, digest, hasher=None)
    except Exception as error:  # coincurve raises bare Exception when no point fits
        raise BadSignature("no key can have made this signature") from error
    return address_from_public_key(key.format(compressed=False))


def encode_signature(r: int, s: int, y_parity: int) -> bytes:
    """The 65 bytes r‖s‖v.

    Raises:
        BadSignature: out of range or malleated.
    """
    if y_parity not in (0, 1) or not 0 < r < ORDER or not 0 < s <= HALF_ORDER:
        raise BadSignature("the signature is out of range or malleated")
    return r.to_bytes(32, "big") + s.to_bytes(32, "big") + bytes([27 + y_parity])


def personal_digest(content: bytes) -> Hash32:
    """Digest of `personal_sign` (EIP-191, version 0x45). The length counts bytes."""
    return keccak256(b"\x19Ethereum Signed Message:\n" + str(len(content)).encode() + content)
