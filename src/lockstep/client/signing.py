"""Authorization keys: whoever holds one signs requests about what belongs to it. Sends nothing.

key = AuthorizationKey.generate()
registered = client.create_authorization_key(key.public_key)
client.signed_by(key).update_wallet(wallet.id, display_name="till")
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Self

import rfc8785
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_der_private_key,
    load_pem_private_key,
)

SIGNED_METHODS = frozenset({"POST", "PUT", "PATCH", "DELETE"})
LIFETIME = timedelta(minutes=15)
_SIGNED_HEADERS = ("x-app-id", "idempotency-key", "x-request-expiry")
_PREFIXES = ("wallet-auth:", "wallet-api:")


@dataclass(frozen=True, slots=True)
class AuthorizationKey:
    """A P-256 key pair. Keep `to_text` like a password; register `public_key`."""

    private: ec.EllipticCurvePrivateKey = field(repr=False)

    @classmethod
    def generate(cls) -> Self:
        """A new key pair."""
        return cls(ec.generate_private_key(ec.SECP256R1()))

    @classmethod
    def from_text(cls, text: str) -> Self:
        """A key pair from PEM, or from base64 of PKCS#8 as wallet SDKs keep it (``wallet-auth:…``).

        Raises:
            ValueError: neither, or a key on another curve.
        """
        text = text.strip()
        if text.startswith("-----"):
            key = load_pem_private_key(text.encode(), None)
        else:
            for prefix in _PREFIXES:
                text = text.removeprefix(prefix)
            key = load_der_private_key(base64.b64decode(text, validate=True), None)
        if not isinstance(key, ec.EllipticCurvePrivateKey) or not isinstance(key.curve, ec.SECP256R1):
            raise ValueError("expected a private key on the curve P-256")
        return cls(key)

    def to_text(self) -> str:
        """The private key: base64 of PKCS#8."""
        der = self.private.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
        return base64.b64encode(der).decode()

    @property
    def public_key(self) -> str:
        """Base64 of SubjectPublicKeyInfo, as it is registered."""
        der = self.private.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        return base64.b64encode(der).decode()

    def sign(self, document: Mapping[str, Any]) -> str:
        """Base64 of the signature over the canonical form (RFC 8785) of a JSON object: a request, or an approval."""
        digest = hashlib.sha256(rfc8785.dumps(dict(document))).digest()
        return base64.b64encode(self.private.sign(digest, ec.ECDSA(Prehashed(hashes.SHA256())))).decode()


def sign_request(
    keys: Sequence[AuthorizationKey],
    method: str,
    url: str,
    headers: Mapping[str, str],
    body: Any = None,
    lifetime: timedelta = LIFETIME,
) -> dict[str, str]:
    """The headers that a request gets by being signed.

    Args:
        url: the full one at the public origin of the deployment, with its query.
        headers: that the request has already.
        body: JSON; None: there is none.
        lifetime: how long it may be sent.
    """
    expires_at = datetime.now(UTC) + lifetime  # house: direct-clock, because the client is no part of the service
    expiry = str(int(expires_at.timestamp() * 1000))
    present = {name.lower(): value for name, value in headers.items()} | {"x-request-expiry": expiry}
    payload: dict[str, Any] = {
        "version": 1,
        "method": method,
        "url": url,
        "headers": {name: present[name] for name in _SIGNED_HEADERS if name in present},
    }
    if body is not None:
        payload["body"] = "" if body == {} else body
    return {
        "X-Request-Expiry": expiry,
        "X-Authorization-Signature": ",".join(key.sign(payload) for key in keys),
    }
