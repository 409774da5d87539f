"""What can be owned: tokens and native coins, named by CAIP-19."""

from __future__ import annotations

import re
from dataclasses import dataclass

from lockstep.assets.errors import BadAsset
from lockstep.chains.evm import Address, BadAddress, UnknownChain, parse_address, parse_chain

ETHER_COIN_TYPE = 60
"""SLIP-44 number under which native coins of EVM chains are named."""

_ASSET = re.compile(r"(eip155:[0-9]{1,32})/(erc20:(0x[0-9a-fA-F]{40})|slip44:60)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Token:
    """A token, or the native coin of a chain (`address` None). Amounts are integers of its smallest unit."""

    asset: str
    """CAIP-19, address in lower case: "eip155:31337/erc20:0x…" or "eip155:31337/slip44:60"."""
    chain: str
    address: Address | None
    symbol: str
    decimals: int
    name: str


def erc20_asset(chain: str, address: Address) -> str:
    """CAIP-19 name of an ERC-20 token."""
    return f"{chain}/erc20:{address}"


def native_asset(chain: str) -> str:
    """CAIP-19 name of a chain's native coin."""
    return f"{chain}/slip44:{ETHER_COIN_TYPE}"


def parse_asset(asset: str) -> tuple[str, Address | None]:
    """Chain and token address of a CAIP-19 name; None for the native coin.

    Raises:
        BadAsset: not an asset of an EVM chain, or a wrong checksum in the address.
    """
    found = _ASSET.fullmatch(asset)
    if found is None:
        raise BadAsset('expected an asset like "eip155:1/erc20:0x…" or "eip155:1/slip44:60"')
    try:
        parse_chain(found.group(1))
        return found.group(1), parse_address(found.group(3)) if found.group(3) else None
    except (BadAddress, UnknownChain) as error:
        raise BadAsset(error.detail) from error
