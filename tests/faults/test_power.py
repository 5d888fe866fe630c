"""Nobody is told that something is recorded before it would survive a power cut."""

import os
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import psycopg
import pytest

from service.db import Database
from service.ledger.proof import verify_receipt
from service.ledger.store import Store
from tests import running
from tests.conftest import IN_CI
from tests.faults import power
from tests.faults.load import look
from tests.servers import Postgres

EVENTS = 25
FLUSHED = "SELECT pg_current_wal_flush_lsn()"
COMMITS = (
    "SELECT l.idx, w.end_lsn FROM leaf AS l JOIN pg_get_wal_records_info(%s, %s) AS w ON w.xid = l.xmin "
    "WHERE w.resource_manager = 'Transaction' AND w.record_type LIKE 'COMMIT%%'"
)


@pytest.fixture
def library(disk: Path) -> Path:
    """Return the library that notes what a program asks of its disk, built here."""
    if power.compiler() is None:
        message = "a C compiler is missing (apt-get install gcc libc6-dev)"
        pytest.fail(message) if IN_CI else pytest.skip(message)
    return power.built(disk)


def record_and_say(url: str) -> None:
    """Run while it is noted: record events one by one, and say each receipt in one write."""
    with closing(Database(url)) as database, running.start(database) as intake:
        for number in range(EVENTS):
            told = running.claim(f"cut-{number}@example.org", key=f"cut-{number}")
            found = intake.submit(told).result(60)
            os.write(1, b"ack " + found.receipt().hex().encode() + b"\n")


def test_a_power_cut_at_any_acknowledgement_costs_no_acknowledged_event_of_sqlite(
    sqlite_url, disk, library, figures
):
    folder, left = disk / "held", disk / "left"
    folder.mkdir()
    path = shutil.copyfile(sqlite_url.removeprefix("sqlite:///"), folder / "ledger.db")
    before = power.Disk(folder)
    program = f"from tests.faults.test_power import record_and_say as go; go('sqlite:///{path}')"
    power.traced(program, disk / "trace", by=library)
    receipts: list[bytes] = []
    for said in before.replay(disk / "trace"):
        if not said.startswith(b"ack "):
            continue  # a line of its log
        receipts.append(bytes.fromhex(said[4:].decode().strip()))
        before.after_a_power_cut(left)
        if len(receipts) == EVENTS:
            with closing(Database(f"sqlite:///{left / 'ledger.db'}")) as survivor:
                look(survivor, receipts)
        else:
            assert held(left, receipts)
    assert len(receipts) == EVENTS
    figures("power cut at each acknowledgement (sqlite)", cuts=EVENTS, acknowledged=EVENTS, lost=0)


def held(left, receipts: list[bytes]) -> bool:
    """Whether every acknowledged entry can be read after the cut."""
    with closing(Database(f"sqlite:///{left / 'ledger.db'}")) as survivor, survivor.read() as tx:
        proven = [verify_receipt(data, [running.keys().log.verifier]).receipt for data in receipts]
        stored = Store(running.ORIGIN).entries(tx, [one.index for one in proven])
        return all(stored.get(one.index) == one.entry for one in proven)


@pytest.mark.parametrize(("synchronous", "loses"), [("FULL", False), ("NORMAL", True)])
def test_what_the_simulated_power_cut_takes_is_what_sqlite_says_it_may(
    disk, library, synchronous, loses, figures
):
    folder = disk / "held"
    folder.mkdir()
    with closing(sqlite3.connect(folder / "bare.db")) as connection:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("CREATE TABLE told (number INTEGER PRIMARY KEY)")
    before = power.Disk(folder)
    call = f"go({str(folder / 'bare.db')!r}, {synchronous!r}, {EVENTS})"
    power.traced(f"from tests.faults.power import write_and_say as go; {call}", disk / "trace", by=library)
    worst = acknowledged = 0
    for said in before.replay(disk / "trace"):
        acknowledged += said.startswith(b"ack ")
        left = before.after_a_power_cut(disk / "left")
        with closing(sqlite3.connect(left / "bare.db")) as survivor:
            [[found]] = survivor.execute("SELECT count(*) FROM told").fetchall()
        worst = max(worst, acknowledged - found)
    assert acknowledged == EVENTS
    assert (worst > 0) is loses
    figures(f"power cut, bare SQLite with synchronous={synchronous}", acknowledged=acknowledged, lost=worst)


def test_a_receipt_leaves_only_after_its_commit_is_on_postgresqls_disk(durable_postgres, figures):
    with psycopg.connect(durable_postgres.conninfo("ledger"), autocommit=True) as superuser:
        superuser.execute("CREATE EXTENSION pg_walinspect")
        early = receipts_before_their_commit(durable_postgres, superuser, "on")
        assert early == 0
        durable_postgres.set(wal_writer_delay="10s")
        superuser.execute("ALTER DATABASE ledger SET synchronous_commit = off")
        control = receipts_before_their_commit(durable_postgres, superuser, "off")
        assert control > 0, "this test could not have failed"
    figures("receipts before their commit was on disk (postgresql)", acknowledged=EVENTS, early=early)
    figures("the same with synchronous_commit = off, as a control", acknowledged=EVENTS, early=control)


def receipts_before_their_commit(postgres: Postgres, superuser: psycopg.Connection, name: str) -> int:
    """Record events one by one; return how many were acknowledged before their commit was flushed."""
    reached: dict[int, str] = {}
    with closing(Database(postgres.url("ledger"))) as database, running.start(database) as intake:
        [[begin]] = superuser.execute("SELECT pg_current_wal_insert_lsn()").fetchall()
        for one in running.people(EVENTS, name):
            found = intake.submit(one).result(60)
            [[reached[found.index]]] = superuser.execute(FLUSHED).fetchall()
    superuser.execute("SELECT pg_switch_wal()")
    [[end]] = superuser.execute(FLUSHED).fetchall()
    commits = dict(superuser.execute(COMMITS, [begin, end]).fetchall())
    return sum(_place(flushed) < _place(commits[index]) for index, flushed in reached.items())


def _place(lsn: str) -> int:
    high, low = lsn.split("/")
    return int(high, 16) << 32 | int(low, 16)
