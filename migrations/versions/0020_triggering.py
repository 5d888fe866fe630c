"""Withdrawals that a workflow of Campaigns was triggered for, until they are seen done."""

import sqlalchemy as sa
from alembic import op

revision = "0020"
down_revision = "0019"

INT = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "triggering",
        sa.Column("task_id", INT, autoincrement=False, nullable=False),
        sa.Column("at", INT, nullable=False),
        sa.Column("code", sa.Text()),
        sa.Column("answer_sha256", sa.LargeBinary()),
        sa.PrimaryKeyConstraint("task_id", name=op.f("pk_triggering")),
    )
    if op.get_bind().dialect.name == "postgresql":
        op.execute(
            "DO $$ BEGIN IF EXISTS (SELECT 1 FROM pg_roles WHERE rolname = 'consent_app') THEN "
            "GRANT SELECT, INSERT, UPDATE, DELETE ON triggering TO consent_app; END IF; END $$"
        )
