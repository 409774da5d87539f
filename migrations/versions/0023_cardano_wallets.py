"""Wallets and policies of Cardano."""

from pathlib import Path

from alembic import op

revision, down_revision = "0023", "0022"


def upgrade() -> None:
    op.get_bind().connection.driver_connection.execute(Path(__file__).with_suffix(".sql").read_text())
