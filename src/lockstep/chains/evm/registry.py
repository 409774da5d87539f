"""The clients of all configured chains, found by CAIP-2 name."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager

from lockstep.chains.evm.client import EvmClient
from lockstep.chains.evm.config import ChainConfig
from lockstep.chains.evm.errors import UnknownChain
from lockstep.kit.errors import LockstepError


class ChainRegistry:
    """The clients of all configured chains."""

    def __init__(self, configs: Sequence[ChainConfig]) -> None:
        self._clients = {config.chain: EvmClient(config) for config in configs}
        if len(self._clients) != len(configs):
            raise ValueError("a chain is configured twice")

    def get(self, chain: str) -> EvmClient:
        """The client of a chain by CAIP-2 name.

        Raises:
            UnknownChain: it is not configured.
        """
        client = self._clients.get(chain)
        if client is None:
            raise UnknownChain(f"the chain {chain[:64]!r} is not configured here", chains=list(self._clients))
        return client

    def __iter__(self) -> Iterator[EvmClient]:
        return iter(self._clients.values())

    def __len__(self) -> int:
        return len(self._clients)

    def __contains__(self, chain: object) -> bool:
        return chain in self._clients

    @asynccontextmanager
    async def watching(self) -> AsyncIterator[None]:
        """Have the heads of all chains looked for as long as the block runs."""
        async with AsyncExitStack() as stack:
            for client in self:
                await stack.enter_async_context(client.heads.watching())
            yield

    async def check(self) -> dict[str, LockstepError | None]:
        """Ask every chain's nodes who they are: the fault per chain, None where all is well."""
        faults: dict[str, LockstepError | None] = {}
        for chain, client in self._clients.items():
            faults[chain] = None
            try:
                await client.check_chain_id()
            except LockstepError as error:
                faults[chain] = error
        return faults

    async def close(self) -> None:
        """Close all connections."""
        for client in self:
            await client.close()
