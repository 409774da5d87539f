"""Apps that are administered: where their secrets may be used from, how long secrets and logins last."""

from pathlib import Path

from alembic import op

revision, down_revision = "0017", "0016"


def upgrade() -> None:
    op.get_bind().connection.driver_connection.execute(Path(__file__).with_suffix(".sql").read_text())
