"""Seals over rows that carry authority, and over decisions."""

from pathlib import Path

from alembic import op

revision, down_revision = "0020", "0019"


def upgrade() -> None:
    op.get_bind().connection.driver_connection.execute(Path(__file__).with_suffix(".sql").read_text())
