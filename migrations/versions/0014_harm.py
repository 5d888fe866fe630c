"""Who was in fact mailed while they were not permitted: windows, campaigns that were read, mails."""

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"

INT = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "harm_window",
        sa.Column("address_index", sa.LargeBinary(), nullable=False),
        sa.Column("since", INT, nullable=False),
        sa.Column("until", INT),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("noticed_at", INT, nullable=False),
        sa.PrimaryKeyConstraint("address_index", name=op.f("pk_harm_window")),
    )
    op.create_table(
        "mailing_scan",
        sa.Column("campaign_key", sa.Text(), nullable=False),
        sa.Column("sent_at", INT, nullable=False),
        sa.Column("scanned_at", INT, nullable=False),
        sa.Column("recipients", INT, nullable=False),
        sa.PrimaryKeyConstraint("campaign_key", name=op.f("pk_mailing_scan")),
    )
    op.create_table(
        "harm",
        sa.Column("address_index", sa.LargeBinary(), nullable=False),
        sa.Column("campaign_key", sa.Text(), nullable=False),
        sa.Column("sent_at", INT, nullable=False),
        sa.PrimaryKeyConstraint("address_index", "campaign_key", name=op.f("pk_harm")),
    )
    if op.get_bind().dialect.name == "postgresql":
        op.execute(
            "DO $$ BEGIN IF EXISTS (SELECT 1 FROM pg_roles WHERE rolname = 'consent_app') THEN "
            "GRANT SELECT, INSERT, UPDATE, DELETE ON harm_window, mailing_scan, harm TO consent_app; "
            "END IF; END $$"
        )
