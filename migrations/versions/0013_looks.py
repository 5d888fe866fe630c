"""A table for the nightly looks at what is stored."""

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"

INT = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "look",
        sa.Column("night", sa.Text(), nullable=False),
        sa.Column("began", sa.Text(), nullable=False),
        sa.Column("start", INT, nullable=False),
        sa.Column("stop", INT),
        sa.Column("size", INT, nullable=False),
        sa.Column("high", sa.LargeBinary()),
        sa.Column("started_at", INT, nullable=False),
        sa.Column("finished_at", INT, nullable=False),
        sa.Column("damaged", INT, nullable=False),
        sa.Column("damage", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("night", name=op.f("pk_look")),
    )
    if op.get_bind().dialect.name == "postgresql":
        op.execute(
            "DO $$ BEGIN IF EXISTS (SELECT 1 FROM pg_roles WHERE rolname = 'consent_app') THEN "
            "GRANT SELECT, INSERT ON look TO consent_app; END IF; END $$"
        )
