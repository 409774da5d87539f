"""Commands for trying and building: everything at once, the demo, the schema of the API."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lockstep.app.cli.devnet import FOLDER, Folder, progress


def up(
    folder: Folder = FOLDER,
    workers: Annotated[int, typer.Option("--workers", min=1, max=16, help="How many `work` processes.")] = 1,
) -> None:
    """Start everything on this machine until Ctrl-C.

    Devnet, signer, API and workers; what they keep lies in the folder and is there again at the next start. Prints
    addresses, the administrator's credential and three things to try. Not for production.
    """
    import asyncio

    from lockstep.app.devnet.devnet import DevnetConfig
    from lockstep.app.roles import until_told_to_stop
    from lockstep.app.stack import Stack, StackConfig

    async def run() -> None:
        async with Stack(StackConfig(devnet=DevnetConfig(folder=folder), workers=workers), progress=progress) as stack:
            print(stack.welcome())
            await until_told_to_stop()
            progress("stopping")

    asyncio.run(run())


def demo(
    folder: Annotated[Path, typer.Option("--folder", help="Where the demo's own devnet lives.")] = Path(
        ".lockstep/demo"
    ),
) -> None:
    """Play the main story and check every claim.

    On a devnet of its own; leaves nothing running. Exit code 0 only if every claim holds.
    """
    import asyncio

    from lockstep.app.demo.story import play

    asyncio.run(play(folder))


def openapi() -> None:
    """Print the schema of the HTTP API as JSON."""
    import json

    from lockstep.app.roles import openapi_document

    print(json.dumps(openapi_document(), indent=2, sort_keys=True))
