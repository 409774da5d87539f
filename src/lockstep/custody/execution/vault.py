"""Secrets of swaps that their makers leave with us: sealed like a share, under a key for nothing else.

Knows how a secret is sealed for its order and fill; does not know orders, or when a secret may go out.
"""

from __future__ import annotations

from dataclasses import dataclass

import structlog

from lockstep.custody.execution.envelope import decode_envelope, open_envelope, seal
from lockstep.custody.execution.errors import SealBroken
from lockstep.custody.execution.kms import LocalKms, derive_key

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class _Fill:
    """The place of the secret of a fill."""

    order_hash: bytes
    fill_index: int

    def members(self) -> dict[str, str | int]:
        return {"secret_of_order": self.order_hash.hex(), "fill": self.fill_index}


class SecretVault:
    """Seals and opens secrets of swaps; lives where swaps are moved (`serve`, `work`)."""

    def __init__(self, key: bytes) -> None:
        """
        Args:
            key: the 32 bytes of the key file of the auth shares; the vault's own key is derived from it.
        """
        self._provider = LocalKms({1: derive_key(key, "swap-secrets:v1")}, key_id="swap-secrets")

    def seal(self, order_hash: bytes, fill_index: int, secret: bytes) -> bytes:
        """The secret as it is stored; opens for this fill of this order only."""
        return seal(self._provider, secret, _Fill(order_hash, fill_index))

    def open(self, order_hash: bytes, fill_index: int, sealed: bytes) -> bytes | None:
        """The secret; None when it does not open here (another key, an edited or moved row), which an operator is told."""
        try:
            return bytes(open_envelope(self._provider, decode_envelope(sealed), _Fill(order_hash, fill_index)))
        except SealBroken as error:
            log.error("held_secret_unreadable", order_hash=order_hash.hex(), fill_index=fill_index, reason=str(error))
            return None
