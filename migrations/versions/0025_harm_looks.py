"""When what Campaigns sent was looked at to the end: before that, nobody can say who was mailed."""

import sqlalchemy as sa
from alembic import op

revision = "0025"
down_revision = "0024"

INT = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "harm_look",
        sa.Column("began_at", INT, nullable=False),
        sa.Column("campaigns", INT, nullable=False),
        sa.PrimaryKeyConstraint("began_at", name=op.f("pk_harm_look")),
    )
    if op.get_bind().dialect.name == "postgresql":
        op.execute(
            "DO $$ BEGIN IF EXISTS (SELECT 1 FROM pg_roles WHERE rolname = 'consent_app') THEN "
            "GRANT SELECT, INSERT, UPDATE, DELETE ON harm_look TO consent_app; END IF; END $$"
        )
