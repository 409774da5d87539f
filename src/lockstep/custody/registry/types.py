"""What a new wallet is to be, and which wallets a caller asks for."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final, Literal

from lockstep.custody.authority.types import OwnerColumns

MAX_BATCH: Final = 100
"""Wallets that one request may make."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NewWallet:
    """What a wallet is to be when it is made."""

    chain_type: Literal["ethereum", "cardano"] = "ethereum"
    policy_ids: tuple[str, ...] = ()
    owner_user_id: str | None = None
    owner_id: str | None = None
    """Authorization key or quorum that owns it."""
    owned_by: OwnerColumns = field(default_factory=OwnerColumns)
    """What these ids stand for, found out by who makes the wallet."""
    display_name: str | None = None
    external_id: str | None = None
    """The app's own id for it: 1 to 64 letters, digits, ``-`` and ``_``; unique in the app and never changed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WalletFilter:
    """Which wallets are meant; a member that is None leaves nothing out."""

    user_id: str | None = None
    owner_id: str | None = None
    """Authorization key or quorum."""
    address: str | None = None
    """0x and lower-case hex."""
    external_id: str | None = None
    chain_type: str | None = None
    status: Literal["active", "frozen"] | None = None
    include_archived: bool = False
