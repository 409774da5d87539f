"""The transport class: signatures that vouch for our own messages and can never move value.

One Ed25519 key per purpose, derived from a seed of its own; no wallet key is involved, and Ed25519 is not the scheme
of any account. Within a purpose the signed bytes cannot be taken for something else: audit checkpoints carry a prefix;
JWTs and webhooks are signed exactly as their standards say, and only bytes of that shape are.
Source: RFC 8032, RFC 8037 (JWT with EdDSA), Standard Webhooks (`v1a`).
"""

from __future__ import annotations

import base64
import binascii
import json
import re

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from lockstep.custody.execution.errors import PayloadRefused
from lockstep.custody.execution.kms import derive_key
from lockstep.custody.execution.types import TRANSPORT_PURPOSES, TransportPurpose

MAX_BYTES = 64 * 1024
_JWT_INPUT = re.compile(rb"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+")
_WEBHOOK_INPUT = re.compile(rb"[A-Za-z0-9_-]{1,64}\.[0-9]{1,12}\..*", re.DOTALL)


class TransportKeys:
    """Signs for the purposes of the closed list."""

    def __init__(self, seed: bytes) -> None:
        self._keys = {
            purpose: Ed25519PrivateKey.from_private_bytes(derive_key(seed, f"transport:v1:{purpose}"))
            for purpose in TRANSPORT_PURPOSES
        }

    def sign(self, purpose: TransportPurpose, payload: bytes) -> bytes:
        """Ed25519 signature, 64 bytes, over `signed_bytes(purpose, payload)`.

        Raises:
            PayloadRefused: another purpose, or a payload that is not of the shape of its purpose.
        """
        message = signed_bytes(purpose, payload)
        return self._keys[purpose].sign(message)

    def public_key(self, purpose: TransportPurpose) -> bytes:
        """
        Raises:
            PayloadRefused: another purpose.
        """
        _check_purpose(purpose)
        return self._keys[purpose].public_key().public_bytes_raw()


def signed_bytes(purpose: TransportPurpose, payload: bytes) -> bytes:
    """The bytes that are signed for a payload.

    `audit_checkpoint`: the prefix `lockstep:transport:v1:audit_checkpoint` and a line feed, then the payload.
    `jwt`: the JWS signing input, whose header must say EdDSA. `webhook`: `id.timestamp.body`.

    Raises:
        PayloadRefused: another purpose, above 64 KiB, or another shape.
    """
    _check_purpose(purpose)
    if len(payload) > MAX_BYTES:
        raise PayloadRefused(f"expected at most {MAX_BYTES} bytes to sign for transport, was {len(payload)}")
    if purpose == "jwt":
        if not _JWT_INPUT.fullmatch(payload) or _jwt_algorithm(payload) != "EdDSA":
            raise PayloadRefused("expected the signing input of a JWT: header.claims with the algorithm EdDSA")
        return payload
    if purpose == "webhook":
        if not _WEBHOOK_INPUT.fullmatch(payload):
            raise PayloadRefused("expected the signing input of a webhook: id.timestamp.body")
        return payload
    return f"lockstep:transport:v1:{purpose}\n".encode() + payload


def verify_transport(public_key: bytes, purpose: TransportPurpose, payload: bytes, signature: bytes) -> bool:
    """Whether a transport signature holds; needs no signer, so offline verifiers use it too."""
    try:
        Ed25519PublicKey.from_public_bytes(public_key).verify(signature, signed_bytes(purpose, payload))
    except (InvalidSignature, ValueError, PayloadRefused):
        return False
    return True


def _check_purpose(purpose: str) -> None:
    if purpose not in TRANSPORT_PURPOSES:
        raise PayloadRefused(f"expected one of {', '.join(TRANSPORT_PURPOSES)} as the purpose")


def _jwt_algorithm(payload: bytes) -> object:
    header = payload.split(b".", 1)[0]
    try:
        members = json.loads(base64.urlsafe_b64decode(header + b"=" * (-len(header) % 4)))
    except (ValueError, binascii.Error, RecursionError):
        return None
    return members.get("alg") if isinstance(members, dict) else None
