"""Roles, row-level security, the outbox, durable processes and the job engine's tables."""

from pathlib import Path

from alembic import op
from procrastinate.schema import SchemaManager

revision, down_revision = "0001", None


def upgrade() -> None:
    connection = op.get_bind().connection.driver_connection
    connection.execute(SchemaManager.get_schema())
    connection.execute(Path(__file__).with_suffix(".sql").read_text())
