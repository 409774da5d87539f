"""Wire shapes of the registry."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, StringConstraints

from lockstep.custody.access.schemas import Name, Strict
from lockstep.custody.registry.types import MAX_BATCH, NewWallet
from lockstep.custody.schemas import Id, WalletOut

EXTERNAL_ID = r"^[A-Za-z0-9_-]{1,64}$"


class WalletIn(Strict):
    """A new wallet."""

    chain_type: Literal["ethereum", "cardano"] = "ethereum"
    policy_ids: Annotated[list[Id], Field(default_factory=list, max_length=10)]
    owner_user_id: Id | None = None
    owner_id: Id | None = Field(None, description="Authorization key or quorum that signs every request about it.")
    display_name: Name | None = None
    external_id: Annotated[str, StringConstraints(pattern=EXTERNAL_ID)] | None = Field(
        None, description="Your own id for it, unique in the app; it never changes."
    )

    def wanted(self) -> NewWallet:
        return NewWallet(
            chain_type=self.chain_type,
            policy_ids=tuple(self.policy_ids),
            owner_user_id=self.owner_user_id,
            owner_id=self.owner_id,
            display_name=self.display_name,
            external_id=self.external_id,
        )


class WalletBatchIn(Strict):
    """New wallets; all of them are made, or none."""

    wallets: Annotated[list[WalletIn], Field(min_length=1, max_length=MAX_BATCH)]


class WalletBatchOut(Strict):
    """The wallets, in the order of the request."""

    items: list[WalletOut]


class WalletsOut(Strict):
    """A page of wallets."""

    items: list[WalletOut]
    next_cursor: str | None


class SelectedOut(Strict):
    """A page of wallets with the members that `fields` names."""

    items: list[dict[str, Any]]
    next_cursor: str | None
