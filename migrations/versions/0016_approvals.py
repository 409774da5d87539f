"""Approvals: requests that collect the signatures of an owner over time."""

from pathlib import Path

from alembic import op

revision, down_revision = "0016", "0015"


def upgrade() -> None:
    op.get_bind().connection.driver_connection.execute(Path(__file__).with_suffix(".sql").read_text())
