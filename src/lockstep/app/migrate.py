"""Bringing a database to the schema of this program: migrations, the group roles, and the logins that belong to them.

Runs as the owner, who may create roles. The service's login gets three memberships and nothing of its own: it inherits
``lockstep_jobs`` (the tables of the job engine, which works as the login itself) and may *become* ``lockstep_tenant`` and
``lockstep_system`` for one transaction, which `lockstep.kit.database` does. Without that it sees no row of ours. The
signer's login belongs to ``lockstep_signer`` only. Does not know what the migrations contain.
"""

from __future__ import annotations

import hashlib
import importlib.resources
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict

from lockstep.kit.database import Database, DatabaseUnavailable
from lockstep.kit.errors import Retry, Stop

if TYPE_CHECKING:
    from alembic.config import Config

VERSIONS = "schema_versions"
SERVICE_GROUPS = {"lockstep_jobs": True, "lockstep_tenant": False, "lockstep_system": False}
"""Group role → whether the login has its rights without becoming it."""
SIGNER_GROUPS = {"lockstep_signer": False}


class SchemaOutdated(Stop):
    """The database does not have the schema of this program."""

    code = "schema_outdated"


class LoginUnsafe(Stop):
    """A login of the service has rights that would go around row-level security."""

    code = "login_unsafe"


class OwnerTooWeak(Stop):
    """The owner's login may not do what migrations need."""

    code = "owner_too_weak"


class MigrationBusy(Retry):
    """Another process migrates this database at this moment."""

    code = "migration_busy"


@dataclass(frozen=True, slots=True)
class Migration:
    """One numbered step of the schema."""

    number: str
    subject: str


@dataclass(frozen=True, slots=True)
class MigrationReport:
    """What a run changed."""

    applied: tuple[Migration, ...]
    logins: tuple[str, ...]
    """Logins that were created; existing ones keep their password."""


def migrate(
    owner_url: str,
    *,
    service_url: str,
    signer_url: str | None = None,
    progress: Callable[[str], None] = lambda _: None,
) -> MigrationReport:
    """Bring the database to the newest schema and create the logins named by the addresses. Repeatable.

    Args:
        owner_url: address of the schema owner, who needs the role attribute CREATEROLE the first time.
        service_url: address that `serve` and `work` will use; its user and password are what is created.
        signer_url: the same for `signer`.
    Raises:
        DatabaseUnavailable: no connection as the owner, or as a login afterwards.
        MigrationBusy: another process is at it for longer than a minute.
        OwnerTooWeak, LoginUnsafe: with the statement that helps.
    """
    with _alone(owner_url) as connection:
        before = pending_migrations(owner_url)
        if before:
            from alembic import command

            progress(f"migrate from {before[0].number} to {before[-1].number}")
            try:
                command.upgrade(_config(owner_url), "head")
            except Exception as error:
                if isinstance(cause := _psycopg_error(error), psycopg.errors.InsufficientPrivilege):
                    raise OwnerTooWeak(
                        f"The owner may not migrate ({cause.diag.message_primary}); as a superuser run:"
                        f" alter role {connection.info.user} createrole; and make it the owner of the database"
                    ) from error
                raise
        created = []
        for url, groups in ((service_url, SERVICE_GROUPS), (signer_url, SIGNER_GROUPS)):
            if url is not None and _ensure_login(connection, url, groups):
                created.append(_user(url))
    for url, groups in ((service_url, SERVICE_GROUPS), (signer_url, SIGNER_GROUPS)):
        if url is not None:
            progress(f"check the login {_user(url)}")
            check_login(url, groups)
    return MigrationReport(tuple(before), tuple(created))


def pending_migrations(owner_url: str) -> list[Migration]:
    """The migrations that the database does not have yet, oldest first; changes nothing."""
    known = known_migrations()
    with _connect(owner_url) as connection:
        if connection.execute("select to_regclass(%s)", (VERSIONS,)).fetchone() == (None,):
            return known
        row = connection.execute("select version_num from schema_versions").fetchone()
    numbers = [migration.number for migration in known]
    if row is None:
        return known
    if row[0] not in numbers:
        raise SchemaOutdated(
            f"The database stands at migration {row[0]}, this program knows only up to {numbers[-1]};"
            " run the newer program"
        )
    return known[numbers.index(row[0]) + 1 :]


def known_migrations() -> list[Migration]:
    """All migrations of this program, oldest first."""
    from alembic.script import ScriptDirectory

    revisions = ScriptDirectory(str(migrations_folder())).walk_revisions()
    return [Migration(revision.revision, (revision.doc or "").rstrip(".")) for revision in revisions][::-1]


def migration_fingerprints() -> dict[str, str]:
    """A short hash of each migration by its number; a devnet begins anew when one that it has run was rewritten."""
    files: dict[str, bytes] = {}
    for path in sorted((migrations_folder() / "versions").glob("[0-9]*")):
        number = path.name.split("_")[0]
        files[number] = files.get(number, b"") + path.read_bytes()
    return {number: hashlib.sha256(content).hexdigest()[:16] for number, content in files.items()}


async def check_schema(database: Database) -> None:
    """Whether the database has the schema of this program, or a newer one: migrations expand first, so that a program one
    release older still runs while the others are exchanged.

    Raises:
        SchemaOutdated: with the command that helps.
    """
    newest = max(migration_fingerprints())  # by the files' names: the migration tool would be loaded for nothing
    async with database.system("schema") as uow:
        table = await uow.get("select to_regclass(%s) is not null as present", (VERSIONS,))
        row = await uow.find("select version_num from schema_versions") if table["present"] else None
    stands_at = row["version_num"] if row is not None else None
    if stands_at is None or stands_at < newest:
        raise SchemaOutdated(
            f"The database stands at migration {stands_at or 'nothing'}, this program needs {newest};"
            " run: lockstep migrate"
        )


