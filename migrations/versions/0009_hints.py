"""Channels of CRM's notifications and the hints that they bring; a new task or hint rings on PostgreSQL."""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"

INT = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "channel",
        sa.Column("channel_id", sa.Text(), nullable=False),
        sa.Column("notify_url", sa.Text(), nullable=False),
        sa.Column("events", sa.Text(), nullable=False),
        sa.Column("token_sha256", sa.LargeBinary(), nullable=False),
        sa.Column("former_sha256", sa.LargeBinary(), nullable=True),
        sa.Column("made_at", INT, nullable=False),
        sa.Column("renewed_at", INT, nullable=False),
        sa.Column("expires_at", INT, nullable=False),
        sa.Column("heard_at", INT, nullable=True),
        sa.Column("missed_at", INT, nullable=True),
        sa.Column("trouble", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("channel_id", name=op.f("pk_channel")),
    )
    op.create_table(
        "hint",
        sa.Column("id", INT, autoincrement=True, nullable=False),
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("module", sa.Text(), nullable=True),
        sa.Column("record_id", sa.Text(), nullable=True),
        sa.Column("address_index", sa.LargeBinary(), nullable=True),
        sa.Column("received_at", INT, nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("attempts", INT, nullable=False),
        sa.Column("not_before", INT, nullable=False),
        sa.Column("claimed_by", sa.Text(), nullable=True),
        sa.Column("claimed_until", INT, nullable=True),
        sa.Column("ended_at", INT, nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_hint")),
        sa.UniqueConstraint("digest", name=op.f("uq_hint_digest")),
    )
    op.create_index("ix_hint_open", "hint", ["state", "not_before"])
    if op.get_bind().dialect.name == "postgresql":
        _ring_postgresql()
        _grant_postgresql()


def _ring_postgresql() -> None:
    """Let whoever listens hear of a new row as soon as it is committed; the channel is the table's name."""
    op.execute(
        "CREATE FUNCTION consent_rings() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
        "PERFORM pg_notify('consent_' || TG_TABLE_NAME, ''); RETURN NULL; END $$"
    )
    for table in ("task", "hint"):
        op.execute(
            f"CREATE TRIGGER {table}_rings AFTER INSERT ON {table} "
            "FOR EACH STATEMENT EXECUTE FUNCTION consent_rings()"
        )


def _grant_postgresql() -> None:
    op.execute(
        "DO $$ BEGIN IF EXISTS (SELECT 1 FROM pg_roles WHERE rolname = 'consent_app') THEN "
        "GRANT SELECT, INSERT, UPDATE, DELETE ON channel, hint TO consent_app; "
        "GRANT USAGE ON ALL SEQUENCES IN SCHEMA public TO consent_app; END IF; END $$"
    )
