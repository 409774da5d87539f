"""The requests of decisions, sealed and for a while, so that other policies can be tried on them."""

from pathlib import Path

from alembic import op

revision, down_revision = "0021", "0020"


def upgrade() -> None:
    op.get_bind().connection.driver_connection.execute(Path(__file__).with_suffix(".sql").read_text())
