"""Checkpoints as they were published: append-only, and never one that the one before does not lead to."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"

INT = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
SMALL = sa.SmallInteger().with_variant(sa.Integer(), "sqlite")

BREAKS = (
    "EXISTS (SELECT 1 FROM checkpoint WHERE log_id = NEW.log_id AND number >= NEW.number) "
    "OR EXISTS (SELECT 1 FROM checkpoint WHERE log_id = NEW.log_id AND size > NEW.size) "
    "OR EXISTS (SELECT 1 FROM checkpoint WHERE log_id = NEW.log_id AND size = NEW.size AND root <> NEW.root)"
)
REFUSAL = "append-only: a published log neither shrinks nor forks"


def upgrade() -> None:
    op.create_table(
        "checkpoint",
        sa.Column("log_id", SMALL, nullable=False),
        sa.Column("number", INT, nullable=False),
        sa.Column("size", INT, nullable=False),
        sa.Column("root", sa.LargeBinary(), nullable=False),
        sa.Column("note", sa.LargeBinary(), nullable=False),
        sa.Column("published_at", INT, nullable=False),
        sa.PrimaryKeyConstraint("log_id", "number", name=op.f("pk_checkpoint")),
        sqlite_strict=True,
        sqlite_with_rowid=False,
    )
    op.create_index("ix_checkpoint_log_id_size", "checkpoint", ["log_id", "size"], unique=False)
    if op.get_bind().dialect.name == "sqlite":
        _wall_sqlite()
    else:
        _wall_postgresql()
        _grant_postgresql()


def _wall_sqlite() -> None:
    for verb in ("UPDATE", "DELETE"):
        op.execute(
            f"CREATE TRIGGER checkpoint_no_{verb.lower()} BEFORE {verb} ON checkpoint "
            f"BEGIN SELECT RAISE(ABORT, 'append-only: checkpoint refuses {verb}'); END"
        )
    op.execute(
        f"CREATE TRIGGER checkpoint_continues BEFORE INSERT ON checkpoint WHEN {BREAKS} "
        f"BEGIN SELECT RAISE(ABORT, '{REFUSAL}'); END"
    )


def _wall_postgresql() -> None:
    """Set up the walls of the ledger's other tables, with the function that 0001 made for them."""
    op.execute(
        "CREATE TRIGGER checkpoint_no_change BEFORE UPDATE OR DELETE ON checkpoint "
        "FOR EACH ROW EXECUTE FUNCTION ledger_refuses()"
    )
    op.execute(
        "CREATE TRIGGER checkpoint_no_truncate BEFORE TRUNCATE ON checkpoint "
        "FOR EACH STATEMENT EXECUTE FUNCTION ledger_refuses()"
    )
    op.execute(
        "CREATE FUNCTION checkpoint_continues() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
        f"IF {BREAKS} THEN RAISE EXCEPTION '{REFUSAL}' USING ERRCODE = 'restrict_violation'; "
        "END IF; RETURN NEW; END $$"
    )
    op.execute(
        "CREATE TRIGGER checkpoint_continues BEFORE INSERT ON checkpoint "
        "FOR EACH ROW EXECUTE FUNCTION checkpoint_continues()"
    )
    for trigger in ("no_change", "no_truncate", "continues"):
        op.execute(f"ALTER TABLE checkpoint ENABLE ALWAYS TRIGGER checkpoint_{trigger}")


def _grant_postgresql() -> None:
    op.execute(
        "DO $$ BEGIN IF EXISTS (SELECT 1 FROM pg_roles WHERE rolname = 'consent_app') THEN "
        "GRANT SELECT, INSERT ON checkpoint TO consent_app; END IF; END $$"
    )
