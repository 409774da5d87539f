"""What callers show beside their credentials: signatures over the very request, or a record of earlier ones."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from datetime import datetime

from lockstep.custody.authority.p256 import is_signed_by
from lockstep.custody.authority.types import OwnerKey
from lockstep.kit.ids import new_id


class RequestProof:
    """Signatures over one request. Which keys they are by is found out when somebody asks, once for each key."""

    def __init__(
        self,
        payload: bytes,
        signatures: Sequence[tuple[int, int]],
        expires_at: datetime,
        key_ids: frozenset[str] | None = None,
    ) -> None:
        """
        Args:
            payload: the canonical bytes that were signed.
            signatures: (r, s) pairs.
            expires_at: from then on the request is refused, so that long it must be remembered.
            key_ids: keys that the caller says it signed with; None: any.
        """
        self.payload_hash = hashlib.sha256(payload).digest()
        self.expires_at = expires_at
        self.use_id = new_id()
        """Names this arrival of the request: what it writes is one use, a second arrival is another."""
        self._signatures = tuple(signatures)
        self._key_ids = key_ids
        self._known: dict[bytes, bool] = {}

    def covers(self, key: OwnerKey) -> bool:
        return (self._key_ids is None or key.id in self._key_ids) and self.is_by(key.public_key)

    def covers_user(self, _: str) -> bool:
        """Users authorise by their token."""
        return False

    def is_by(self, public_key: bytes) -> bool:
        """Whether one of the signatures is by this key."""
        found = self._known.get(public_key)
        if found is None:
            found = any(is_signed_by(public_key, self.payload_hash, r, s) for r, s in self._signatures)
            self._known[public_key] = found
        return found


class RecordedProof:
    """Who authorised something earlier, by identity: a key that was rotated since has another one."""

    def __init__(self, identities: Sequence[str]) -> None:
        self.identities = tuple(identities)

    def covers(self, key: OwnerKey) -> bool:
        return key.identity in self.identities

    def covers_user(self, user_id: str) -> bool:
        return f"user:{user_id}" in self.identities
