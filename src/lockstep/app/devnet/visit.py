"""What a person does to a devnet that runs in another process: get a user's token, get coins and tokens for an address.

Finds the devnet by its folder. Starts and stops nothing.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import aiohttp

from lockstep.app.devnet import contracts
from lockstep.app.devnet.anvil import Anvil
from lockstep.app.devnet.errors import DevnetNotRunning
from lockstep.app.devnet.issuer import TestIssuer
from lockstep.chains.evm import Address


@dataclass(frozen=True, slots=True)
class Given:
    """What an address got on one chain."""

    chain: str
    coins: int
    tokens: int
    symbol: str


def issue_token(folder: Path, user: str, *, lifetime: timedelta) -> str:
    """A token for a user of the devnet's issuer, for any app that trusts it.

    Raises:
        DevnetNotRunning: there is no devnet in this folder.
    """
    _read_summary(folder)
    return TestIssuer(folder / "issuer").issue_token(user, lifetime=lifetime)


async def give(folder: Path, address: Address, *, coins: int, tokens: int) -> list[Given]:
    """Give an address coins and demo tokens on each chain, in whole units.

    Raises:
        DevnetNotRunning: there is no devnet in this folder, or it has been stopped.
    """
    given = []
    for chain in _read_summary(folder)["chains"]:
        chain_id = int(chain["chain"].partition(":")[2])
        anvil = Anvil(folder, chain_id=chain_id, port=int(chain["rpc_url"].rpartition(":")[2]))
        token = chain["token"]
        try:
            if coins:
                await contracts.fund(anvil, address, coins * 10**18)
            if tokens:
                await contracts.mint(anvil, Address(token["address"]), address, tokens * 10 ** token["decimals"])
        except (OSError, aiohttp.ClientError) as error:
            raise DevnetNotRunning(f"{chain['chain']} does not answer at {chain['rpc_url']}; {_HOW}") from error
        given.append(Given(chain["chain"], coins, tokens, token["symbol"]))
    return given


_HOW = "start the devnet with `lockstep up`, or name its folder with --folder"


def _read_summary(folder: Path) -> dict[str, Any]:
    try:
        summary: dict[str, Any] = json.loads((folder / "summary.json").read_text())
    except (OSError, ValueError) as error:
        raise DevnetNotRunning(f"there is no devnet in {folder}; {_HOW}") from error
    return summary
