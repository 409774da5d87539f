"""The devnet alone, and what its visitors need: tokens of users, coins for addresses."""

from __future__ import annotations

import sys
from datetime import timedelta
from pathlib import Path
from typing import Annotated

import typer

Folder = Annotated[Path, typer.Option("--folder", help="Where the devnet lives; deleting it deletes everything.")]
FOLDER = Path(".lockstep/devnet")

app = typer.Typer(rich_markup_mode=None, invoke_without_command=True)


@app.callback()
def devnet(context: typer.Context, folder: Folder = FOLDER) -> None:
    """Start PostgreSQL and two chains until Ctrl-C.

    Our contracts stand on both chains. Prints where everything is. `lockstep up` starts the same and Lockstep as well.
    The commands below work while either of them runs.
    """
    if context.invoked_subcommand is not None:
        return
    import asyncio
    import json

    from lockstep.app.devnet.devnet import Devnet, DevnetConfig
    from lockstep.app.roles import until_told_to_stop

    async def run() -> None:
        async with Devnet(DevnetConfig(folder=folder), progress=progress) as running:
            print(json.dumps(running.summary(), indent=2))
            progress("ready; Ctrl-C stops it")
            await until_told_to_stop()

    asyncio.run(run())


@app.command()
def token(
    user: Annotated[str, typer.Argument(help="Your product's own id of the user: any text.")],
    hours: Annotated[int, typer.Option("--hours", min=1, max=24 * 365, help="How long it is good.")] = 24,
    folder: Folder = FOLDER,
) -> None:
    """Print a user's token (JWT) of the devnet's issuer.

    It stands for the login of your product: the devnet's issuer vouches for whoever you name.
    """
    from lockstep.app.devnet.visit import issue_token

    print(issue_token(folder, user, lifetime=timedelta(hours=hours)))


@app.command()
def fund(
    address: Annotated[str, typer.Argument(help="Who gets it, for example a wallet's address.")],
    coins: Annotated[int, typer.Option("--coins", min=0, max=1000, help="Whole native coins on each chain.")] = 10,
    tokens: Annotated[int, typer.Option("--tokens", min=0, help="Whole demo tokens on each chain.")] = 10_000,
    folder: Folder = FOLDER,
) -> None:
    """Give an address coins and demo tokens on both chains."""
    import asyncio

    from lockstep.app.devnet.visit import give
    from lockstep.chains.evm import parse_address

    for each in asyncio.run(give(folder, parse_address(address), coins=coins, tokens=tokens)):
        print(f"{each.chain}  {each.coins} ETH  {each.tokens} {each.symbol}")


def progress(text: str) -> None:
    """Tell a step to the person who waits."""
    print(f"· {text}", file=sys.stderr, flush=True)
