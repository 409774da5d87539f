"""What leaves are made of."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from lockstep.kit.money import MAX_UINT256

UNLIMITED: Final = MAX_UINT256
"""Amount of an allowance that has no bound; above every cap."""


class LeafKind(StrEnum):
    """How value leaves."""

    TRANSFER = "transfer"
    """It is moved by this very request."""
    ALLOWANCE = "allowance"
    """Somebody else may move it from now on. It counts when it is given, so its use counts for nobody."""


@dataclass(frozen=True, slots=True)
class Leaf:
    """One amount of one asset."""

    kind: LeafKind
    chain: str | None
    """CAIP-2; None: every chain (typed data whose domain names none)."""
    token: str | None
    """Contract in lower case; None: the native coin."""
    amount: int
    """Smallest unit."""
    to: str | None
    """Recipient or spender; None: a new contract."""


@dataclass(frozen=True, slots=True)
class Doubt:
    """Something that may move more than can be told."""

    chain: str | None
    """CAIP-2; None: every chain."""
    token: str | None
    """Contract of the token that may be moved; None: any asset, the native coin included."""
    reason: str


@dataclass(frozen=True, slots=True)
class Leaves:
    """Everything that a request moves, as far as it can be told."""

    leaves: tuple[Leaf, ...] = ()
    doubts: tuple[Doubt, ...] = ()

    def native(self, chain: str | None = None) -> int | None:
        """Amount of native coin, wei; None where it cannot be told.

        Args:
            chain: CAIP-2; None: of all chains together.
        """
        return self._amount(chain, None)

    def token(self, chain: str, token: str) -> int | None:
        """Amount of a token, smallest unit; None where it cannot be told."""
        return self._amount(chain, token)

    def _amount(self, chain: str | None, token: str | None) -> int | None:
        def is_meant(where: str | None) -> bool:
            return chain is None or where is None or where == chain

        if any(is_meant(doubt.chain) and doubt.token in (None, token) for doubt in self.doubts):
            return None
        return sum(leaf.amount for leaf in self.leaves if is_meant(leaf.chain) and leaf.token == token)
