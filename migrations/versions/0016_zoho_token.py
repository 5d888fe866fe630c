"""The access token of Zoho that all processes share, sealed."""

import sqlalchemy as sa
from alembic import op

revision = "0016"
down_revision = "0015"

INT = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "zoho_token",
        sa.Column("fingerprint", sa.LargeBinary(), nullable=False),
        sa.Column("sealed", sa.LargeBinary()),
        sa.Column("renew_at", INT),
        sa.Column("claimed_by", sa.Text()),
        sa.Column("claimed_until", INT),
        sa.PrimaryKeyConstraint("fingerprint", name=op.f("pk_zoho_token")),
    )
    if op.get_bind().dialect.name == "postgresql":
        op.execute(
            "DO $$ BEGIN IF EXISTS (SELECT 1 FROM pg_roles WHERE rolname = 'consent_app') THEN "
            "GRANT SELECT, INSERT, UPDATE, DELETE ON zoho_token TO consent_app; END IF; END $$"
        )
