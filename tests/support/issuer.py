"""An issuer of user tokens with a key of every kind."""

from __future__ import annotations

import json
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from tests.support.custody import START

from lockstep.custody import Issuer

ISSUER, AUDIENCE = "https://login.example", "app"
NOW = int(START.timestamp())

RSA = rsa.generate_private_key(public_exponent=65537, key_size=2048)
EC = ec.generate_private_key(ec.SECP256R1())
OKP = ed25519.Ed25519PrivateKey.generate()


def jwk(key: Any, kid: str) -> dict[str, Any]:
    algorithm = {
        "rsa": jwt.algorithms.RSAAlgorithm,
        "ec": jwt.algorithms.ECAlgorithm,
        "okp": jwt.algorithms.OKPAlgorithm,
    }
    return {**json.loads(algorithm[kid].to_jwk(key.public_key())), "kid": kid}


KEYS = {"keys": [jwk(RSA, "rsa"), jwk(EC, "ec"), jwk(OKP, "okp")]}
TRUSTED = Issuer(issuer=ISSUER, audience=AUDIENCE, jwks=KEYS)


def token(key: Any = EC, algorithm: str = "ES256", kid: str | None = "ec", **claims: Any) -> str:
    plain = {"iss": ISSUER, "aud": AUDIENCE, "sub": "alice", "exp": NOW + 600, **claims}
    content = {name: value for name, value in plain.items() if value is not None}
    return jwt.encode(content, key, algorithm=algorithm, headers={"kid": kid} if kid else None)
