"""What erasure leaves behind, where keys changed, and how a running service notices both."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"

INT = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
SMALL = sa.SmallInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.add_column("log_state", sa.Column("generation", INT, nullable=False, server_default="0"))
    op.add_column("log_state", sa.Column("erasures", INT, nullable=False, server_default="0"))
    op.add_column("log_state", sa.Column("frozen", SMALL, nullable=False, server_default="0"))
    op.create_table(
        "suppression",
        sa.Column("address_index", sa.LargeBinary(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("since", INT, nullable=False),
        sa.Column("versions", SMALL, nullable=False),
        sa.Column("next_versions", SMALL, nullable=False),
        sa.PrimaryKeyConstraint("address_index", name=op.f("pk_suppression")),
    )
    op.create_table(
        "erasure",
        sa.Column("log_id", SMALL, nullable=False),
        sa.Column("idx", INT, nullable=False),
        sa.Column("sub", sa.LargeBinary(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("erased_at", INT, nullable=False),
        sa.Column("certificate", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("log_id", "idx", name=op.f("pk_erasure")),
    )
    op.create_index(op.f("ix_erasure_sub"), "erasure", ["sub"], unique=False)
    op.create_table(
        "key_change",
        sa.Column("log_id", SMALL, nullable=False),
        sa.Column("idx", INT, nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("generation", INT, nullable=False),
        sa.PrimaryKeyConstraint("log_id", "idx", name=op.f("pk_key_change")),
    )
    op.create_table(
        "directory_next",
        sa.Column("sub", sa.LargeBinary(), nullable=False),
        sa.Column("dk", sa.LargeBinary(), nullable=False),
        sa.Column("r", sa.LargeBinary(), nullable=False),
        sa.Column("opened_idx", INT, nullable=False),
        sa.PrimaryKeyConstraint("sub", name=op.f("pk_directory_next")),
    )
    if op.get_bind().dialect.name == "postgresql":
        op.execute(
            "DO $$ BEGIN IF EXISTS (SELECT 1 FROM pg_roles WHERE rolname = 'consent_app') THEN "
            "GRANT SELECT, INSERT, UPDATE, DELETE ON suppression, erasure, key_change, directory_next "
            "TO consent_app; END IF; END $$"
        )
