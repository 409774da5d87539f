"""Apps, users, wallets, policies, session signers, decisions, idempotency keys, previews and the audit log."""

from pathlib import Path

from alembic import op

revision, down_revision = "0003", "0002"


def upgrade() -> None:
    op.get_bind().connection.driver_connection.execute(Path(__file__).with_suffix(".sql").read_text())
