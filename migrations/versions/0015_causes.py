"""What caused each drift, and who, as far as the products tell."""

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0014"

SMALL = sa.SmallInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.add_column("drift", sa.Column("cause", sa.Text()))
    op.add_column("drift", sa.Column("actor", sa.Text()))
    op.add_column("drift", sa.Column("reopened", SMALL, nullable=False, server_default="0"))
