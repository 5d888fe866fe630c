"""Transactions, times, rows in bulk and the migration, on every store."""

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
from service.db import Database, insert_rows, leaf, migrate, tick
from service.errors import Misconfigured
from tests.servers import impatient


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
            "fact": None if n % 2 else "purchase",
            "fact_at": None if n % 2 else moment,
            "conditions": None,
            "country": "CA",
            "hint": None,
        }
        for n in range(7)
    ]
    with database.begin() as tx:
        insert_rows(tx, db.happening, rows)
        insert_rows(tx, db.happening, [])
    with database.read() as tx:
        found = tx.execute(select(db.happening).order_by(db.happening.c.idx)).mappings().all()
    assert [{name: row[name] for name in rows[0]} for row in found] == rows


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


def test_who_is_silent_for_too_long_in_a_transaction_loses_it_and_what_it_held(postgresql_url):
    held, heard = Event(), Event()

    def freeze(ours: Database) -> None:
        with ours.begin() as tx:
            tx.execute(text("LOCK TABLE tick"))
            held.set()
            assert heard.wait(20)
            tx.execute(select(tick.c.job))

    def frozen_to_death(ours: Database) -> None:
        with pytest.raises(DBAPIError):
            freeze(ours)

    with closing(Database(impatient(postgresql_url, 200))) as ours:
        frozen = Thread(target=frozen_to_death, args=(ours,))
        frozen.start()
        assert held.wait(20)
        with ours.begin() as tx:
            tx.execute(insert(tick).values(job="a", turn="b", taken_at=datetime.now(UTC), taken_by="c"))
        heard.set()
        frozen.join()
        with ours.read() as tx:
            assert tx.scalars(select(tick.c.job)).all() == ["a"]


def test_a_minute_is_too_long_unless_the_url_says_otherwise(postgresql_url):
    with closing(Database(postgresql_url)) as ours, ours.read() as tx:
        assert tx.scalar(text("SHOW idle_in_transaction_session_timeout")) == "1min"


def test_sqlite_syncs_every_commit_to_disk_in_write_ahead_mode(sqlite_url):
    with closing(Database(sqlite_url)) as database, database.read() as tx:
        found = [tx.exec_driver_sql(f"PRAGMA {name}").scalar() for name in ("journal_mode", "synchronous")]
    assert found == ["wal", 2]


def test_a_new_sqlite_file_is_readable_by_its_owner_alone(tmp_path):
    path = tmp_path / "new" / "ledger.db"
    with closing(Database(f"sqlite:///{path}")):
        assert path.stat().st_mode & 0o777 == 0o600
        assert path.parent.stat().st_mode & 0o777 == 0o700


def test_migrating_twice_is_safe_and_keeps_the_rows(database):
    entry = b"an entry"
    with database.begin() as tx:
        row = {"log_id": 1, "idx": 0, "hash": sha256(b"\x00" + entry).digest(), "entry": entry}
        tx.execute(insert(leaf).values(**row))
        tx.execute(insert(tick).values(job="j", turn="t", taken_at=datetime.now(UTC), taken_by="me"))
    migrate(database.url)
    with database.read() as tx:
        assert tx.scalar(select(leaf.c.entry)) == entry
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


def test_no_table_takes_rows_of_another_with_it():
    assert {name for name, table in db.metadata.tables.items() if table.foreign_keys} == set()
