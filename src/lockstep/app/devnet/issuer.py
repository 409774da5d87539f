"""The devnet's issuer of user tokens: one ES256 key in a file, a published key set, and tokens for whoever asks.

Stands for the login service of a product. It authenticates nobody: it exists where there is nothing to protect.
"""

from __future__ import annotations

import hashlib
import json
from base64 import urlsafe_b64encode
from datetime import timedelta
from pathlib import Path
from typing import Any

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from lockstep.app.devnet.machine import prepare_folder, write_private
from lockstep.kit.clock import Clock, SystemClock

ISSUER = "https://issuer.devnet.lockstep.invalid"
AUDIENCE = "lockstep-devnet"


class TestIssuer:
    """Signs JSON web tokens with the key in `folder` (``key.pem``, 0600); ``jwks.json`` beside it is for verifiers."""

    __test__ = False  # pytest: not a class of tests

    def __init__(self, folder: Path, *, issuer: str = ISSUER, clock: Clock | None = None) -> None:
        self.issuer = issuer
        self._folder = prepare_folder(folder)
        self._clock = clock or SystemClock()
        self._key = self._load_or_make()
        self._write_key_set()

    @property
    def jwks_file(self) -> Path:
        """The public key set (RFC 7517)."""
        return self._folder / "jwks.json"

    def key_set(self) -> dict[str, Any]:
        """The public key set as JSON."""
        numbers = self._key.public_key().public_numbers()
        point = {"kty": "EC", "crv": "P-256", "x": _base64url(numbers.x), "y": _base64url(numbers.y)}
        return {"keys": [{**point, "alg": "ES256", "use": "sig", "kid": _thumbprint(point)}]}

    def issue_token(
        self,
        subject: str,
        *,
        audience: str = AUDIENCE,
        lifetime: timedelta = timedelta(hours=1),
        claims: dict[str, Any] | None = None,
    ) -> str:
        """A token for a user.

        Args:
            subject: the product's own id of the user.
            claims: more members; they may replace the usual ones, to make bad tokens.
        """
        now = self._clock.now()
        body = {
            "iss": self.issuer,
            "sub": subject,
            "aud": audience,
            "iat": now,
            "exp": now + lifetime,
            **(claims or {}),
        }
        kid = self.key_set()["keys"][0]["kid"]
        return jwt.encode(body, self._key, algorithm="ES256", headers={"kid": kid})

    def _load_or_make(self) -> ec.EllipticCurvePrivateKey:
        path = self._folder / "key.pem"
        if not path.exists():
            made = ec.generate_private_key(ec.SECP256R1())
            pem = made.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
            write_private(path, pem)
        key = serialization.load_pem_private_key(path.read_bytes(), None)
        if not isinstance(key, ec.EllipticCurvePrivateKey):
            raise ValueError(f"{path} does not hold an elliptic-curve key; delete it to have a new one made")
        return key

    def _write_key_set(self) -> None:
        write_private(self.jwks_file, json.dumps(self.key_set(), indent=2) + "\n")


def _base64url(number: int) -> str:
    return urlsafe_b64encode(number.to_bytes(32, "big")).rstrip(b"=").decode()


def _thumbprint(point: dict[str, str]) -> str:
    """RFC 7638."""
    canonical = json.dumps(point, sort_keys=True, separators=(",", ":")).encode()
    return urlsafe_b64encode(hashlib.sha256(canonical).digest()).rstrip(b"=").decode()
