"""Swaps, their parties, secrets and legs; escrows and their events."""

from pathlib import Path

from alembic import op

revision, down_revision = "0006", "0005"


def upgrade() -> None:
    op.get_bind().connection.driver_connection.execute(Path(__file__).with_suffix(".sql").read_text())
