"""`lockstep audit accept-restore`: compares a restored database with the chains, and lets it sign again."""

from __future__ import annotations

from dataclasses import dataclass

from lockstep.app.container import Container
from lockstep.app.settings import PREFIX, Settings
from lockstep.chains.evm import Address
from lockstep.kit.settings import load_settings
from lockstep.transactions import list_next_nonces


@dataclass(frozen=True, slots=True, kw_only=True)
class Forgotten:
    """What the database does not know any more."""

    audit_chains: int
    """Chains of the audit log that end before the last checkpoint."""
    ahead: tuple[tuple[str, Address, int, int], ...]
    """(chain, account, next nonce that the database would give, next nonce on the chain): more was sent than it knows."""


async def compare(*, accept: bool) -> Forgotten:
    """Look at what was forgotten; with `accept`, write a checkpoint over the database as it is.

    Raises:
        NodeUnavailable: a chain cannot be asked, so nothing was accepted.
    """
    container = Container(load_settings(Settings, PREFIX), name="restore")
    await container.open()
    try:
        forgotten = await container.restore_guard.look()
        found = Forgotten(audit_chains=len(forgotten), ahead=tuple(await _ahead(container)))
        if accept and forgotten:
            await container.checkpoints.write_checkpoint(accepts_restore=True)
        return found
    finally:
        await container.close()


async def _ahead(container: Container) -> list[tuple[str, Address, int, int]]:
    found = []
    for client in container.chains:
        async with container.database.system("accept_restore") as uow:
            known = await list_next_nonces(uow, client.chain)
        if not known:
            continue
        there = await client.nonces(list(known), await client.head())
        found += [
            (client.chain, address, known[address], nonce)
            for address, nonce in zip(known, there, strict=True)
            if nonce > known[address]
        ]
    return found
