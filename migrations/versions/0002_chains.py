"""Checkpoints of chain followers and the block hashes by which they walk back."""

from pathlib import Path

from alembic import op

revision, down_revision = "0002", "0001"


def upgrade() -> None:
    op.get_bind().connection.driver_connection.execute(Path(__file__).with_suffix(".sql").read_text())
