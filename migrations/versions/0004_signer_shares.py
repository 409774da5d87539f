"""The signer's own schema: sealed exec shares that no other role can read."""

from pathlib import Path

from alembic import op

revision, down_revision = "0004", "0003"


def upgrade() -> None:
    op.get_bind().connection.driver_connection.execute(Path(__file__).with_suffix(".sql").read_text())
