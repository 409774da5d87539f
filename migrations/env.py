"""Alembic environment: SQL-first revisions, run by the schema owner, one transaction each."""

from alembic import context
from sqlalchemy import create_engine, pool

engine = create_engine(context.config.get_main_option("sqlalchemy.url") or "", poolclass=pool.NullPool)

with engine.connect() as connection:
    context.configure(connection=connection, transaction_per_migration=True, version_table="schema_versions")
    with context.begin_transaction():
        context.run_migrations()
