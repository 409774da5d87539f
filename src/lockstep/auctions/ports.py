"""What the book needs from custody and the transaction engine; the composition root wires it."""

from __future__ import annotations

from typing import Protocol

from lockstep.custody import Principal, Wallet
from lockstep.kit.database import UnitOfWork
from lockstep.kit.ids import AppId, WalletId
from lockstep.settlement import Call


class Wallets(Protocol):
    """What custody knows about the wallets of an app."""

    async def find_by_address(self, uow: UnitOfWork, app_id: AppId, address: str) -> Wallet | None:
        """The app's wallet with this address (0x and lower-case hex)."""
        ...

    async def get_for_taker(
        self, uow: UnitOfWork, principal: Principal, wallet_id: str, session_id: str | None
    ) -> tuple[Wallet, str]:
        """A wallet that the caller may act for, with the active session signer of it that is granted to
        ``module:coordinator`` (the named one, if one is named).

        Raises:
            Refuse: no such wallet for the caller, or no such session signer.
        """
        ...

    async def check_allowed(self, uow: UnitOfWork, principal: Principal, wallet_id: WalletId, call: Call) -> None:
        """Whether the caller itself could have the wallet send this; a recorded decision.

        Raises:
            Refuse: the caller's session signer or a policy does not allow it.
        """
        ...


class SecretVault(Protocol):
    """Seals the secrets that makers leave with us."""

    def seal(self, order_hash: bytes, fill_index: int, secret: bytes) -> bytes:
        """The secret as it is stored; opens for this fill of this order only."""
        ...

    def open(self, order_hash: bytes, fill_index: int, sealed: bytes) -> bytes | None:
        """The secret; None when it does not open, of which the vault tells an operator."""
        ...


class MakerTransactions(Protocol):
    """Sends a transaction of a maker's custody wallet, on the maker's own authority."""

    async def send(
        self, uow: UnitOfWork, principal: Principal, wallet_id: WalletId, call: Call, *, idempotency_key: str
    ) -> str:
        """Decide and queue; returns the id of the transaction. The same key is the same transaction, unless that ended
        without effect: then it is sent anew.

        Raises:
            Refuse: the policy does not allow it, or it failed too often.
        """
        ...
