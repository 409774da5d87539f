"""secp256k1: making keys and signing digests, with every signature verified before anybody sees it.

Stands on libsecp256k1 through coincurve: RFC 6979 nonces, low s, blinded context. The scalar stays in one `bytearray`
that native code reads in place and that the caller wipes. Only the signer may import this module.
"""

from __future__ import annotations

import secrets

import coincurve
from coincurve._libsecp256k1 import ffi, lib

from lockstep.chains.evm import HALF_ORDER, Address, address_from_public_key
from lockstep.custody.execution.errors import ShareMismatch, SignatureFault
from lockstep.custody.execution.shamir import wipe

_CONTEXT = coincurve.GLOBAL_CONTEXT.ctx
_HALF_ORDER = HALF_ORDER.to_bytes(32, "big")


def assert_backend() -> None:
    """Check at start that native libsecp256k1 signs as RFC 6979 says, and blind its context afresh.

    Raises:
        SignatureFault: it does not.
    """
    key = bytearray((1).to_bytes(32, "big"))
    # Key 1 over SHA-256 of "Satoshi Nakamoto": the vector that secp256k1 libraries share.
    digest = bytes.fromhex("a0dc65ffca799873cbea0ac274015b9526505daaaed385155425f7337704883e")
    expected = "934b1ea10a4b3c1757e2b0c017d0b6143ce3c9a7e6a4a49860d7a6ab210ee3d82442ce9d2b916064108014783e923ec36b49743e2ffa1c4496f01a512aafd9e5"
    if sign_digest(key, digest, public_address(key))[:64].hex() != expected:
        raise SignatureFault("the secp256k1 library does not make RFC 6979 signatures")
    coincurve.GLOBAL_CONTEXT.reseed()


def generate_scalar() -> bytearray:
    """A fresh private key: 32 bytes, uniform in 1..n-1."""
    while True:
        scalar = bytearray(secrets.token_bytes(32))
        if is_scalar(scalar):
            return scalar
        wipe(scalar)


def is_scalar(scalar: bytearray) -> bool:
    """Whether these 32 bytes are a private key: 1 <= d < n."""
    return len(scalar) == 32 and bool(lib.secp256k1_ec_seckey_verify(_CONTEXT, ffi.from_buffer(scalar)))


def public_key(scalar: bytearray) -> bytes:
    """The uncompressed public key, 65 bytes, 04 first.

    Raises:
        ShareMismatch: the bytes are no private key.
    """
    point = ffi.new("secp256k1_pubkey *")
    if len(scalar) != 32 or not lib.secp256k1_ec_pubkey_create(_CONTEXT, point, ffi.from_buffer(scalar)):
        raise ShareMismatch("the shares do not make a private key")
    return _serialize(point)


def public_address(scalar: bytearray) -> Address:
    """Address of a private key.

    Raises:
        ShareMismatch: the bytes are no private key.
    """
    return address_from_public_key(public_key(scalar))


def sign_digest(scalar: bytearray, digest: bytes, address: Address) -> bytes:
    """Sign 32 bytes; returns r‖s‖v with v 27 or 28 and low s, released only if it recovers to `address`.

    One recovery checks both that the key is the right one and that the signature was computed without a fault.

    Raises:
        ShareMismatch: the key is not the key of this address.
        SignatureFault: the key is right, but the signature is not.
    """
    if len(digest) != 32:
        raise SignatureFault(f"expected a digest of 32 bytes, was {len(digest)}")
    if len(scalar) != 32:
        raise ShareMismatch("the shares do not make a private key")
    signature = ffi.new("secp256k1_ecdsa_recoverable_signature *")
    # NULL nonce function: libsecp256k1's RFC 6979; it refuses scalars outside 1..n-1 and makes s low.
    if not lib.secp256k1_ecdsa_sign_recoverable(
        _CONTEXT, signature, digest, ffi.from_buffer(scalar), ffi.NULL, ffi.NULL
    ):
        raise ShareMismatch("the shares do not make a private key")
    compact, recovery_id = ffi.new("unsigned char[64]"), ffi.new("int *")
    lib.secp256k1_ecdsa_recoverable_signature_serialize_compact(_CONTEXT, compact, recovery_id, signature)
    made = bytes(ffi.buffer(compact, 64))
    if recovery_id[0] not in (0, 1) or made[32:] > _HALF_ORDER:
        # A recovery id of 2 or 3 means r >= n: happens with probability 2^-127 and cannot be written in v.
        raise SignatureFault("the signature is not in the form that chains accept")
    # Read back from the bytes that are released, not from the library's own structure.
    released = ffi.new("secp256k1_ecdsa_recoverable_signature *")
    point = ffi.new("secp256k1_pubkey *")
    recovered = lib.secp256k1_ecdsa_recoverable_signature_parse_compact(
        _CONTEXT, released, made, recovery_id[0]
    ) and lib.secp256k1_ecdsa_recover(_CONTEXT, point, released, digest)
    if not recovered or address_from_public_key(_serialize(point)) != address:
        if public_address(scalar) != address:
            raise ShareMismatch("the shares make a key, but not the key of this address")
        raise SignatureFault
    return made + bytes((27 + recovery_id[0],))


def _serialize(point: object) -> bytes:
    output, length = ffi.new("unsigned char[65]"), ffi.new("size_t *", 65)
    lib.secp256k1_ec_pubkey_serialize(_CONTEXT, output, length, point, lib.SECP256K1_EC_UNCOMPRESSED)
    return bytes(ffi.buffer(output, 65))
