"""The demo's own eyes on the chains: every claim about value is checked here, not by asking Lockstep."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from lockstep.app.devnet.anvil import Anvil
from lockstep.chains.evm import Address, Contract

_TOKEN = Contract.load("DemoToken")


@dataclass(frozen=True, slots=True)
class Side:
    """One chain with the contracts that the story uses there."""

    node: Anvil
    factory: Address
    token: Address
    symbol: str
    decimals: int

    @property
    def chain(self) -> str:
        return self.node.chain

    async def tokens_of(self, account: str) -> int:
        """Balance of the side's token, smallest unit."""
        call = {"to": self.token, "data": "0x" + _TOKEN.encode("balanceOf", (account,)).hex()}
        return int(await self.node.call("eth_call", call, "latest"), 16)

    async def coins_of(self, account: str) -> int:
        """Balance of the native coin, wei."""
        return int(await self.node.call("eth_getBalance", account, "latest"), 16)

    async def sent_by(self, account: str) -> int:
        """How many transactions of the account the chain has."""
        return int(await self.node.call("eth_getTransactionCount", account, "latest"), 16)

    async def now(self) -> int:
        """Time of the newest block."""
        block = await self.node.call("eth_getBlockByNumber", "latest", False)
        return int(str(block["timestamp"]), 16)

    def amount(self, whole: int) -> int:
        """Smallest units of so many whole tokens."""
        return whole * int(10**self.decimals)

    def words(self, amount: int) -> str:
        """An amount for people; exact."""
        whole, rest = divmod(amount, 10**self.decimals)
        tail = f".{rest:0{self.decimals}d}".rstrip("0") if rest else ""
        return f"{whole:,}{tail} {self.symbol}"


async def warp(sides: tuple[Side, ...], seconds: int) -> None:
    """Let time pass on all chains at once."""
    for side in sides:
        await side.node.call("evm_increaseTime", seconds)
    await asyncio.gather(*(side.node.call("evm_mine") for side in sides))
