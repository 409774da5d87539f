"""Transactions, every hash of their nonces, nonce reservations and the ledger of what was signed."""

from pathlib import Path

from alembic import op

revision, down_revision = "0005", "0004"


def upgrade() -> None:
    op.get_bind().connection.driver_connection.execute(Path(__file__).with_suffix(".sql").read_text())