def check_login(url: str, groups: dict[str, bool]) -> None:
    """Whether a login can do its work and nothing that goes around row-level security.

    Raises:
        DatabaseUnavailable: it cannot log in.
        LoginUnsafe: it is superuser, bypasses row-level security, may create roles or owns a table.
    """
    with _connect(url) as connection:
        row = connection.execute(
            "select rolsuper or rolbypassrls or rolcreaterole, exists (select from pg_class c"
            " join pg_namespace n on n.oid = c.relnamespace where n.nspname in ('public', 'signer') and c.relkind = 'r'"
            " and pg_has_role(current_user, c.relowner, 'member')) from pg_roles where rolname = current_user"
        ).fetchone()
        if row is not None and (row[0] or row[1]):
            what = "is superuser, bypasses row-level security or creates roles" if row[0] else "owns tables"
            raise LoginUnsafe(
                f"The login {connection.info.user} {what}; give the service a login of its own: name a new user in its"
                " address and run: lockstep migrate"
            )
        for group in groups:
            connection.execute(sql.SQL("set role {}").format(sql.Identifier(group)))
            connection.execute("reset role")


def migrations_folder() -> Path:
    """The migrations shipped in the package; in a source checkout those beside ``src``."""
    shipped = Path(str(importlib.resources.files("lockstep"))) / "_migrations"
    return shipped if shipped.is_dir() else Path(__file__).parents[3] / "migrations"


def _config(owner_url: str) -> Config:
    from alembic.config import Config
    from sqlalchemy import URL

    parts = {name: str(value) for name, value in conninfo_to_dict(owner_url).items() if value is not None}
    url = URL.create(
        "postgresql+psycopg",
        username=parts.pop("user", None),
        password=parts.pop("password", None),
        host=parts.pop("host", None),
        port=int(parts.pop("port", "5432")),
        database=parts.pop("dbname", None),
        query=parts,
    )
    config = Config()
    config.set_main_option("script_location", str(migrations_folder()).replace("%", "%%"))
    config.set_main_option("sqlalchemy.url", url.render_as_string(hide_password=False).replace("%", "%%"))
    return config


def _psycopg_error(error: BaseException | None) -> psycopg.Error | None:
    while error is not None and not isinstance(error, psycopg.Error):
        error = error.__cause__
    return error


@contextmanager
def _connect(url: str) -> Iterator[psycopg.Connection]:
    try:
        connection = psycopg.connect(url, autocommit=True, connect_timeout=10)
    except psycopg.OperationalError as error:
        raise DatabaseUnavailable(f"Cannot log in to the database as {_user(url)}: {error}".strip()) from error
    with connection:
        yield connection


@contextmanager
def _alone(owner_url: str) -> Iterator[psycopg.Connection]:
    """A connection of the owner that holds the lock of all migrations of this database."""
    with _connect(owner_url) as connection:
        connection.execute("set lock_timeout = '60s'")
        try:
            connection.execute("select pg_advisory_lock(hashtextextended('lockstep.migrate', 0))")
        except psycopg.errors.LockNotAvailable as error:
            raise MigrationBusy from error
        yield connection


def _ensure_login(connection: psycopg.Connection, url: str, groups: dict[str, bool]) -> bool:
    """Create the login of an address if there is none, and give it its groups; returns whether it was created."""
    parts = conninfo_to_dict(url)
    name = _user(url)
    created = connection.execute("select from pg_roles where rolname = %s", (name,)).fetchone() is None
    try:
        if created:
            _create_login(connection, name, str(parts.get("password") or ""))
        for group, inherits in _missing_groups(connection, name, groups):
            connection.execute(
                sql.SQL("grant {} to {} with inherit {}, set true").format(
                    sql.Identifier(group), sql.Identifier(name), sql.SQL("true" if inherits else "false")
                )
            )
    except psycopg.errors.InsufficientPrivilege as error:
        grants = ", ".join(groups)
        raise OwnerTooWeak(
            f"The owner may not set up the login {name} ({error.diag.message_primary}); as a superuser run:"
            f" grant {grants} to {connection.info.user} with admin option"
        ) from error
    return created


def _create_login(connection: psycopg.Connection, name: str, password: str) -> None:
    """The password leaves this process only as a SCRAM verifier, so that no server log can show it."""
    statement = sql.SQL("create role {} login nosuperuser nocreatedb nocreaterole nobypassrls").format(
        sql.Identifier(name)
    )
    if password:
        verifier = connection.pgconn.encrypt_password(password.encode(), name.encode(), b"scram-sha-256").decode()
        statement += sql.SQL(" password {}").format(sql.Literal(verifier))
    connection.execute(statement)


def _missing_groups(connection: psycopg.Connection, login: str, groups: dict[str, bool]) -> Sequence[tuple[str, bool]]:
    held = {
        (group, inherits)
        for group, inherits in connection.execute(
            "select g.rolname, bool_or(m.inherit_option) from pg_auth_members m join pg_roles g on g.oid = m.roleid"
            " join pg_roles l on l.oid = m.member where l.rolname = %s and m.set_option group by 1",
            (login,),
        )
    }
    return [pair for pair in groups.items() if pair not in held]


def _user(url: str) -> str:
    return str(conninfo_to_dict(url).get("user") or "")
