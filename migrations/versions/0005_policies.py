"""What implied consent rests on and where a person is; the rule behind a standing; adopted policy sets."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"

INT = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    for name, kind in (
        ("fact", sa.Text()),
        ("fact_at", INT),
        ("conditions", sa.Text()),
        ("country", sa.Text()),
        ("hint", sa.Text()),
    ):
        op.add_column("event", sa.Column(name, kind))
    op.add_column("standing", sa.Column("rule", sa.Text()))
    op.add_column("standing", sa.Column("policy", sa.LargeBinary()))
    op.create_table(
        "policy_set",
        sa.Column("idx", INT, autoincrement=False, nullable=False),
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        sa.Column("adopted_at", INT, nullable=False),
        sa.Column("adopted_by", sa.Text(), nullable=False),
        sa.Column("files", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("idx", name=op.f("pk_policy_set")),
    )
    op.create_index(op.f("ix_policy_set_digest"), "policy_set", ["digest"], unique=False)
    if op.get_bind().dialect.name == "postgresql":
        op.execute(
            "DO $$ BEGIN IF EXISTS (SELECT 1 FROM pg_roles WHERE rolname = 'consent_app') THEN "
            "GRANT SELECT, INSERT, UPDATE, DELETE ON policy_set TO consent_app; END IF; END $$"
        )
