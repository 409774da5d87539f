"""Accounts with passwords, for apps without an identity provider."""

from pathlib import Path

from alembic import op

revision, down_revision = "0019", "0018"


def upgrade() -> None:
    op.get_bind().connection.driver_connection.execute(Path(__file__).with_suffix(".sql").read_text())
