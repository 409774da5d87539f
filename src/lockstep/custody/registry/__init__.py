"""The registry of wallets: making them, one or many at once, finding them among many, putting them away."""

from lockstep.custody.registry.types import NewWallet, WalletFilter

__all__ = ["NewWallet", "WalletFilter"]
