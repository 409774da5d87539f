"""Logins, roles and row-level security as a migrated database has them."""

from collections.abc import Iterator

import psycopg
import pytest
from psycopg import sql
from tests.support.cluster import Cluster

from lockstep.app.migrate import (
    SERVICE_GROUPS,
    LoginUnsafe,
    SchemaOutdated,
    check_login,
    check_schema,
    known_migrations,
    migrate,
    migration_fingerprints,
    pending_migrations,
)
from lockstep.kit.database import Database, DatabaseUnavailable
from lockstep.kit.ids import AppId, new_id

A, B = AppId(new_id()), AppId(new_id())


@pytest.fixture
def service(dsn: str) -> Iterator[psycopg.Connection]:
    """A raw connection of the service's login."""
    with psycopg.connect(dsn, autocommit=True) as connection:
        yield connection


async def _write_process(database: Database, app_id: AppId) -> None:
    async with database.tenant(app_id) as uow:
        await uow.execute(
            "insert into processes (kind, id, app_id, state) values ('test', %s, %s, 'begun')", (new_id(), app_id)
        )


async def test_tenant__two_apps__see_their_own_rows_only(database: Database) -> None:
    await _write_process(database, A)
    await _write_process(database, B)
    for app_id in (A, B):
        async with database.tenant(app_id) as uow:
            assert [row["app_id"] for row in await uow.fetch("select app_id from processes")] == [app_id]
    async with database.system("test") as uow:
        assert {row["app_id"] for row in await uow.fetch("select app_id from processes")} == {A, B}


async def test_tenant__writes_for_another_app__is_refused(database: Database) -> None:
    with pytest.raises(psycopg.errors.InsufficientPrivilege, match="row-level security"):
        async with database.tenant(A) as uow:
            await uow.execute(
                "insert into processes (kind, id, app_id, state) values ('test', %s, %s, 'begun')", (new_id(), B)
            )


async def test_raw_connection__without_a_role__sees_no_table_of_ours(
    database: Database, service: psycopg.Connection
) -> None:
    await _write_process(database, A)
    with pytest.raises(psycopg.errors.InsufficientPrivilege, match="permission denied for table processes"):
        service.execute("select * from processes")


async def test_raw_connection__tenant_role_without_app__sees_no_row(
    database: Database, service: psycopg.Connection
) -> None:
    await _write_process(database, A)
    service.execute("set role lockstep_tenant")
    assert service.execute("select * from processes").fetchall() == []
    service.execute(sql.SQL("set lockstep.app_id = {}").format(sql.Literal(B)))
    assert service.execute("select * from processes").fetchall() == []


async def test_raw_connection__system_role_without_purpose__sees_no_row(
    database: Database, service: psycopg.Connection
) -> None:
    await _write_process(database, A)
    service.execute("set role lockstep_system")
    assert service.execute("select * from processes").fetchall() == []


async def test_owner__forced_security__sees_no_row(database: Database, owner_dsn: str) -> None:
    await _write_process(database, A)
    with psycopg.connect(owner_dsn) as owner:
        assert owner.execute("select * from processes").fetchall() == []


@pytest.mark.parametrize("role", [None, "lockstep_tenant", "lockstep_system"])
@pytest.mark.parametrize(
    "statement",
    [
        "alter table processes add column extra text",
        "alter table processes disable row level security",
        "alter table processes no force row level security",
        "drop policy tenant on processes",
        "drop table processes",
        "truncate processes",
        "create table mine (n int)",
        "create or replace function lockstep_publish(target regclass, system_may text) returns void language sql as ''",
        "grant lockstep_signer to current_user",
        "create role another superuser login",
        "set role lockstep_owner",
        "set role lockstep_signer",
        "set row_security = off; select * from processes; reset row_security",
        "update schema_versions set version_num = '0000'",
    ],
)
def test_service_login__anything_of_the_owner__is_refused(
    service: psycopg.Connection, role: str | None, statement: str
) -> None:
    if role is not None:
        service.execute(sql.SQL("set role {}").format(sql.Identifier(role)))
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        service.execute(statement.encode())


