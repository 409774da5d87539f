"""The tokens that this deployment knows, by CAIP-19 name."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from lockstep.assets.errors import UnknownAsset
from lockstep.assets.types import Token, erc20_asset, native_asset, parse_asset
from lockstep.chains.evm import Address


class TokenRegistry:
    """Registered tokens and the native coin of every chain given."""

    def __init__(self, tokens: Sequence[Token], chains: Sequence[str] = ()) -> None:
        """
        Args:
            chains: CAIP-2 names whose native coin is registered too (18 decimals, ETH) unless a token says otherwise.
        """
        natives = [
            Token(asset=native_asset(chain), chain=chain, address=None, symbol="ETH", decimals=18, name="Ether")
            for chain in chains
        ]
        self._tokens = {token.asset: token for token in [*natives, *tokens]}
        for token in self._tokens.values():
            if parse_asset(token.asset) != (token.chain, token.address) or not 0 <= token.decimals <= 77:
                raise ValueError(f"{token.symbol}: asset, chain, address and decimals do not fit")

    def get(self, asset: str) -> Token:
        """A token by CAIP-19 name, its address in any case.

        Raises:
            BadAsset: not a name. UnknownAsset: not registered.
        """
        chain, address = parse_asset(asset)
        found = self.find(chain, address)
        if found is None:
            raise UnknownAsset(f"the asset {asset} is not registered here")
        return found

    def find(self, chain: str, address: Address | None) -> Token | None:
        """A token by chain and address (None: the native coin)."""
        return self._tokens.get(native_asset(chain) if address is None else erc20_asset(chain, address))

    def on_chain(self, chain: str) -> list[Token]:
        """All registered tokens of one chain."""
        return [token for token in self._tokens.values() if token.chain == chain]

    def __iter__(self) -> Iterator[Token]:
        return iter(self._tokens.values())

    def __len__(self) -> int:
        return len(self._tokens)
