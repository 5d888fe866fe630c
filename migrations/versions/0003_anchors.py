"""What others outside say about the log: cosignatures, time stamps, and how each of them was last reached."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"

INT = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
SMALL = sa.SmallInteger().with_variant(sa.Integer(), "sqlite")

APPEND_ONLY = {
    "cosignature": ("log_id", "size", "witness", "at"),
    "time_stamp": ("log_id", "authority", "at", "size"),
}


def upgrade() -> None:
    _evidence()
    op.create_table(
        "attestor",
        sa.Column("log_id", SMALL, nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("enrolled_at", INT, nullable=False),
        sa.Column("size", INT, nullable=False),
        sa.Column("succeeded_at", INT, nullable=True),
        sa.Column("asked_at", INT, nullable=True),
        sa.Column("trouble", sa.Text(), nullable=True),
        sa.Column("seen_size", INT, nullable=False),
        sa.Column("seen_root", sa.LargeBinary(), nullable=True),
        sa.PrimaryKeyConstraint("log_id", "kind", "name", name=op.f("pk_attestor")),
    )
    if op.get_bind().dialect.name == "sqlite":
        _wall_sqlite()
    else:
        _wall_postgresql()
        _grant_postgresql()


def _evidence() -> None:
    op.create_table(
        "cosignature",
        sa.Column("log_id", SMALL, nullable=False),
        sa.Column("size", INT, nullable=False),
        sa.Column("witness", sa.Text(), nullable=False),
        sa.Column("at", INT, nullable=False),
        sa.Column("line", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("log_id", "size", "witness", "at", name=op.f("pk_cosignature")),
        sqlite_strict=True,
        sqlite_with_rowid=False,
    )
    op.create_table(
        "time_stamp",
        sa.Column("log_id", SMALL, nullable=False),
        sa.Column("authority", sa.Text(), nullable=False),
        sa.Column("at", INT, nullable=False),
        sa.Column("size", INT, nullable=False),
        sa.Column("note", sa.LargeBinary(), nullable=False),
        sa.Column("reply", sa.LargeBinary(), nullable=False),
        sa.Column("chain", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("log_id", "authority", "at", "size", name=op.f("pk_time_stamp")),
        sqlite_strict=True,
        sqlite_with_rowid=False,
    )
    op.create_index("ix_time_stamp_log_id_size", "time_stamp", ["log_id", "size"], unique=False)


def _wall_sqlite() -> None:
    for table, key in APPEND_ONLY.items():
        for verb in ("UPDATE", "DELETE"):
            op.execute(
                f"CREATE TRIGGER {table}_no_{verb.lower()} BEFORE {verb} ON {table} "
                f"BEGIN SELECT RAISE(ABORT, 'append-only: {table} refuses {verb}'); END"
            )
        same = " AND ".join(f"{column} = NEW.{column}" for column in key)
        op.execute(
            f"CREATE TRIGGER {table}_no_replace BEFORE INSERT ON {table} "  # noqa: S608  # our own names
            f"WHEN EXISTS (SELECT 1 FROM {table} WHERE {same}) "
            f"BEGIN SELECT RAISE(ABORT, 'append-only: {table} has this row already'); END"
        )


def _wall_postgresql() -> None:
    """Set up the walls of the ledger's other tables, with the function that 0001 made for them."""
    for table in APPEND_ONLY:
        op.execute(
            f"CREATE TRIGGER {table}_no_change BEFORE UPDATE OR DELETE ON {table} "
            "FOR EACH ROW EXECUTE FUNCTION ledger_refuses()"
        )
        op.execute(
            f"CREATE TRIGGER {table}_no_truncate BEFORE TRUNCATE ON {table} "
            "FOR EACH STATEMENT EXECUTE FUNCTION ledger_refuses()"
        )
        for trigger in ("no_change", "no_truncate"):
            op.execute(f"ALTER TABLE {table} ENABLE ALWAYS TRIGGER {table}_{trigger}")


def _grant_postgresql() -> None:
    op.execute(
        "DO $$ BEGIN IF EXISTS (SELECT 1 FROM pg_roles WHERE rolname = 'consent_app') THEN "
        "GRANT SELECT, INSERT ON cosignature, time_stamp TO consent_app; "
        "GRANT SELECT, INSERT, UPDATE, DELETE ON attestor TO consent_app; END IF; END $$"
    )
