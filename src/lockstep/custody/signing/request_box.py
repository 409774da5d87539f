"""Keeps the requests of decisions readable for this deployment only: what people signed is theirs, and messages may hold
secrets. Whoever has the database alone reads nothing, and a row that is moved under another decision does not open."""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping
from datetime import timedelta
from typing import Any, Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

MAX_BYTES: Final = 32_768
"""Of the JSON of a request; a longer one is not kept."""
REQUESTS_KEPT: Final = timedelta(days=30)
"""How long requests can be read again."""
_NONCE_BYTES = 12
_KEPT = ("method", "caip2", "params")


class RequestBox:
    """AES-256-GCM over the members of a request that decide what is signed."""

    def __init__(self, key: bytes) -> None:
        if len(key) != 32:
            raise ValueError(f"expected a key of 32 bytes, was {len(key)}")
        self._cipher = AESGCM(key)

    def seal(self, app_id: str, decision_id: str, request: Mapping[str, Any]) -> bytes | None:
        """The sealed request; None when it is too large to be kept."""
        plain = json.dumps({name: request[name] for name in _KEPT if name in request}, separators=(",", ":")).encode()
        if len(plain) > MAX_BYTES:
            return None
        nonce = secrets.token_bytes(_NONCE_BYTES)
        return nonce + self._cipher.encrypt(nonce, plain, _place(app_id, decision_id))

    def open(self, app_id: str, decision_id: str, sealed: bytes) -> dict[str, Any] | None:
        """The body of the request; None when it does not open: another key, or an edited row."""
        try:
            plain = self._cipher.decrypt(sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], _place(app_id, decision_id))
        except (InvalidTag, ValueError):
            return None
        body: dict[str, Any] = json.loads(plain)
        return body


def _place(app_id: str, decision_id: str) -> bytes:
    return f"lockstep decision request v1\n{app_id}\n{decision_id}".encode()
