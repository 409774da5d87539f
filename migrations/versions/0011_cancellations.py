"""Cancellations and speed-ups of transactions: what was asked for, and which form of a transaction is which."""

from pathlib import Path

from alembic import op

revision, down_revision = "0011", "0010"


def upgrade() -> None:
    op.get_bind().connection.driver_connection.execute(Path(__file__).with_suffix(".sql").read_text())
