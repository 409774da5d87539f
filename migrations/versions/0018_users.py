"""Users that have a role in their app, and that can be shut out."""

from pathlib import Path

from alembic import op

revision, down_revision = "0018", "0017"


def upgrade() -> None:
    op.get_bind().connection.driver_connection.execute(Path(__file__).with_suffix(".sql").read_text())
