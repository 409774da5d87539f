"""What a transaction pays and how it is sent: type, speed, data fee of a roll-up, private submission."""

from pathlib import Path

from alembic import op

revision, down_revision = "0009", "0008"


def upgrade() -> None:
    op.get_bind().connection.driver_connection.execute(Path(__file__).with_suffix(".sql").read_text())
