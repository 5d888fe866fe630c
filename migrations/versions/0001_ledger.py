"""The ledger and its walls, the vault, what is derived from them, and who may use them."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

INT = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
SMALL = sa.SmallInteger().with_variant(sa.Integer(), "sqlite")

APPEND_ONLY = {"leaf": ("log_id", "idx"), "node": ("log_id", "level", "idx"), "dedupe": ("log_id", "key")}


def upgrade() -> None:
    _ledger()
    _vault()
    _projections()
    _index()
    _mirrors()
    _runs()
    _access()
    if op.get_bind().dialect.name == "sqlite":
        _wall_sqlite()
    else:
        _wall_postgresql()
        _grant_postgresql()


def _ledger() -> None:
    op.create_table(
        "log_state",
        sa.Column("log_id", SMALL, autoincrement=False, nullable=False),
        sa.Column("origin", sa.Text(), nullable=False),
        sa.Column("size", INT, nullable=False),
        sa.Column("edge", sa.LargeBinary(), nullable=False),
        sa.Column("head", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("log_id", name=op.f("pk_log_state")),
        sa.UniqueConstraint("origin", name=op.f("uq_log_state_origin")),
        sqlite_strict=True,
    )
    op.create_table(
        "leaf",
        sa.Column("log_id", SMALL, nullable=False),
        sa.Column("idx", INT, nullable=False),
        sa.Column("hash", sa.LargeBinary(), nullable=False),
        sa.Column("entry", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("log_id", "idx", name=op.f("pk_leaf")),
        sqlite_strict=True,
        sqlite_with_rowid=False,
    )
    op.create_table(
        "node",
        sa.Column("log_id", SMALL, nullable=False),
        sa.Column("level", SMALL, nullable=False),
        sa.Column("idx", INT, nullable=False),
        sa.Column("hash", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("log_id", "level", "idx", name=op.f("pk_node")),
        sqlite_strict=True,
        sqlite_with_rowid=False,
    )
    op.create_table(
        "dedupe",
        sa.Column("log_id", SMALL, nullable=False),
        sa.Column("key", sa.LargeBinary(), nullable=False),
        sa.Column("request", sa.LargeBinary(), nullable=False),
        sa.Column("idx", INT, nullable=False),
        sa.Column("size", INT, nullable=False),
        sa.PrimaryKeyConstraint("log_id", "key", name=op.f("pk_dedupe")),
        sqlite_strict=True,
        sqlite_with_rowid=False,
    )


def _vault() -> None:
    op.create_table(
        "subject",
        sa.Column("sub", sa.LargeBinary(), nullable=False),
        sa.Column("address_index", sa.LargeBinary(), nullable=False),
        sa.Column("dk", sa.LargeBinary(), nullable=False),
        sa.Column("r", sa.LargeBinary(), nullable=False),
        sa.Column("version", SMALL, nullable=False),
        sa.Column("opened_idx", INT, nullable=False),
        sa.Column("address", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("sub", name=op.f("pk_subject")),
        sa.UniqueConstraint("address_index", name=op.f("uq_subject_address_index")),
        sa.UniqueConstraint("dk", name=op.f("uq_subject_dk")),
    )
    op.create_table(
        "subject_key",
        sa.Column("sub", sa.LargeBinary(), nullable=False),
        sa.Column("kek_id", sa.Text(), nullable=False),
        sa.Column("wrapped", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("sub", name=op.f("pk_subject_key")),
    )
    op.create_table(
        "payload",
        sa.Column("log_id", SMALL, nullable=False),
        sa.Column("idx", INT, nullable=False),
        sa.Column("sub", sa.LargeBinary(), nullable=False),
        sa.Column("sealed", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("log_id", "idx", name=op.f("pk_payload")),
    )
    op.create_index(op.f("ix_payload_sub"), "payload", ["sub"], unique=False)


def _projections() -> None:
    op.create_table(
        "event",
        sa.Column("log_id", SMALL, nullable=False),
        sa.Column("idx", INT, nullable=False),
        sa.Column("sub", sa.LargeBinary(), nullable=False),
        sa.Column("category", sa.Text(), nullable=False),
        sa.Column("purpose", sa.Text(), nullable=True),
        sa.Column("occurred_at", INT, nullable=False),
        sa.Column("recorded_at", INT, nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("provenance", sa.Text(), nullable=False),
        sa.Column("grade", sa.Text(), nullable=False),
        sa.Column("valid_until", INT, nullable=True),
        sa.PrimaryKeyConstraint("log_id", "idx", name=op.f("pk_event")),
    )
    op.create_index("ix_event_sub_idx", "event", ["sub", "idx"], unique=False)
    op.create_table(
        "standing",
        sa.Column("sub", sa.LargeBinary(), nullable=False),
        sa.Column("purpose", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("suppressed", sa.Text(), nullable=True),
        sa.Column("must_stop", SMALL, nullable=False),
        sa.Column("decided_by", INT, nullable=True),
        sa.Column("decided_at", INT, nullable=True),
        sa.Column("suppressed_by", INT, nullable=True),
        sa.Column("valid_until", INT, nullable=True),
        sa.PrimaryKeyConstraint("sub", "purpose", name=op.f("pk_standing")),
    )
    op.create_table(
        "task",
        sa.Column("id", INT, autoincrement=True, nullable=False),
        sa.Column("sub", sa.LargeBinary(), nullable=False),
        sa.Column("cause_idx", INT, nullable=False),
        sa.Column("received_at", INT, nullable=False),
        sa.Column("due_at", INT, nullable=False),
        sa.Column("due_rule", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("attempts", INT, nullable=False),
        sa.Column("not_before", INT, nullable=False),
        sa.Column("claimed_by", sa.Text(), nullable=True),
        sa.Column("claimed_until", INT, nullable=True),
        sa.Column("stopped_at", INT, nullable=True),
        sa.Column("proved_at", INT, nullable=True),
        sa.Column("campaigns_at", INT, nullable=True),
        sa.Column("crm_at", INT, nullable=True),
        sa.Column("last_error", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_task")),
    )
    op.create_index("ix_task_open", "task", ["state", "not_before"], unique=False)


def _index() -> None:
    op.create_table(
        "index_state",
        sa.Column("log_id", SMALL, autoincrement=False, nullable=False),
        sa.Column("edge", sa.LargeBinary(), nullable=False),
        sa.Column("total", sa.LargeBinary(), nullable=False),
        sa.Column("listed", INT, nullable=True),
        sa.Column("epoch_idx", INT, nullable=True),
        sa.PrimaryKeyConstraint("log_id", name=op.f("pk_index_state")),
    )
    op.create_table(
        "index_row",
        sa.Column("kind", SMALL, nullable=False),
        sa.Column("key", sa.LargeBinary(), nullable=False),
        sa.Column("row", sa.LargeBinary(), nullable=False),
        sa.Column("edge", sa.LargeBinary(), nullable=True),
        sa.PrimaryKeyConstraint("kind", "key", name=op.f("pk_index_row")),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "index_node",
        sa.Column("kind", SMALL, nullable=False),
        sa.Column("level", SMALL, nullable=False),
        sa.Column("idx", INT, nullable=False),
        sa.Column("hash", sa.LargeBinary(), nullable=False),
        sa.Column("last_key", sa.LargeBinary(), nullable=True),
        sa.PrimaryKeyConstraint("kind", "level", "idx", name=op.f("pk_index_node")),
        sqlite_with_rowid=False,
    )


def _mirrors() -> None:
    op.create_table(
        "crm_record",
        sa.Column("module", sa.Text(), nullable=False),
        sa.Column("record_id", sa.Text(), nullable=False),
        sa.Column("opted_out", SMALL, nullable=False),
        sa.Column("modified_at", INT, nullable=False),
        sa.Column("unsubscribed_mode", sa.Text(), nullable=True),
        sa.Column("unsubscribed_at", INT, nullable=True),
        sa.Column("jurisdiction", sa.Text(), nullable=False),
        sa.Column("views", sa.Text(), nullable=False),
        sa.Column("seen_run", INT, nullable=False),
        sa.PrimaryKeyConstraint("module", "record_id", name=op.f("pk_crm_record")),
    )
    op.create_table(
        "crm_address",
        sa.Column("module", sa.Text(), nullable=False),
        sa.Column("record_id", sa.Text(), nullable=False),
        sa.Column("address_index", sa.LargeBinary(), nullable=False),
        sa.Column("address", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("module", "record_id", "address_index", name=op.f("pk_crm_address")),
    )
    op.create_index("ix_crm_address_address_index", "crm_address", ["address_index"], unique=False)
    op.create_table(
        "contact",
        sa.Column("address_index", sa.LargeBinary(), nullable=False),
        sa.Column("address", sa.LargeBinary(), nullable=False),
        sa.Column("permission", sa.Text(), nullable=True),
        sa.Column("since", INT, nullable=False),
        sa.Column("was", sa.Text(), nullable=True),
        sa.Column("seen_run", INT, nullable=False),
        sa.PrimaryKeyConstraint("address_index", name=op.f("pk_contact")),
    )
    op.create_table(
        "member",
        sa.Column("list_name", sa.Text(), nullable=False),
        sa.Column("address_index", sa.LargeBinary(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("since", INT, nullable=False),
        sa.Column("was", sa.Text(), nullable=True),
        sa.Column("seen_run", INT, nullable=False),
        sa.PrimaryKeyConstraint("list_name", "address_index", name=op.f("pk_member")),
    )
    op.create_index("ix_member_address_index", "member", ["address_index"], unique=False)
    op.create_table(
        "outcome",
        sa.Column("campaign_key", sa.Text(), nullable=False),
        sa.Column("address_index", sa.LargeBinary(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("happened_at", INT, nullable=True),
        sa.Column("sent_at", INT, nullable=True),
        sa.Column("observed_at", INT, nullable=False),
        sa.Column("address", sa.LargeBinary(), nullable=False),
        sa.Column("recorded_idx", INT, nullable=True),
        sa.PrimaryKeyConstraint("campaign_key", "address_index", "kind", name=op.f("pk_outcome")),
    )
    op.create_index("ix_outcome_address_index", "outcome", ["address_index"], unique=False)


def _runs() -> None:
    op.create_table(
        "run",
        sa.Column("id", INT, autoincrement=True, nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("started_at", INT, nullable=False),
        sa.Column("finished_at", INT, nullable=True),
        sa.Column("summary", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_run")),
    )
    op.create_table(
        "drift",
        sa.Column("run_id", INT, nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("address_index", sa.LargeBinary(), nullable=False),
        sa.Column("sub", sa.LargeBinary(), nullable=True),
        sa.Column("jurisdiction", sa.Text(), nullable=False),
        sa.Column("since", INT, nullable=False),
        sa.Column("due_at", INT, nullable=True),
        sa.Column("due_rule", sa.Text(), nullable=True),
        sa.Column("action", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("run_id", "kind", "address_index", name=op.f("pk_drift")),
    )
    op.create_table(
        "change",
        sa.Column("run_id", INT, nullable=False),
        sa.Column("target", sa.Text(), nullable=False),
        sa.Column("address_index", sa.LargeBinary(), nullable=False),
        sa.Column("sub", sa.LargeBinary(), nullable=True),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("cause_idx", INT, nullable=True),
        sa.Column("due_at", INT, nullable=True),
        sa.Column("due_rule", sa.Text(), nullable=True),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("code", sa.Text(), nullable=True),
        sa.Column("answer_sha256", sa.LargeBinary(), nullable=True),
        sa.Column("written_at", INT, nullable=True),
        sa.PrimaryKeyConstraint("run_id", "target", "address_index", name=op.f("pk_change")),
    )
    op.create_index("ix_change_state", "change", ["state"], unique=False)
    op.create_table(
        "mailing",
        sa.Column("night", sa.Text(), nullable=False),
        sa.Column("message_id", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("claimed_at", INT, nullable=False),
        sa.Column("sent_at", INT, nullable=True),
        sa.Column("place", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("night", name=op.f("pk_mailing")),
        sa.UniqueConstraint("message_id", name=op.f("uq_mailing_message_id")),
    )
    op.create_table(
        "tick",
        sa.Column("job", sa.Text(), nullable=False),
        sa.Column("turn", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), server_default="taken", nullable=False),
        sa.Column("taken_at", INT, nullable=False),
        sa.Column("taken_by", sa.Text(), nullable=False),
        sa.Column("lease_until", INT, server_default="0", nullable=False),
        sa.Column("ended_at", INT, nullable=True),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("job", "turn", name=op.f("pk_tick")),
    )


def _access() -> None:
    op.create_table(
        "api_key",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("secret_sha256", sa.LargeBinary(), nullable=False),
        sa.Column("scopes", sa.Text(), nullable=False),
        sa.Column("created_at", INT, nullable=False),
        sa.Column("revoked_at", INT, nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_api_key")),
        sa.UniqueConstraint("secret_sha256", name=op.f("uq_api_key_secret_sha256")),
    )
    op.create_table(
        "account",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("password", sa.Text(), nullable=False),
        sa.Column("role", sa.Text(), nullable=False),
        sa.Column("created_at", INT, nullable=False),
        sa.Column("failures", SMALL, nullable=False),
        sa.Column("locked_until", INT, nullable=True),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_account")),
    )
    op.create_table(
        "session",
        sa.Column("id_sha256", sa.LargeBinary(), nullable=False),
        sa.Column("account", sa.Text(), nullable=False),
        sa.Column("form_token", sa.Text(), nullable=False),
        sa.Column("expires_at", INT, nullable=False),
        sa.PrimaryKeyConstraint("id_sha256", name=op.f("pk_session")),
    )


def _wall_sqlite() -> None:
    """Refuse UPDATE, DELETE and INSERT OR REPLACE; needs no PRAGMA to hold (reliability.md, fact 6)."""
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
    op.execute(
        "CREATE TRIGGER log_state_no_delete BEFORE DELETE ON log_state "
        "BEGIN SELECT RAISE(ABORT, 'append-only: log_state refuses DELETE'); END"
    )
    op.execute(
        "CREATE TRIGGER log_state_no_rewind BEFORE UPDATE ON log_state "
        "WHEN NEW.size < OLD.size OR NEW.origin <> OLD.origin OR NEW.log_id <> OLD.log_id "
        "BEGIN SELECT RAISE(ABORT, 'append-only: a log never shrinks and keeps its name'); END"
    )
    op.execute(
        "CREATE TRIGGER log_state_no_replace BEFORE INSERT ON log_state "
        "WHEN EXISTS (SELECT 1 FROM log_state WHERE log_id = NEW.log_id OR origin = NEW.origin) "
        "BEGIN SELECT RAISE(ABORT, 'append-only: this log exists already'); END"
    )


def _wall_postgresql() -> None:
    """Refuse UPDATE, DELETE and TRUNCATE, whatever session_replication_role says; re-hash each leaf."""
    op.execute(
        "CREATE FUNCTION ledger_refuses() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
        "RAISE EXCEPTION 'append-only: % refuses %', TG_TABLE_NAME, TG_OP "
        "USING ERRCODE = 'restrict_violation'; "
        "END $$"
    )
    for table in APPEND_ONLY:
        _wall_table(table, "UPDATE OR DELETE")
    _wall_table("log_state", "DELETE")
    op.execute(
        "CREATE FUNCTION log_never_shrinks() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
        "IF NEW.size < OLD.size OR NEW.origin <> OLD.origin OR NEW.log_id <> OLD.log_id THEN "
        "RAISE EXCEPTION 'append-only: a log never shrinks and keeps its name' "
        "USING ERRCODE = 'restrict_violation'; "
        "END IF; RETURN NEW; END $$"
    )
    op.execute(
        "CREATE TRIGGER log_state_no_rewind BEFORE UPDATE ON log_state "
        "FOR EACH ROW EXECUTE FUNCTION log_never_shrinks()"
    )
    op.execute("ALTER TABLE log_state ENABLE ALWAYS TRIGGER log_state_no_rewind")
    op.execute(
        "ALTER TABLE leaf ADD CONSTRAINT ck_leaf_hash CHECK "
        "(hash = sha256('\\x00'::bytea || entry) AND octet_length(entry) <= 65535)"
    )


def _wall_table(table: str, verbs: str) -> None:
    op.execute(
        f"CREATE TRIGGER {table}_no_change BEFORE {verbs} ON {table} "
        "FOR EACH ROW EXECUTE FUNCTION ledger_refuses()"
    )
    op.execute(
        f"CREATE TRIGGER {table}_no_truncate BEFORE TRUNCATE ON {table} "
        "FOR EACH STATEMENT EXECUTE FUNCTION ledger_refuses()"
    )
    for trigger in ("no_change", "no_truncate"):
        op.execute(f"ALTER TABLE {table} ENABLE ALWAYS TRIGGER {table}_{trigger}")


def _grant_postgresql() -> None:
    """Give the role `consent_app` what the service needs and no more, where we may create roles.

    The role cannot log in; in production the service's own login is a member of it, while the
    tables belong to the login that migrates.
    """
    op.execute(
        "DO $$ BEGIN "
        "IF (SELECT rolsuper OR rolcreaterole FROM pg_roles WHERE rolname = current_user) "
        "AND NOT EXISTS (SELECT 1 FROM pg_roles WHERE rolname = 'consent_app') THEN "
        "BEGIN CREATE ROLE consent_app NOLOGIN; "
        "EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL; END; "
        "END IF; "
        "IF EXISTS (SELECT 1 FROM pg_roles WHERE rolname = 'consent_app') THEN "
        "GRANT SELECT, INSERT ON leaf, node, dedupe TO consent_app; "
        "GRANT SELECT, INSERT, UPDATE ON log_state TO consent_app; "
        "GRANT SELECT, INSERT, UPDATE, DELETE ON subject, subject_key, payload, event, standing, task, "
        "index_state, index_row, index_node, "
        "crm_record, crm_address, contact, member, outcome, run, drift, change, mailing, tick, "
        "api_key, account, session TO consent_app; "
        "GRANT SELECT ON alembic_version TO consent_app; "
        "GRANT USAGE ON ALL SEQUENCES IN SCHEMA public TO consent_app; "
        "END IF; END $$"
    )
