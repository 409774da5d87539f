"""Switches by which signing is stopped: for an app, or for the whole deployment."""

from pathlib import Path

from alembic import op

revision, down_revision = "0010", "0009"


def upgrade() -> None:
    op.get_bind().connection.driver_connection.execute(Path(__file__).with_suffix(".sql").read_text())
