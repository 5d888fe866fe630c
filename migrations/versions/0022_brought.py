"""Which evidence came with a consent, so that rules of evidence are judged without opening anything."""

import sqlalchemy as sa
from alembic import op

revision = "0022"
down_revision = "0021"


def upgrade() -> None:
    op.add_column("event", sa.Column("brought", sa.Text()))
