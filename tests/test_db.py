"""The walls around the ledger's tables, times, transactions and the migration, on every store."""

import sqlite3
from contextlib import closing
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from threading import Event, Thread

import psycopg
import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import MetaData, create_engine, insert, select, text
from sqlalchemy.exc import DBAPIError, OperationalError

from service import db
from service.db import Database, dedupe, insert_rows, leaf, log_state, migrate, node, tick
from service.errors import Misconfigured
from tests.servers import APP

ENTRY = b"an entry"
HASH = sha256(b"\x00" + ENTRY).digest()
ROWS = {
    "leaf": {"log_id": 1, "idx": 0, "hash": HASH, "entry": ENTRY},
    "node": {"log_id": 1, "level": 1, "idx": 0, "hash": HASH},
    "dedupe": {"log_id": 1, "key": b"key", "request": b"request", "idx": 0, "size": 1},
}
KEYS = {"leaf": "log_id, idx", "node": "log_id, level, idx", "dedupe": "log_id, key"}
OTHER = {"leaf": "entry", "node": "hash", "dedupe": "request"}
TABLES = {"leaf": leaf, "node": node, "dedupe": dedupe}
ledger_tables = pytest.mark.parametrize("table", sorted(ROWS))


@pytest.fixture
def filled(database) -> Database:
    """A database with one row in each table of the ledger."""
    with database.begin() as tx:
        tx.execute(insert(log_state).values(log_id=1, origin="a.example/log", size=5, edge=b"", head=b""))
        for name, row in ROWS.items():
            tx.execute(insert(TABLES[name]).values(**row))
    return database


@pytest.fixture
def filled_file(sqlite_url, tmp_path) -> str:
    """A SQLite file with one row in each table, to be opened by a stranger."""
    with closing(Database(sqlite_url)) as database, database.begin() as tx:
        tx.execute(insert(log_state).values(log_id=1, origin="a.example/log", size=5, edge=b"", head=b""))
        for name, row in ROWS.items():
            tx.execute(insert(TABLES[name]).values(**row))
    return str(tmp_path / "ledger.db")


def refused(database: Database, statement: str, **values: object) -> None:
    with pytest.raises(DBAPIError, match=r"append-only|not authorized|prohibited"), database.begin() as tx:
        tx.execute(text(statement), values)


@ledger_tables
def test_the_database_itself_refuses_an_update(filled, table):
    refused(filled, f"UPDATE {table} SET {OTHER[table]} = {OTHER[table]}")


@ledger_tables
def test_the_database_itself_refuses_a_delete(filled, table):
    refused(filled, f"DELETE FROM {table}")


@ledger_tables
def test_the_database_itself_refuses_an_upsert(filled, table):
    names, marks = ", ".join(ROWS[table]), ", ".join(f":{name}" for name in ROWS[table])
    refused(
        filled,
        f"INSERT INTO {table} ({names}) VALUES ({marks}) "
        f"ON CONFLICT ({KEYS[table]}) DO UPDATE SET {OTHER[table]} = excluded.{OTHER[table]}",
        **ROWS[table],
    )


def test_the_log_is_never_deleted(filled):
    refused(filled, "DELETE FROM log_state")


@pytest.mark.parametrize("change", ["size = 4", "origin = 'b.example/log'", "log_id = 2"])
def test_the_log_never_shrinks_and_keeps_its_name(filled, change):
    refused(filled, f"UPDATE log_state SET {change}")


def test_the_log_may_grow(filled):
    with filled.begin() as tx:
        assert tx.execute(text("UPDATE log_state SET size = 6")).rowcount == 1


# --- PostgreSQL ---


@pytest.fixture
def filled_postgresql(postgresql_url):
    """A connection of the tables' owner to a PostgreSQL database with one row in each."""
    with closing(Database(postgresql_url)) as database:
        with database.begin() as tx:
            tx.execute(insert(log_state).values(log_id=1, origin="a.example/log", size=5, edge=b"", head=b""))
            for name, row in ROWS.items():
                tx.execute(insert(TABLES[name]).values(**row))
        yield database


@pytest.mark.parametrize("table", [*sorted(ROWS), "log_state"])
def test_postgresql_refuses_to_truncate(filled_postgresql, table):
    refused(filled_postgresql, f"TRUNCATE {table}")


