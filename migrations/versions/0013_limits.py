"""Spending limits: what they count, how much of each is used, and by which decisions; caps of session signers."""

from pathlib import Path

from alembic import op

revision, down_revision = "0013", "0012"


def upgrade() -> None:
    op.get_bind().connection.driver_connection.execute(Path(__file__).with_suffix(".sql").read_text())
