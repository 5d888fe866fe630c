"""Refuse to change events, or to delete those of anybody who is still in the directory.

An erasure deletes the person's row of the directory first, then their events. The rows of openings go when
the directory gets a new key.
"""

from alembic import op

revision = "0007"
down_revision = "0006"

KEPT = "OLD.category <> 'subject.opened' AND EXISTS (SELECT 1 FROM subject WHERE sub = OLD.sub)"


def upgrade() -> None:
    if op.get_bind().dialect.name == "sqlite":
        _wall_sqlite()
    else:
        _wall_postgresql()


def _wall_sqlite() -> None:
    op.execute(
        "CREATE TRIGGER event_no_update BEFORE UPDATE ON event "
        "BEGIN SELECT RAISE(ABORT, 'append-only: event refuses UPDATE'); END"
    )
    op.execute(
        f"CREATE TRIGGER event_no_delete BEFORE DELETE ON event WHEN {KEPT} "
        "BEGIN SELECT RAISE(ABORT, 'append-only: event refuses DELETE of somebody who is not erased'); END"
    )


def _wall_postgresql() -> None:
    op.execute(
        "CREATE FUNCTION event_refuses() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
        f"IF TG_OP = 'DELETE' AND NOT ({KEPT}) THEN RETURN OLD; END IF; "
        "RAISE EXCEPTION 'append-only: event refuses %', TG_OP USING ERRCODE = 'restrict_violation'; "
        "END $$"
    )
    op.execute(
        "CREATE TRIGGER event_no_change BEFORE UPDATE OR DELETE ON event "
        "FOR EACH ROW EXECUTE FUNCTION event_refuses()"
    )
    op.execute(
        "CREATE TRIGGER event_no_truncate BEFORE TRUNCATE ON event "
        "FOR EACH STATEMENT EXECUTE FUNCTION ledger_refuses()"
    )
    for trigger in ("no_change", "no_truncate"):
        op.execute(f"ALTER TABLE event ENABLE ALWAYS TRIGGER event_{trigger}")
