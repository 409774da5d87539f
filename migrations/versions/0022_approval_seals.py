"""Approvals are sealed like everything else that carries authority."""

from pathlib import Path

from alembic import op

revision, down_revision = "0022", "0021"


def upgrade() -> None:
    op.get_bind().connection.driver_connection.execute(Path(__file__).with_suffix(".sql").read_text())
