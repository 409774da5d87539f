"""Authorization keys of tests: made, and used to sign requests as a client does, independently of the service's code."""

from __future__ import annotations

import base64
import hashlib
from typing import Any

import rfc8785
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed, decode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551


class Key:
    """A holder's key pair."""

    def __init__(self, number: int | None = None) -> None:
        """
        Args:
            number: the private number; None: a random one.
        """
        curve = ec.SECP256R1()
        self.private = ec.generate_private_key(curve) if number is None else ec.derive_private_key(number, curve)
        self.public = self.private.public_key()

    @property
    def spki(self) -> bytes:
        return self.public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)

    @property
    def pem(self) -> str:
        return self.public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()

    @property
    def point(self) -> bytes:
        return self.public.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)

    @property
    def text(self) -> str:
        return base64.b64encode(self.spki).decode()

    def sign_digest(self, digest: bytes) -> bytes:
        """DER."""
        return self.private.sign(digest, ec.ECDSA(Prehashed(hashes.SHA256())))

    def sign(self, document: dict[str, Any]) -> str:
        """Base64 of the signature over the canonical form of a document."""
        return base64.b64encode(self.sign_digest(hashlib.sha256(rfc8785.dumps(document)).digest())).decode()


def raw(der: bytes) -> bytes:
    """r ‖ s of a DER signature."""
    r, s = decode_dss_signature(der)
    return r.to_bytes(32) + s.to_bytes(32)


def signed_headers(
    method: str,
    url: str,
    body: Any,
    *keys: Key,
    expires_ms: int,
    app_id: str | None = None,
    idempotency_key: str | None = None,
) -> dict[str, str]:
    """The headers of a request that these keys sign; `body` None: there is none."""
    headers = {"x-request-expiry": str(expires_ms)}
    if app_id is not None:
        headers["x-app-id"] = app_id
    if idempotency_key is not None:
        headers["idempotency-key"] = idempotency_key
    document = {"version": 1, "method": method, "url": url, "headers": headers}
    if body is not None:
        document["body"] = body if body != {} else ""
    return {**headers, "x-authorization-signature": ",".join(key.sign(document) for key in keys)}
