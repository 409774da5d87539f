"""Secrets that makers leave with the deployment, sealed, to be released for them."""

from pathlib import Path

from alembic import op

revision, down_revision = "0008", "0007"


def upgrade() -> None:
    op.get_bind().connection.driver_connection.execute(Path(__file__).with_suffix(".sql").read_text())
