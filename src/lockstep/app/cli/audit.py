"""Commands on the audit log: prove it, export it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(help="Prove or export the audit log.", no_args_is_help=True, rich_markup_mode=None)

Checkpoints = Annotated[
    Path | None, typer.Option("--checkpoints", help="File of signed checkpoints; default: the deployment's.")
]
PublicKey = Annotated[
    str | None,
    typer.Option(
        "--public-key", help="Checkpoint key, 64 hex digits, from `lockstep audit key`; default: asked from the signer."
    ),
]


@app.command()
def verify(
    export: Annotated[
        Path | None, typer.Argument(metavar="[FILE]", help="Exported log; default: the deployment's database.")
    ] = None,
    checkpoints: Checkpoints = None,
    public_key: PublicKey = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """Prove that the log is complete and unedited.

    Checks every entry, chain and checkpoint. Exit code 5 if anything was edited, removed, reordered or cut. With FILE,
    --checkpoints and --public-key it needs neither a database nor settings.

    What was cut after the last checkpoint shows only against a newer checkpoint: keep copies of that file elsewhere.
    """
    import asyncio

    from lockstep.app.audit import show, verify_log

    report = asyncio.run(verify_log(export, checkpoints, public_key))
    show(report, as_json=as_json)
    if not report.is_intact:
        raise typer.Exit(5)


@app.command()
def export(file: Annotated[Path, typer.Argument(help="Where to write; one JSON object per line.")]) -> None:
    """Write the whole log to a file.

    `lockstep audit verify FILE` reads it, also elsewhere and without a database.
    """
    import asyncio

    from lockstep.app.audit import export_log

    count = asyncio.run(export_log(file))
    print(f"· {count} entries written to {file}", file=sys.stderr)


@app.command("accept-restore")
def accept_restore(
    yes: Annotated[bool, typer.Option("--yes", help="Let the database sign again, as it is.")] = False,
) -> None:
    """Compare a restored database with its mark and with the chains.

    After a restore nothing is signed until this was run with --yes: the database has forgotten signatures, nonces and what was
    used of limits. Shows what it has forgotten first. Exit code 5 if something was and --yes is missing.
    """
    import asyncio

    from lockstep.app.restore import compare

    found = asyncio.run(compare(accept=yes))
    if found.audit_chains == 0:
        print("· the database is as new as its last checkpoint; nothing to accept", file=sys.stderr)
        return
    for chain, address, known, there in found.ahead:
        print(f"{chain} {address}: the next nonce here is {known}, on the chain {there}")
    print(f"· {found.audit_chains} chains of the audit log end before the last checkpoint", file=sys.stderr)
    if not yes:
        print("· nothing is signed; look at the timelines and limits, then run this again with --yes", file=sys.stderr)
        raise typer.Exit(5)
    print("· accepted: processes sign again within ten seconds", file=sys.stderr)


@app.command()
def key() -> None:
    """Print the public key of the checkpoints.

    Keep it with the copies of the checkpoint file: together they prove an export wherever it is.
    """
    import asyncio

    from lockstep.app.audit import checkpoint_key

    print(asyncio.run(checkpoint_key()).hex())
