"""The auction book: orders, who owns them, their fills."""

from pathlib import Path

from alembic import op

revision, down_revision = "0007", "0006"


def upgrade() -> None:
    op.get_bind().connection.driver_connection.execute(Path(__file__).with_suffix(".sql").read_text())