def test_postgresql_hashes_each_leaf_again(filled_postgresql):
    with pytest.raises(DBAPIError, match="ck_leaf_hash"), filled_postgresql.begin() as tx:
        tx.execute(insert(leaf).values(log_id=1, idx=1, hash=bytes(32), entry=ENTRY))


def test_postgresql_refuses_an_entry_beyond_64_kilobytes(filled_postgresql):
    long = bytes(65_536)
    with pytest.raises(DBAPIError, match="ck_leaf_hash"), filled_postgresql.begin() as tx:
        tx.execute(insert(leaf).values(log_id=1, idx=1, hash=sha256(b"\x00" + long).digest(), entry=long))


@ledger_tables
def test_session_replication_role_does_not_take_the_walls_down(filled_postgresql, table):
    # Only a superuser may set it; the triggers are ENABLE ALWAYS for that very case.
    url = filled_postgresql.engine.url.set(username="postgres")
    with closing(Database(url.render_as_string(hide_password=False))) as superuser:
        for statement in (f"DELETE FROM {table}", f"UPDATE {table} SET idx = 9", f"TRUNCATE {table}"):
            with superuser.engine.connect() as tx:
                tx.execute(text("SET LOCAL session_replication_role = replica"))
                with pytest.raises(DBAPIError, match="append-only"):
                    tx.execute(text(statement))


@pytest.fixture
def as_app(filled_postgresql):
    """The same database as the role that the running service has."""
    url = filled_postgresql.engine.url.set(username=APP)
    with closing(Database(url.render_as_string(hide_password=False))) as app:
        yield app


FORBIDDEN = (
    "UPDATE leaf SET entry = entry",
    "DELETE FROM leaf",
    "TRUNCATE leaf",
    "DELETE FROM log_state",
    "TRUNCATE log_state",
    "UPDATE dedupe SET request = request",
    "DELETE FROM node",
    "ALTER TABLE leaf DISABLE TRIGGER ALL",
    "ALTER TABLE leaf DROP CONSTRAINT ck_leaf_hash",
    "DROP TABLE leaf",
    "DROP FUNCTION ledger_refuses CASCADE",
    "SET session_replication_role = replica",
    "CREATE TABLE mine (n int)",
    "COPY leaf FROM PROGRAM 'true'",
)


def test_the_services_role_can_do_none_of_what_the_walls_forbid(as_app):
    wall = r"permission denied|must be owner|must be superuser|denied to COPY"
    for statement in FORBIDDEN:
        with as_app.engine.connect() as tx, pytest.raises(DBAPIError, match=wall):
            tx.execute(text(statement))


def test_the_services_role_can_append(as_app):
    entry = b"another"
    with as_app.begin() as tx:
        row = {"log_id": 1, "idx": 1, "hash": sha256(b"\x00" + entry).digest(), "entry": entry}
        insert_rows(tx, leaf, [row])
        tx.execute(text("UPDATE log_state SET size = 6"))


def test_a_commit_whose_wait_for_the_standby_was_cancelled_is_no_success(durable_postgres):
    superuser = psycopg.connect(durable_postgres.conninfo(), autocommit=True)
    superuser.execute("ALTER SYSTEM SET synchronous_standby_names = 'a_standby_that_is_away'")
    superuser.execute("SELECT pg_reload_conf()")
    cancelled = Event()

    def cancel() -> None:
        while not cancelled.wait(0.05):
            superuser.execute(
                "SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE wait_event = 'SyncRep'"
            )

    with closing(superuser), closing(Database(durable_postgres.url("ledger"))) as database:
        thread = Thread(target=cancel)
        thread.start()
        try:
            with pytest.raises(OperationalError, match="replication"), database.begin() as tx:
                tx.execute(insert(tick).values(job="j", turn="t", taken_at=datetime.now(UTC), taken_by="me"))
        finally:
            cancelled.set()
            thread.join()
        superuser.execute("ALTER SYSTEM RESET synchronous_standby_names")
        superuser.execute("SELECT pg_reload_conf()")
        with database.begin() as tx:
            assert tx.scalar(select(tick.c.job)) == "j"  # it is there, and nobody was told so


# --- SQLite, from a connection that set no PRAGMA and has no authorizer ---


