"""Wallets by the app's own id; wallets that are put away."""

from pathlib import Path

from alembic import op

revision, down_revision = "0015", "0014"


def upgrade() -> None:
    op.get_bind().connection.driver_connection.execute(Path(__file__).with_suffix(".sql").read_text())
