"""What happens to PostgreSQL under us: shut down at once, cut off, out of disk, or not replicated."""

import time
from contextlib import closing
from uuid import uuid4

import psycopg
import pytest

from service.db import Database, migrate
from tests import running, servers
from tests.faults.conftest import Pair, small_disk
from tests.faults.load import Load, look
from tests.proxy import between
from tests.scrubbing import findings
from tests.servers import Postgres
from tests.test_crash import A_ROUND_S, BEGIN_S, ROUNDS
from tests.waiting import until

CUTS = 20
WAITING = "SELECT pid FROM pg_stat_activity WHERE wait_event = 'SyncRep'"


@pytest.mark.crash
@pytest.mark.timeout(BEGIN_S + ROUNDS * A_ROUND_S)
@pytest.mark.parametrize("end", [Postgres.stop_at_once, Postgres.kill], ids=["immediate shutdown", "kill -9"])
def test_a_server_that_ends_at_once_under_load_costs_no_acknowledged_event(durable_postgres, end, figures):
    outages: list[float] = []
    with closing(Database(durable_postgres.url("ledger"))) as database, running.start(database) as intake:
        load = Load(intake, "down")
        with load.running():
            for number in range(ROUNDS):
                reached = len(load.receipts)
                until(lambda reached=reached: len(load.receipts) >= reached + 20, within_s=60)
                began, known = time.monotonic(), len(load.receipts)
                end(durable_postgres)
                durable_postgres.start()
                until(lambda known=known: len(load.receipts) > known + 8, within_s=60)
                outages.append(time.monotonic() - began)
                assert intake.trouble is None, number
        entries = look(database, load.receipts)
        assert findings(database) == []
    figures(
        f"{'kill -9' if end is Postgres.kill else 'immediate shutdown'} of PostgreSQL under load",
        rounds=len(outages),
        acknowledged=len(load.receipts),
        lost=0,
        duplicates=0,
        asked_again=load.refused,
        entries=entries,
        worst_outage_s=round(max(outages), 2),
    )


def test_lines_cut_around_the_commit_cost_and_repeat_nothing(postgresql_url, figures):
    with (
        between(postgresql_url) as (proxy, url),
        closing(Database(url)) as database,
        running.start(database) as intake,
    ):
        load = Load(intake, "cut")
        with load.running():
            for number in range(CUTS):
                reached = len(load.receipts)
                until(lambda reached=reached: len(load.receipts) >= reached + 8, within_s=60)
                proxy.arm(reached=bool(number % 2))
                until(lambda: not proxy.cuts, within_s=60)
        entries = look(database, load.receipts)
        assert findings(database) == []
    figures(
        "line cut around COMMIT (postgresql)",
        cuts=CUTS,
        acknowledged=len(load.receipts),
        lost=0,
        duplicates=0,
        asked_again=load.refused,
        entries=entries,
    )


def test_a_wait_for_the_standby_that_an_operator_cancels_is_unknown_until_it_is_replicated(
    pair: Pair, figures
):
    with closing(Database(pair.primary.url("ledger"))) as database, running.start(database) as intake:
        receipts = [one.receipt() for one in intake.record(running.people(3, "before"))]
        pair.standby.stop()
        future = intake.submit(running.claim("cancelled@example.org"))
        cancelled = on_waiting(pair.primary, "pg_cancel_backend", times=3)
        assert not future.done()  # success and a warning is not success
        assert not intake.healthy
        pair.standby.start()
        receipts.append(future.result(60).receipt())
    assert kept_by_the_standby(pair, receipts)
    figures(
        "cancelled wait for replication",
        cancelled=cancelled,
        acknowledged_before_replication=0,
        lost_at_failover=0,
    )


