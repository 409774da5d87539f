"""What can be owned: tokens per chain with CAIP-19 names, and reads of balances and allowances at one block.

Knows no owner, order or price; holds no table.
"""

from lockstep.assets.errors import BadAsset, UnknownAsset
from lockstep.assets.reads import (
    approve_call,
    read_allowance,
    read_balance,
    read_balances,
    read_token,
    transfer_call,
)
from lockstep.assets.registry import TokenRegistry
from lockstep.assets.types import Token, erc20_asset, native_asset, parse_asset

__all__ = [
    "BadAsset",
    "Token",
    "TokenRegistry",
    "UnknownAsset",
    "approve_call",
    "erc20_asset",
    "native_asset",
    "parse_asset",
    "read_allowance",
    "read_balance",
    "read_balances",
    "read_token",
    "transfer_call",
]
