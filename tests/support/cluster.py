"""One PostgreSQL for a whole test run, also over several workers, and a fresh migrated database for each test.

The first process that needs it starts it under a file lock and migrates a template; the others read where it is. The
process that leads the run ends it. Nothing is started by tests that need no database.
"""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
import secrets
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path

import psycopg
from psycopg import sql

from lockstep.app.devnet.postgres import Postgres, end_servers
from lockstep.app.migrate import migrate

TEMPLATE = "lockstep_template"
_PREFIX = "lockstep-tests-"
_started: list[Postgres] = []
"""Keeps the object of a server that this process started until the process ends."""


@dataclass(frozen=True)
class Cluster:
    """Where the server of this run is; the password is the same for every login of a test run."""

    port: int
    password: str

    def url(self, database: str, user: str) -> str:
        return f"postgresql://{user}:{self.password}@127.0.0.1:{self.port}/{database}"

    def admin_url(self, database: str = "postgres") -> str:
        return self.url(database, "tests_admin")

    @contextmanager
    def fresh_database(self, admin: psycopg.Connection) -> Iterator[str]:
        """A copy of the migrated template, thrown away at the end; yields its name."""
        name = f"test_{secrets.token_hex(6)}"
        admin.execute(
            sql.SQL("create database {} template {} owner lockstep_owner strategy file_copy").format(
                sql.Identifier(name), sql.Identifier(TEMPLATE)
            )
        )
        try:
            yield name
        finally:
            admin.execute(sql.SQL("drop database {} with (force)").format(sql.Identifier(name)))


def new_run_folder() -> Path:
    """The folder of a run, named by the process that leads it; ends what runs that were killed left behind."""
    for leftover in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*"):
        with suppress(ValueError, OSError):
            pid = int(leftover.name.removeprefix(_PREFIX).split("-")[0])
            if leftover.stat().st_uid == os.geteuid() and not Path(f"/proc/{pid}").exists():
                end_run(leftover)
    return Path(tempfile.mkdtemp(prefix=f"{_PREFIX}{os.getpid()}-"))


def end_run(folder: Path) -> None:
    """Stop the server of a run, if one was started, and delete its folder."""
    _started.clear()
    asyncio.run(end_servers(folder / "postgres" / "cluster"))
    shutil.rmtree(folder, ignore_errors=True)


def running_cluster(folder: Path) -> Cluster:
    """The server of this run; started and given its template by whoever asks first."""
    known = folder / "cluster.json"
    with (folder / "cluster.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if known.exists():
            return Cluster(**json.loads(known.read_text()))
        cluster = _start(folder)
        known.write_text(json.dumps(asdict(cluster)))
        return cluster


def _start(folder: Path) -> Cluster:
    server = Postgres(folder / "postgres", durable=False, ends_with_parent=False, shared_buffers_mib=64)
    asyncio.run(server.start())
    _started.append(server)
    cluster = Cluster(port=server.port, password=secrets.token_hex(8))
    with psycopg.connect(server.url(), autocommit=True) as admin:
        for login, rights in (("tests_admin", "superuser"), ("lockstep_owner", "createrole")):
            admin.execute(
                sql.SQL("create role {} login {} password {}").format(
                    sql.Identifier(login), sql.SQL(rights), sql.Literal(cluster.password)
                )
            )
        admin.execute(sql.SQL("create database {} owner lockstep_owner").format(sql.Identifier(TEMPLATE)))
    migrate(
        cluster.url(TEMPLATE, "lockstep_owner"),
        service_url=cluster.url(TEMPLATE, "lockstep_service"),
        signer_url=cluster.url(TEMPLATE, "lockstep_signing"),
    )
    return cluster
