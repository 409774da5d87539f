"""Parses the command line and turns every failure into one message and one exit code."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from lockstep import __version__
from lockstep.app.cli import audit, develop, devnet, operate
from lockstep.kit.errors import LockstepError, Refuse, Retry

_EPILOG = """\b
The five common tasks:
  lockstep demo                  play the main story and check every claim
  lockstep up                    devnet, API and workers until Ctrl-C
  lockstep doctor                check database, signer, chains and clock of a deployment
  lockstep migrate --bootstrap   bring the database up to date, print the first credential
  lockstep audit verify          prove that the audit log is complete and unedited

\b
Exit codes: 0 done · 1 our bug · 2 usage or settings · 3 refused · 4 passing fault, try again · 5 operator needed
"""

_NO_SETTINGS = """\
  They are LOCKSTEP_* variables; docs/guide/operations.md lists them. For a devnet that `lockstep up` runs:
  set -a; . .lockstep/devnet/environment/service; set +a   (or signer, migrate)"""

_SETTINGS = "settings_invalid"
"""Code of `lockstep.kit.settings.SettingsInvalid`, which takes too long to import for a command that only prints help."""

app = typer.Typer(
    name="lockstep",
    help="A self-hosted back end for DeFi products: one way for value to move.",
    epilog=_EPILOG,
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for command in (operate.serve, operate.work, operate.signer, operate.migrate, operate.doctor):
    app.command()(command)
for command in (develop.up, develop.demo, develop.openapi):
    app.command()(command)
app.add_typer(devnet.app, name="devnet")
app.add_typer(audit.app, name="audit")


def _show_version(asked: bool) -> None:
    if asked:
        print(__version__)
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version and stop.", is_eager=True, callback=_show_version)
    ] = False,
) -> None:
    """A self-hosted back end for DeFi products: one way for value to move."""


def main(arguments: list[str] | None = None) -> int:
    """Run one command; returns the exit code, or exits with 2 for a usage that typer explains itself."""
    try:
        app(args=arguments)
    except LockstepError as error:
        print(_message(error), file=sys.stderr)
        return _exit_code(error)
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        return 130
    except Exception as error:
        print(f"lockstep: this is a bug of ours: {type(error).__name__}\n  {_keep(error)}", file=sys.stderr)
        return 1
    return 0


def _message(error: LockstepError) -> str:
    if error.code == _SETTINGS:
        faults = "\n".join(f"  {line}" for line in error.detail.splitlines())
        return f"lockstep: the settings do not hold\n{faults}\n{_NO_SETTINGS}"
    cause = error.__cause__
    why = f"\n  because: {cause}" if cause is not None and not isinstance(cause, LockstepError) else ""
    return f"lockstep: {error.detail}{why}\n  code: {error.code}"


def _exit_code(error: LockstepError) -> int:
    if error.code == _SETTINGS:
        return 2
    if isinstance(error, Refuse):
        return 3
    return 4 if isinstance(error, Retry) else 5


def _keep(error: Exception) -> str:
    """Write the traceback to a file, so that the terminal shows a sentence; without a file the terminal gets it."""
    import tempfile
    import traceback

    report = "".join(traceback.format_exception(error))
    try:
        with tempfile.NamedTemporaryFile("w", prefix="lockstep-crash-", suffix=".txt", delete=False) as file:
            file.write(f"lockstep {__version__}, Python {sys.version}\n\n{report}")
    except OSError:
        return report
    return f"the whole story stands in {file.name}; please send it with what you did"
