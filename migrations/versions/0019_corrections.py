"""Which entry a correction takes out of the fold."""

import sqlalchemy as sa
from alembic import op

revision = "0019"
down_revision = "0018"

INT = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.add_column("event", sa.Column("corrects", INT))
