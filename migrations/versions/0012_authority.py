"""Authorization keys, quorums of them, and owners of wallets and policies that sign their requests."""

from pathlib import Path

from alembic import op

revision, down_revision = "0012", "0011"


def upgrade() -> None:
    op.get_bind().connection.driver_connection.execute(Path(__file__).with_suffix(".sql").read_text())
