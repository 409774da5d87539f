"""Condition sets: lists of addresses, selectors, numbers or texts that policies look values up in."""

from pathlib import Path

from alembic import op

revision, down_revision = "0014", "0013"


def upgrade() -> None:
    op.get_bind().connection.driver_connection.execute(Path(__file__).with_suffix(".sql").read_text())
