"""Plans, append-only approvals, breakers, canaries; changes say what they write and how they ended."""

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"

INT = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
SMALL = sa.SmallInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    _create_tables()
    for name in ("field", "old", "new", "reason", "basis"):
        op.add_column("change", sa.Column(name, sa.Text(), nullable=False, server_default=""))
    op.add_column("change", sa.Column("direction", sa.Text(), nullable=False, server_default="stop"))
    op.add_column("change", sa.Column("attempts", INT, nullable=False, server_default="0"))
    op.add_column("change", sa.Column("next_at", INT, nullable=True))
    op.add_column("change", sa.Column("error", sa.Text(), nullable=True))
    op.add_column("change", sa.Column("undone_by", sa.Text(), nullable=True))
    op.create_index(
        op.f("ix_change_target_address_index"), "change", ["target", "address_index"], unique=False
    )
    op.add_column("crm_record", sa.Column("modified_by", sa.Text(), nullable=True))
    op.add_column("crm_record", sa.Column("changed_run", INT, nullable=True))
    op.add_column("crm_record", sa.Column("unknown", SMALL, nullable=False, server_default="0"))
    if op.get_bind().dialect.name == "sqlite":
        _wall_sqlite()
    else:
        _wall_postgresql()
        _grant_postgresql()


def _create_tables() -> None:
    op.create_table(
        "plan",
        sa.Column("run_id", INT, autoincrement=False, nullable=False),
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        sa.Column("policy", sa.LargeBinary(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("approvals", INT, nullable=False),
        sa.Column("calls", INT, nullable=False),
        sa.Column("credits", INT, nullable=False),
        sa.Column("made_at", INT, nullable=False),
        sa.Column("ended_at", INT, nullable=True),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("run_id", name=op.f("pk_plan")),
    )
    op.create_table(
        "approval",
        sa.Column("run_id", INT, nullable=False),
        sa.Column("account", sa.Text(), nullable=False),
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        sa.Column("decision", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("via", sa.Text(), nullable=False),
        sa.Column("decided_at", INT, nullable=False),
        sa.PrimaryKeyConstraint("run_id", "account", name=op.f("pk_approval")),
    )
    op.create_table(
        "breaker",
        sa.Column("run_id", INT, nullable=False),
        sa.Column("target", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("stops", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("tripped_at", INT, nullable=False),
        sa.PrimaryKeyConstraint("run_id", "target", "name", name=op.f("pk_breaker")),
    )
    op.create_table(
        "canary",
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("address_index", sa.LargeBinary(), nullable=False),
        sa.Column("address", sa.LargeBinary(), nullable=False),
        sa.Column("module", sa.Text(), nullable=False),
        sa.Column("record_id", sa.Text(), nullable=False),
        sa.Column("mapping", sa.LargeBinary(), nullable=False),
        sa.Column("made_at", INT, nullable=False),
        sa.Column("driven_at", INT, nullable=True),
        sa.Column("seen_at", INT, nullable=True),
        sa.Column("trouble", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("state", name=op.f("pk_canary")),
    )
    op.create_index(op.f("ix_canary_address_index"), "canary", ["address_index"], unique=False)


def _wall_sqlite() -> None:
    for verb in ("UPDATE", "DELETE"):
        op.execute(
            f"CREATE TRIGGER approval_no_{verb.lower()} BEFORE {verb} ON approval "
            f"BEGIN SELECT RAISE(ABORT, 'append-only: approval refuses {verb}'); END"
        )


def _wall_postgresql() -> None:
    op.execute(
        "CREATE FUNCTION approval_refuses() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
        "RAISE EXCEPTION 'append-only: approval refuses %', TG_OP USING ERRCODE = 'restrict_violation'; "
        "END $$"
    )
    op.execute(
        "CREATE TRIGGER approval_no_change BEFORE UPDATE OR DELETE ON approval "
        "FOR EACH ROW EXECUTE FUNCTION approval_refuses()"
    )
    op.execute(
        "CREATE TRIGGER approval_no_truncate BEFORE TRUNCATE ON approval "
        "FOR EACH STATEMENT EXECUTE FUNCTION approval_refuses()"
    )
    for trigger in ("no_change", "no_truncate"):
        op.execute(f"ALTER TABLE approval ENABLE ALWAYS TRIGGER approval_{trigger}")


def _grant_postgresql() -> None:
    op.execute(
        "DO $$ BEGIN IF EXISTS (SELECT 1 FROM pg_roles WHERE rolname = 'consent_app') THEN "
        "GRANT SELECT, INSERT, UPDATE, DELETE ON plan, breaker, canary TO consent_app; "
        "GRANT SELECT, INSERT ON approval TO consent_app; END IF; END $$"
    )
