"""Rules for every table that any migration makes, read from the database's own catalogue."""

from collections.abc import Iterator

import psycopg
import pytest

OURS = (
    "from pg_class c join pg_namespace n on n.oid = c.relnamespace where c.relkind in ('r', 'p')"
    " and n.nspname not like 'pg\\_%' and n.nspname <> 'information_schema'"
    " and c.relname not like 'procrastinate\\_%'"
)
"""All tables but those of the job engine."""


@pytest.fixture
def owner(admin_dsn: str) -> Iterator[psycopg.Connection]:
    with psycopg.connect(admin_dsn) as connection:
        yield connection


def _names(connection: psycopg.Connection, query: str) -> list[str]:
    return [str(row[0]) for row in connection.execute(query.encode(), prepare=False)]


def test_tables__every_one__has_a_comment(owner: psycopg.Connection) -> None:
    assert len(_names(owner, f"select c.oid::regclass {OURS}")) > 4
    missing = _names(owner, f"select c.oid::regclass {OURS} and obj_description(c.oid) is null")
    assert missing == []


def test_columns__every_one__has_a_comment(owner: psycopg.Connection) -> None:
    missing = _names(
        owner,
        "select t.name || '.' || a.attname from (select c.oid, c.oid::regclass::text as name "
        + OURS
        + ") t join pg_attribute a on a.attrelid = t.oid and a.attnum > 0 and not a.attisdropped"
        " where col_description(t.oid, a.attnum) is null order by 1",
    )
    assert missing == []


def test_tables_with_app_id__every_one__has_forced_row_level_security(owner: psycopg.Connection) -> None:
    query = (
        f"select c.oid::regclass {OURS}"
        " and exists (select from pg_attribute a where a.attrelid = c.oid and a.attname = 'app_id')"
    )
    assert len(_names(owner, query)) > 2
    assert _names(owner, query + " and not (c.relrowsecurity and c.relforcerowsecurity)") == []


def test_tables__every_one_of_ours__has_forced_row_level_security(owner: psycopg.Connection) -> None:
    """Those without app_id too; only the migration tool's own table is plain."""
    query = f"select c.oid::regclass {OURS} and not (c.relrowsecurity and c.relforcerowsecurity)"
    assert _names(owner, query) == ["schema_versions"]


def test_functions__security_definer__there_is_none(owner: psycopg.Connection) -> None:
    """Such a function would run with the owner's rights for whoever may call it."""
    query = "select p.oid::regprocedure from pg_proc p where p.pronamespace = 'public'::regnamespace and p.prosecdef"
    assert _names(owner, query) == []
