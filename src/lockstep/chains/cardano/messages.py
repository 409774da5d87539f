"""Messages: what a key signs of them, and the envelopes in which wallets hand signatures over. Source: CIP-8, CIP-30."""

from __future__ import annotations

import hashlib
from typing import Any

from lockstep.chains.cardano import cbor
from lockstep.chains.cardano.errors import MalformedBody

_EDDSA = -8
_CONTEXT = "Signature1"


def message_payload(address: bytes, message: bytes) -> bytes:
    """The bytes that are signed for a message (COSE Sig_structure), bound to the address of the signer."""
    return cbor.write([_CONTEXT, _protected(address), b"", message])


def message_digest(payload: bytes) -> bytes:
    """What stands for the bytes of a signed message, 32 bytes; the bytes themselves are signed."""
    return hashlib.sha256(b"lockstep cardano message v1\n" + payload).digest()


def read_message_payload(payload: bytes) -> tuple[bytes, bytes]:
    """Address and message of what `message_payload` made.

    Raises:
        MalformedBody: something else, or not in its one form.
    """
    try:
        context, protected, _, message = cbor.read(payload)
        address = cbor.read(protected)["address"]
        if context == _CONTEXT and message_payload(address, message) == payload:
            return address, message
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise MalformedBody(f"the message cannot be read: {error}") from error
    raise MalformedBody("the message is not in its one form")


def cose_sign1(address: bytes, message: bytes, signature: bytes) -> bytes:
    """The signed message, as CIP-30 calls it `signature`."""
    return cbor.write([_protected(address), {"hashed": False}, message, signature])


def cose_key(public_key: bytes) -> bytes:
    """The key, as CIP-30 calls it `key`: an octet key pair on Ed25519."""
    return cbor.write({1: 1, 3: _EDDSA, -1: 6, -2: public_key})


def _protected(address: bytes) -> bytes:
    headers: dict[Any, Any] = {1: _EDDSA, "address": address}
    return cbor.write(headers)
