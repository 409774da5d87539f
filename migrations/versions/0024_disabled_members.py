"""Users who are disabled count for nothing in the quorums that they stand in."""

from pathlib import Path

from alembic import op

revision, down_revision = "0024", "0023"


def upgrade() -> None:
    op.get_bind().connection.driver_connection.execute(Path(__file__).with_suffix(".sql").read_text())