def test_service_login__tables_of_the_job_engine__are_its_own_to_use(service: psycopg.Connection) -> None:
    assert service.execute("select count(*) from procrastinate_jobs").fetchone() == (0,)


def test_signer_login__rows_of_the_service__are_closed(signer_dsn: str) -> None:
    with psycopg.connect(signer_dsn, autocommit=True) as signer:
        for role in ("lockstep_tenant", "lockstep_system"):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                signer.execute(sql.SQL("set role {}").format(sql.Identifier(role)))
        for table in ("processes", "procrastinate_jobs"):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                signer.execute(sql.SQL("select * from {}").format(sql.Identifier(table)))


@pytest.fixture
def empty_database(cluster: Cluster, cluster_admin: psycopg.Connection) -> Iterator[str]:
    name = f"empty_{new_id()[-8:]}"
    cluster_admin.execute(sql.SQL("create database {} owner lockstep_owner").format(sql.Identifier(name)))
    yield name
    cluster_admin.execute(sql.SQL("drop database {} with (force)").format(sql.Identifier(name)))


async def test_migrate__empty_database__then_again__second_changes_nothing(
    cluster: Cluster, empty_database: str, cluster_admin: psycopg.Connection
) -> None:
    owner, login = cluster.url(empty_database, "lockstep_owner"), f"login_{new_id()[-8:]}"
    service = f"postgresql://{login}:p%2F%25s@127.0.0.1:{cluster.port}/{empty_database}"
    told: list[str] = []
    first = migrate(owner, service_url=service, progress=told.append)
    second = migrate(owner, service_url=service)
    try:
        assert list(first.applied) == known_migrations()
        assert (first.logins, second.logins, second.applied) == ((login,), (), ())
        assert told[0] == f"migrate from 0001 to {known_migrations()[-1].number}"
        assert pending_migrations(owner) == []
        assert set(migration_fingerprints()) == {migration.number for migration in known_migrations()}
        database = Database(service, name="test")
        await database.open()
        await check_schema(database)
        await _write_process(database, A)
        await database.close()
    finally:
        cluster_admin.execute(sql.SQL("drop role {}").format(sql.Identifier(login)))


async def test_check_schema__database_is_behind__names_the_command(database: Database, owner_dsn: str) -> None:
    with psycopg.connect(owner_dsn) as owner:
        owner.execute("update schema_versions set version_num = '0001'")
    with pytest.raises(SchemaOutdated, match=r"stands at migration 0001.*run: lockstep migrate"):
        await check_schema(database)


async def test_check_schema__database_is_ahead__an_older_program_still_runs(database: Database, owner_dsn: str) -> None:
    with psycopg.connect(owner_dsn) as owner:
        owner.execute("update schema_versions set version_num = '9999'")
    await check_schema(database)


def test_pending_migrations__database_is_ahead__asks_for_the_newer_program(owner_dsn: str) -> None:
    with psycopg.connect(owner_dsn) as owner:
        owner.execute("update schema_versions set version_num = '9999'")
    with pytest.raises(SchemaOutdated, match="stands at migration 9999"):
        pending_migrations(owner_dsn)


@pytest.mark.parametrize("user", ["tests_admin", "lockstep_owner"])
def test_check_login__superuser_or_owner__is_refused(cluster: Cluster, database_name: str, user: str) -> None:
    with pytest.raises(LoginUnsafe, match=f"The login {user} "):
        check_login(cluster.url(database_name, user), SERVICE_GROUPS)


def test_check_login__wrong_password__says_who_and_not_the_password(dsn: str, cluster: Cluster) -> None:
    with pytest.raises(DatabaseUnavailable, match="Cannot log in to the database as lockstep_service") as caught:
        check_login(dsn.replace(cluster.password, "another-one"), SERVICE_GROUPS)
    assert "another-one" not in caught.value.detail
