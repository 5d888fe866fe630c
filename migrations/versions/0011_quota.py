"""What the organisation may still ask of Zoho, shared by all nodes."""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"

INT = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
SMALL = sa.SmallInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "quota_block",
        sa.Column("id", INT, autoincrement=True, nullable=False),
        sa.Column("account", sa.Text(), nullable=False),
        sa.Column("node", sa.Text(), nullable=False),
        sa.Column("who", sa.Text(), nullable=False),
        sa.Column("units", INT, nullable=False),
        sa.Column("taken_at", INT, nullable=False),
        sa.Column("spent_at", INT, nullable=False),
        sa.Column("is_open", SMALL, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_quota_block")),
    )
    op.create_index("ix_quota_block_account", "quota_block", ["account", "spent_at"], unique=False)
    op.create_table(
        "quota_account",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("locked_until", INT),
        sa.Column("foreign_units", INT, nullable=False, server_default="0"),
        sa.Column("foreign_at", INT),
        sa.Column("facts", sa.Text()),
        sa.Column("learned_at", INT),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_quota_account")),
    )
    if op.get_bind().dialect.name == "postgresql":
        op.execute(
            "DO $$ BEGIN IF EXISTS (SELECT 1 FROM pg_roles WHERE rolname = 'consent_app') THEN "
            "GRANT SELECT, INSERT, UPDATE, DELETE ON quota_block, quota_account TO consent_app; "
            "GRANT USAGE ON ALL SEQUENCES IN SCHEMA public TO consent_app; END IF; END $$"
        )
