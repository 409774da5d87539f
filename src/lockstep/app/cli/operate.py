"""Commands of a deployment: the three roles, the schema, the check-up."""

from __future__ import annotations

import sys
from typing import Annotated

import typer


def serve(
    workers: Annotated[int, typer.Option("--workers", min=1, max=64, help="Processes that share the port.")] = 1,
) -> None:
    """Answer HTTP and WebSocket requests.

    Run as many as you like, behind a load balancer. Settings come from LOCKSTEP_* variables.
    """
    from lockstep.app.roles import run_serve
    from lockstep.app.settings import PREFIX, Settings
    from lockstep.kit.settings import load_settings

    run_serve(load_settings(Settings, PREFIX), workers)


def work() -> None:
    """Move transactions and swaps on.

    Jobs, engine, followers, publisher. Run at least two, so that one may die. Settings come from LOCKSTEP_* variables.
    """
    from lockstep.app.roles import run_work
    from lockstep.app.settings import PREFIX, Settings
    from lockstep.kit.settings import load_settings

    run_work(load_settings(Settings, PREFIX))


def signer() -> None:
    """Make and use keys, on a private socket.

    The only process that can open exec shares. Settings come from LOCKSTEP_SIGNER_* variables.
    """
    from lockstep.app.roles import run_signer_role
    from lockstep.app.settings import PREFIX, SignerSettings
    from lockstep.kit.settings import load_settings

    run_signer_role(load_settings(SignerSettings, PREFIX))


def migrate(
    bootstrap: Annotated[
        bool, typer.Option("--bootstrap", help="Also make the first administrator and print its credential, once.")
    ] = False,
) -> None:
    """Bring the database to the newest schema.

    Also creates the logins that LOCKSTEP_DATABASE_URL and LOCKSTEP_SIGNER_DATABASE_URL name. Does nothing when there
    is nothing to do. Needs LOCKSTEP_OWNER_DATABASE_URL, which no other role knows.
    """
    import asyncio

    from lockstep.app.bootstrap import bootstrap_admin
    from lockstep.app.migrate import migrate as run
    from lockstep.app.seals import build_seals
    from lockstep.app.settings import PREFIX, MigrateSettings
    from lockstep.kit.settings import SettingsInvalid, load_settings

    settings = load_settings(MigrateSettings, PREFIX)
    if bootstrap and settings.keys is None:
        raise SettingsInvalid(f"{PREFIX}KEYS__AUDIT_FILE: is missing; --bootstrap seals the credential that it makes")
    service_url = settings.database_url.get_secret_value()
    report = run(
        settings.owner_database_url.get_secret_value(),
        service_url=service_url,
        signer_url=settings.signer_database_url.get_secret_value() if settings.signer_database_url else None,
        progress=lambda text: print(f"· {text}", file=sys.stderr),
    )
    changes = [f"migration {step.number} {step.subject}" for step in report.applied]
    changes += [f"login {name}" for name in report.logins]
    print(f"· {'applied ' + ', '.join(changes) if changes else 'up to date'}", file=sys.stderr)
    if bootstrap:
        assert settings.keys is not None, "checked above"
        credential = asyncio.run(bootstrap_admin(service_url, build_seals(settings.keys.audit_file, None)))
        if credential is None:
            print("· there is an administrator already; nothing was made", file=sys.stderr)
        else:
            print("· the administrator's credential, shown only now:", file=sys.stderr)
            print(credential)


def doctor(
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """Check everything that a deployment needs.

    Database, signer, chains, contracts, keys, clock and disk; changes nothing. Runs under the settings of `serve`.
    Exit code 5 if something failed.
    """
    import asyncio

    from lockstep.app.doctor import examine, show
    from lockstep.app.settings import PREFIX, Settings
    from lockstep.kit.settings import load_settings

    findings = asyncio.run(examine(load_settings(Settings, PREFIX)))
    show(findings, as_json=as_json)
    if any(finding.verdict == "fail" for finding in findings):
        raise typer.Exit(5)