@ledger_tables
@pytest.mark.parametrize("pragma", ["recursive_triggers = OFF", "recursive_triggers = ON"])
def test_sqlite_refuses_to_replace_on_a_strangers_connection(filled_file, table, pragma):
    names, marks = ", ".join(ROWS[table]), ", ".join("?" * len(ROWS[table]))
    with closing(sqlite3.connect(filled_file)) as stranger:
        stranger.execute(f"PRAGMA {pragma}")
        for verb in ("INSERT OR REPLACE", "REPLACE"):
            with pytest.raises(sqlite3.DatabaseError, match="append-only"):
                stranger.execute(f"{verb} INTO {table} ({names}) VALUES ({marks})", [*ROWS[table].values()])
        for verb in ("UPDATE", "UPDATE OR REPLACE"):
            with pytest.raises(sqlite3.DatabaseError, match="append-only"):
                stranger.execute(f"{verb} {table} SET {OTHER[table]} = x'00'")
        with pytest.raises(sqlite3.DatabaseError, match="append-only"):
            stranger.execute(f"DELETE FROM {table}")


@ledger_tables
def test_sqlite_has_no_hidden_row_number_to_replace_by(filled_file, table):
    names, marks = ", ".join(ROWS[table]), ", ".join("?" * len(ROWS[table]))
    other = {**ROWS[table], "log_id": 2}
    statement = f"INSERT OR REPLACE INTO {table} (rowid, {names}) VALUES (1, {marks})"
    stranger = sqlite3.connect(filled_file)
    with closing(stranger), pytest.raises(sqlite3.OperationalError, match="rowid"):
        stranger.execute(statement, [*other.values()])


@pytest.mark.parametrize("row", [(1, "b.example/log"), (2, "a.example/log")])
def test_sqlite_refuses_to_replace_the_head(filled_file, row):
    with (
        closing(sqlite3.connect(filled_file)) as stranger,
        pytest.raises(sqlite3.DatabaseError, match="append-only"),
    ):
        stranger.execute(
            "INSERT OR REPLACE INTO log_state (log_id, origin, size, edge, head) VALUES (?, ?, 0, x'', x'')",
            row,
        )


@pytest.mark.parametrize(
    "statement",
    [
        "DROP TRIGGER leaf_no_delete",
        "DROP TABLE leaf",
        "ALTER TABLE leaf RENAME TO gone",
        "CREATE TRIGGER t AFTER INSERT ON leaf BEGIN SELECT 1; END",
        "ATTACH ':memory:' AS other",
        "PRAGMA writable_schema = ON",
        "PRAGMA recursive_triggers = OFF",
        "PRAGMA synchronous = OFF",
    ],
)
def test_our_own_connection_cannot_take_the_walls_down(sqlite_url, statement):
    wall = pytest.raises(DBAPIError, match="not authorized")
    with closing(Database(sqlite_url)) as database, database.begin() as tx, wall:
        tx.exec_driver_sql(statement)


def test_sqlite_syncs_every_commit_to_disk_in_write_ahead_mode(sqlite_url):
    with closing(Database(sqlite_url)) as database, database.read() as tx:
        found = [tx.exec_driver_sql(f"PRAGMA {name}").scalar() for name in ("journal_mode", "synchronous")]
    assert found == ["wal", 2]


def test_a_new_sqlite_file_is_readable_by_its_owner_alone(tmp_path):
    path = tmp_path / "new" / "ledger.db"
    with closing(Database(f"sqlite:///{path}")):
        assert path.stat().st_mode & 0o777 == 0o600
        assert path.parent.stat().st_mode & 0o777 == 0o700


# --- transactions, times, bulk ---


def test_a_writer_on_sqlite_takes_the_lock_at_the_beginning(sqlite_url):
    with closing(Database(sqlite_url)) as database:
        stranger = sqlite3.connect(database.engine.url.database, timeout=0, isolation_level=None)
        with closing(stranger):
            with database.begin(), pytest.raises(sqlite3.OperationalError, match="locked"):
                stranger.execute("BEGIN IMMEDIATE")
            with database.read():
                stranger.execute("BEGIN IMMEDIATE")


def test_a_reader_sees_one_state_however_much_is_written_meanwhile(database):
    moment = datetime.now(UTC)
    with database.read() as reader:
        assert reader.scalars(select(tick.c.turn)).all() == []
        with database.begin() as tx:
            tx.execute(insert(tick).values(job="j", turn="t", taken_at=moment, taken_by="me"))
        assert reader.scalars(select(tick.c.turn)).all() == []
    with database.read() as reader:
        assert reader.scalars(select(tick.c.turn)).all() == ["t"]


