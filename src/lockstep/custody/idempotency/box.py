"""Encrypts stored answers: some of them carry signatures."""

from __future__ import annotations

import json
import secrets
from typing import Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from lockstep.custody.errors import StoredAnswerUnreadable
from lockstep.custody.idempotency.types import Claim

_NONCE_BYTES = 12


class ResponseBox:
    """AES-256-GCM; an answer opens only under the key, the scope and the request that it was given to."""

    def __init__(self, key: bytes) -> None:
        if len(key) != 32:
            raise ValueError(f"expected a key of 32 bytes, was {len(key)}")
        self._cipher = AESGCM(key)

    def seal(self, claim: Claim, body: dict[str, Any]) -> bytes:
        nonce = secrets.token_bytes(_NONCE_BYTES)
        return nonce + self._cipher.encrypt(nonce, json.dumps(body, separators=(",", ":")).encode(), _place(claim))

    def open(self, claim: Claim, sealed: bytes) -> dict[str, Any]:
        """
        Raises:
            StoredAnswerUnreadable: another key, or an edited row.
        """
        try:
            plain = self._cipher.decrypt(sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], _place(claim))
        except (InvalidTag, ValueError) as error:
            raise StoredAnswerUnreadable from error
        body: dict[str, Any] = json.loads(plain)
        return body


def _place(claim: Claim) -> bytes:
    return b"\n".join((claim.app_id.encode(), claim.scope.encode(), claim.key.encode(), claim.fingerprint))
