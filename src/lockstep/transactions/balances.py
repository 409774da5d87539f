"""What a payment in a registered token did: the balances of both sides, just before and at the block of its inclusion.

Shows people that a token arrived, and how much of it: one that takes a fee on transfers does not deliver what was sent.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from lockstep.assets import Token, TokenRegistry, read_balances
from lockstep.chains.evm import Address, BlockRef, EvmClient, MalformedCalldata, abi_decode, address_from_bytes
from lockstep.transactions.types import Transaction

_TRANSFER, _TRANSFER_FROM = bytes.fromhex("a9059cbb"), bytes.fromhex("23b872dd")


class TokenBalances:
    """Observes transfers of registered tokens: `StateObserver` of the engine."""

    def __init__(self, tokens: TokenRegistry) -> None:
        self._tokens = tokens

    async def observe(
        self, client: EvmClient, transactions: Sequence[Transaction], block: BlockRef
    ) -> Mapping[str, Mapping[str, object]]:
        """``{"token": address, "balances": {address: amount}}`` by id; amounts in the smallest unit, as decimal text."""
        wanted = {t.id: movement for t in transactions if (movement := self._movement(t)) is not None}
        asked = [(token, side) for token, sides in wanted.values() for side in sides]
        amounts = iter(await read_balances(client, asked, block)) if asked else iter(())
        return {
            t_id: {"token": token.address, "balances": {side: str(next(amounts)) for side in sides}}
            for t_id, (token, sides) in wanted.items()
        }

    def _movement(self, t: Transaction) -> tuple[Token, tuple[Address, ...]] | None:
        """The token and the two sides of a transfer; None: it is something else."""
        token = None if t.to is None else self._tokens.find(t.chain, t.to)
        if token is None or token.address is None:
            return None
        try:
            if t.data[:4] == _TRANSFER:
                sides: tuple[Address, ...] = (t.sender, _address(abi_decode(["address", "uint256"], t.data[4:])[0]))
            elif t.data[:4] == _TRANSFER_FROM:
                source, target, _ = abi_decode(["address", "address", "uint256"], t.data[4:])
                sides = (_address(source), _address(target))
            else:
                return None
        except MalformedCalldata:
            return None
        return token, tuple(dict.fromkeys(sides))


def _address(value: object) -> Address:
    return address_from_bytes(value) if isinstance(value, bytes) else Address(str(value).lower())