def test_a_reader_cannot_write_on_postgresql(postgresql_url):
    wall = pytest.raises(DBAPIError, match="read-only")
    with closing(Database(postgresql_url)) as database, database.read() as tx, wall:
        tx.execute(text("DELETE FROM tick"))


def write_and_fail(database: Database) -> None:
    with database.begin() as tx:
        tx.execute(insert(tick).values(job="j", turn="t", taken_at=datetime.now(UTC), taken_by="me"))
        raise ZeroDivisionError


def test_an_error_rolls_the_whole_transaction_back(database):
    with pytest.raises(ZeroDivisionError):
        write_and_fail(database)
    with database.read() as tx:
        assert tx.scalar(select(tick.c.job)) is None


@pytest.mark.parametrize(
    "moment",
    [
        datetime(2026, 3, 1, 9, 15, 30, 123000, UTC),
        datetime(1969, 12, 31, 23, 59, 59, 999000, UTC),
        datetime(2199, 1, 1, tzinfo=UTC),
    ],
)
@pytest.mark.parametrize("bulk", [False, True])
def test_a_moment_comes_back_as_it_was_to_the_millisecond(database, moment, bulk):
    row = {"job": "j", "turn": "t", "taken_at": moment + timedelta(microseconds=456), "taken_by": "me"}
    with database.begin() as tx:
        insert_rows(tx, tick, [row]) if bulk else tx.execute(insert(tick).values(**row))
    with database.read() as tx:
        found = tx.execute(select(tick.c.taken_at)).scalar_one()
    assert (found, found.tzinfo) == (moment, UTC)


def test_rows_in_bulk_are_those_of_a_plain_insert(database):
    moment = datetime(2026, 3, 1, tzinfo=UTC)
    rows = [
        {
            "log_id": 1,
            "idx": n,
            "sub": bytes([n]) * 32,
            "category": "consent.granted",
            "purpose": None if n % 2 else "ünïcode {}, \"quoted\" \\ 'text'",
            "occurred_at": moment,
            "recorded_at": moment,
            "source": "NULL",
            "provenance": "live",
            "grade": "",
            "valid_until": None if n % 3 else moment,
        }
        for n in range(7)
    ]
    with database.begin() as tx:
        insert_rows(tx, db.happening, rows)
        insert_rows(tx, db.happening, [])
    with database.read() as tx:
        found = tx.execute(select(db.happening).order_by(db.happening.c.idx)).mappings().all()
    assert [dict(row) for row in found] == rows


def test_a_column_of_nothing_but_nulls_can_be_inserted_in_bulk(database):
    moment = datetime(2026, 3, 1, tzinfo=UTC)
    row = {
        "id": "1",
        "name": "n",
        "secret_sha256": b"s",
        "scopes": "",
        "created_at": moment,
        "revoked_at": None,
    }
    with database.begin() as tx:
        insert_rows(tx, db.api_key, [row])
    with database.read() as tx:
        assert tx.execute(select(db.api_key)).mappings().one() == row


# --- migration ---


def test_migrating_twice_is_safe_and_keeps_the_rows(filled):
    with filled.begin() as tx:
        tx.execute(insert(tick).values(job="j", turn="t", taken_at=datetime.now(UTC), taken_by="me"))
    migrate(filled.url)
    with filled.read() as tx:
        assert tx.scalar(select(leaf.c.entry)) == ENTRY
        assert tx.scalar(select(tick.c.job)) == "j"


def test_the_migrations_make_exactly_the_tables_that_the_code_names(database):
    with database.engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, db.metadata) == []


def test_a_database_without_tables_is_refused_with_what_to_do(tmp_path):
    database = Database(f"sqlite:///{tmp_path / 'empty.db'}")
    with closing(database), pytest.raises(Misconfigured, match="consent-ledger migrate"):
        db.require_current(database)


def test_a_migrated_database_is_current(database):
    db.require_current(database)


def test_a_migration_without_the_services_role_succeeds(empty_postgresql_url):
    migrate(empty_postgresql_url)
    engine = create_engine(empty_postgresql_url)
    found = MetaData()
    found.reflect(engine)
    engine.dispose()
    assert set(db.metadata.tables) <= set(found.tables)


def test_other_databases_are_refused_by_the_variables_name():
    with pytest.raises(Misconfigured, match="CONSENT_DATABASE_URL"):
        Database("mysql://root@db/ledger")