def test_a_retry_is_answered_only_once_what_it_repeats_is_replicated(pair: Pair, figures):
    told = running.claim("retried@example.org", key="retried")
    with closing(Database(pair.primary.url("ledger"))) as database, running.start(database) as intake:
        receipts = [one.receipt() for one in intake.record(running.people(3, "before"))]
        pair.standby.stop()
        first = intake.submit(told)
        on_waiting(pair.primary, "pg_terminate_backend", times=1)
        until(lambda: visible(pair.primary) == 3 * 2 + 1 + 2, within_s=30)
        with closing(Database(pair.primary.url("ledger"))) as other, running.start(other) as second:
            again = second.submit(running.again(told))
            on_waiting(pair.primary, "", times=1)  # it does wait, although the row can be read
            began = time.monotonic()
            time.sleep(0.5)
            assert not first.done()
            assert not again.done()
            pair.standby.start()
            receipts.append(again.result(60).receipt())
            held_s = time.monotonic() - began
        assert first.result(60).receipt() == receipts[-1]
    assert kept_by_the_standby(pair, receipts)
    figures(
        "retry of what was not replicated",
        acknowledged_before_replication=0,
        held_back_s=round(held_s, 2),
        lost_at_failover=0,
    )


def on_waiting(primary: Postgres, act: str, *, times: int) -> int:
    """Do this to a backend that waits for the standby, so many times; return how often it was done."""
    done = 0
    with psycopg.connect(primary.conninfo(), autocommit=True) as superuser:
        deadline = time.monotonic() + 30
        while done < times:
            assert time.monotonic() < deadline, "nothing waits for the standby"
            for (pid,) in superuser.execute(WAITING).fetchall():
                if act:
                    superuser.execute(f"SELECT {act}(%s)", [pid])
                done += 1
            time.sleep(0.05)
    return done


def visible(primary: Postgres) -> int:
    with psycopg.connect(primary.conninfo("ledger")) as reader:
        return reader.execute("SELECT count(*) FROM leaf").fetchone()[0]


def kept_by_the_standby(pair: Pair, receipts: list[bytes]) -> bool:
    """Lose the primary for good, and judge the standby by every receipt."""
    pair.primary.kill()
    with psycopg.connect(pair.standby.conninfo(), autocommit=True) as superuser:
        superuser.execute("SELECT pg_promote()")
    with closing(Database(pair.standby.url("ledger"))) as survivor:
        look(survivor, receipts)
        return findings(survivor) == []


def test_a_disk_that_fills_under_load_stops_the_server_and_costs_no_acknowledged_event(shared, figures):
    folder = shared / f"own-{uuid4().hex[:8]}"
    small = {"wal_init_zero": "off", "max_wal_size": "64MB", "min_wal_size": "32MB"}
    with small_disk(folder, 200) as fill:
        server = servers.start("postgresql", folder / "pg", servers.DURABLE | small, shared=shared)
        try:
            server.create_database("ledger")
            migrate(server.url("ledger"))
            with closing(Database(server.url("ledger"))) as database, running.start(database) as intake:
                load = Load(intake, "full")
                with load.running():
                    until(lambda: len(load.receipts) > 20, within_s=60)
                    fill(full=True)
                    until(lambda: load.refused > 20, within_s=100)
                    known = len(load.receipts)
                    fill(full=False)
                    began = time.monotonic()
                    restarted = up_again(server)
                    until(lambda: len(load.receipts) > known + 20, within_s=60)
                    took_s = time.monotonic() - began
                entries = look(database, load.receipts)
                assert findings(database) == []
        finally:
            server.stop()
    figures(
        "disk full (postgresql)",
        acknowledged=len(load.receipts),
        lost=0,
        asked_again=load.refused,
        entries=entries,
        server_stopped=restarted,
        back_after_s=round(took_s, 2),
    )


def up_again(server: Postgres) -> bool:
    """Start the server if it ended itself, as it does when it cannot write its log; tell whether it had."""
    try:
        with psycopg.connect(server.conninfo()):
            return False
    except psycopg.OperationalError:
        server.stop()
        server.start()
        return True
