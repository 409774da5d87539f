"""The three shares of a key, sealed: what their bytes look like in a row, and how each is opened.

    "CSS1" | u8 kind (1 auth, 2 exec, 3 recovery) | 16-byte set id | u8 index | u8 threshold | u8 total | sealed value

The value of an auth or exec share is an envelope (envelope.py) under that side's own key; that of a recovery share is
encrypted to a public key (recovery.py). The fields in front are bound to the value as associated data, so that editing
them makes it unreadable. One share says nothing about the key.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from lockstep.custody.execution.envelope import SealContext, ShareKind, decode_envelope, open_envelope, seal
from lockstep.custody.execution.errors import ProtocolViolation, SealBroken
from lockstep.custody.execution.kms import LocalKms, Provider, refuse_same_key
from lockstep.custody.execution.shamir import SET_ID_BYTES, Share, SharesRefused
from lockstep.custody.execution.types import WalletKey
from lockstep.custody.execution.wire import Reader, Writer

MAGIC = b"CSS1"
THRESHOLD, TOTAL = 2, 3
KINDS: dict[ShareKind, int] = {"auth": 1, "exec": 2, "recovery": 3}
"""The number of a kind is also the index of its share."""
_HEAD_BYTES = len(MAGIC) + 1 + SET_ID_BYTES + 3


@dataclass(frozen=True, slots=True, kw_only=True)
class SealedShare:
    """A share as it is stored."""

    kind: ShareKind
    set_id: bytes
    index: int
    threshold: int
    total: int
    sealed: bytes

    def encode(self) -> bytes:
        head = Writer().fixed(MAGIC, 4).number(KINDS[self.kind], 1).fixed(self.set_id, SET_ID_BYTES)
        return head.number(self.index, 1).number(self.threshold, 1).number(self.total, 1).done() + self.sealed

    def context(self, key: WalletKey) -> SealContext:
        """The place where this share of this key is valid."""
        return SealContext(
            app_id=key.app_id,
            wallet_id=key.wallet_id,
            address=key.address,
            share=self.kind,
            set_id=self.set_id,
            index=self.index,
            threshold=self.threshold,
            total=self.total,
        )

    def with_value(self, value: bytearray) -> Share:
        """The opened share.

        Raises:
            SealBroken: the fields in front cannot be those of a share.
        """
        try:
            return Share(set_id=self.set_id, index=self.index, threshold=self.threshold, total=self.total, value=value)
        except SharesRefused as error:
            raise SealBroken(f"the sealed share does not hold: {error}") from error


@lru_cache(maxsize=8192)
def decode_sealed(content: bytes, kind: ShareKind) -> SealedShare:
    """Read a sealed share of the kind that is expected.

    Raises:
        SealBroken: something else.
    """
    reader = Reader(content)
    try:
        magic, number = reader.fixed(4), reader.number(1)
        set_id, index, threshold, total = reader.fixed(SET_ID_BYTES), *(reader.number(1) for _ in range(3))
    except ProtocolViolation as error:
        raise SealBroken("the sealed share is cut off") from error
    if magic != MAGIC or number != KINDS[kind]:
        raise SealBroken(f"expected a sealed {kind} share")
    if (index, threshold, total) != (KINDS[kind], THRESHOLD, TOTAL):
        raise SealBroken(f"expected share {KINDS[kind]} of {THRESHOLD} of {TOTAL}")
    return SealedShare(
        kind=kind, set_id=set_id, index=index, threshold=threshold, total=total, sealed=content[_HEAD_BYTES:]
    )


def seal_share(provider: Provider, kind: ShareKind, share: Share, key: WalletKey) -> bytes:
    """Seal a share for its row."""
    blank = SealedShare(
        kind=kind, set_id=share.set_id, index=share.index, threshold=share.threshold, total=share.total, sealed=b""
    )
    return blank.encode() + seal(provider, share.value, blank.context(key))


def open_share(provider: Provider, kind: ShareKind, content: bytes, key: WalletKey) -> Share:
    """Open a share at its place. The caller wipes it.

    Raises:
        SealBroken: another kind, key, wallet, app or address, or edited bytes.
    """
    sealed = decode_sealed(content, kind)
    return sealed.with_value(open_envelope(provider, decode_envelope(sealed.sealed), sealed.context(key)))


class AuthShares:
    """Seals and opens auth shares; lives where policy is decided (`serve`, `work`), never in the signer."""

    def __init__(self, provider: LocalKms, *, exec_fingerprint: bytes | None = None) -> None:
        """
        Args:
            exec_fingerprint: fingerprint of the exec key where it is known; the client also compares with what the
                signer says when it connects.

        Raises:
            SameKeyForBothShares: it is the same key.
        """
        self._provider = provider
        if exec_fingerprint is not None:
            self.refuse_exec_key(exec_fingerprint)

    def refuse_exec_key(self, exec_fingerprint: bytes) -> None:
        """
        Raises:
            SameKeyForBothShares: the exec shares are sealed with a key of the auth shares.
        """
        refuse_same_key(self._provider, exec_fingerprint)

    def seal(self, share: Share, key: WalletKey) -> bytes:
        """Seal an auth share for the wallet's row."""
        return seal_share(self._provider, "auth", share, key)

    def open(self, sealed: bytes, key: WalletKey) -> Share:
        """
        Raises:
            SealBroken: see `open_share`.
        """
        return open_share(self._provider, "auth", sealed, key)
