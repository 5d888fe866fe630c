"""The walls around the ledger's tables, as anybody meets them who reaches the database."""

import sqlite3
from contextlib import closing
from hashlib import sha256

import pytest
from sqlalchemy import insert, text
from sqlalchemy.exc import DBAPIError

from service.db import Database, dedupe, insert_rows, leaf, log_state, node
from service.ledger.store import Known, dedupe_digest
from tests import running
from tests.servers import APP

ENTRY = b"an entry"
HASH = sha256(b"\x00" + ENTRY).digest()
ROWS = {
    "leaf": {"log_id": 1, "idx": 0, "hash": HASH, "entry": ENTRY},
    "node": {"log_id": 1, "level": 1, "idx": 0, "hash": HASH},
    "dedupe": {
        "log_id": 1,
        "key": b"key",
        "request": b"request",
        "idx": 0,
        "size": 1,
        "digest": dedupe_digest(b"key", Known(request=b"request", index=0, size=1)),
    },
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


def test_postgresql_refuses_an_idempotency_row_that_is_not_what_was_meant(filled_postgresql):
    with pytest.raises(DBAPIError, match="ck_dedupe_digest"), filled_postgresql.begin() as tx:
        tx.execute(insert(dedupe).values(**{**ROWS["dedupe"], "key": b"kez"}))


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


@pytest.fixture
def told(database):
    """A ledger with one person who consented."""
    with running.start(database) as intake:
        running.indexes(intake.record(running.people(1)))
    return database


def test_the_database_itself_refuses_to_change_an_event(told):
    refused(told, "UPDATE event SET category = 'consent.granted'")


def test_the_database_itself_refuses_to_delete_an_event_of_somebody_in_the_directory(told):
    refused(told, "DELETE FROM event WHERE category = 'consent.granted'")


def test_an_erasure_deletes_the_events_once_the_person_left_the_directory(told):
    with told.begin() as tx:
        tx.execute(text("DELETE FROM subject"))
        assert tx.execute(text("DELETE FROM event WHERE category = 'consent.granted'")).rowcount == 1


def test_postgresql_refuses_to_truncate_the_events(postgresql_url):
    with closing(Database(postgresql_url)) as database:
        refused(database, "TRUNCATE event")
