"""Who changed an opt-out when it was seen changed, by what that is known, and when a record was made."""

import sqlalchemy as sa
from alembic import op

revision = "0023"
down_revision = "0022"

INT = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.add_column("crm_record", sa.Column("changed_by", sa.Text()))
    op.add_column("crm_record", sa.Column("changed_how", sa.Text()))
    op.add_column("crm_record", sa.Column("created_at", INT))
    op.add_column("drift", sa.Column("told_by", sa.Text()))
