"""A window of harm for each stop of a person; what was known of them is found again by the next look."""

import sqlalchemy as sa
from alembic import op

revision = "0018"
down_revision = "0017"

INT = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.execute("DELETE FROM mailing_scan")
    op.drop_table("harm_window")
    op.create_table(
        "harm_window",
        sa.Column("address_index", sa.LargeBinary(), nullable=False),
        sa.Column("since", INT, nullable=False),
        sa.Column("until", INT),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("noticed_at", INT, nullable=False),
        sa.PrimaryKeyConstraint("address_index", "since", name=op.f("pk_harm_window")),
    )
    if op.get_bind().dialect.name == "postgresql":
        op.execute(
            "DO $$ BEGIN IF EXISTS (SELECT 1 FROM pg_roles WHERE rolname = 'consent_app') THEN "
            "GRANT SELECT, INSERT, UPDATE, DELETE ON harm_window TO consent_app; END IF; END $$"
        )
