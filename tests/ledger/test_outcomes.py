"""The sequencer when the database goes away, is full, or does not say whether it committed."""

from collections.abc import Sequence
from contextlib import closing

import pytest
from sqlalchemy import Connection, event
from sqlalchemy.exc import IntegrityError

from service.db import Database
from service.errors import Unavailable
from service.ledger.batch import Placed
from tests.ledger.writing import Notes, check, running_writer
from tests.proxy import between
from tests.waiting import until

PATIENCE_S = 5.0


@pytest.fixture
def writer(database):
    with running_writer(database) as writer:
        yield writer


@pytest.fixture
def far(postgresql_url):
    """A writer on PostgreSQL, with a proxy in between."""
    with (
        between(postgresql_url) as (proxy, url),
        closing(Database(url)) as database,
        running_writer(database, patience_s=PATIENCE_S) as writer,
    ):
        yield writer, proxy


@pytest.mark.parametrize("reached", [True, False])
def test_a_line_cut_at_the_commit_loses_nothing_and_repeats_nothing(far, reached):
    writer, proxy = far
    writer.record("first=a")
    with writer.held():
        futures = writer.submit(*(f"k{n}=a" for n in range(5)))
    proxy.arm(reached=reached)
    more = writer.submit(*(f"m{n}=a" for n in range(5)))
    found = [future.result(60) for future in [*futures, *more]]
    assert sorted(one.index for one in found) == list(range(1, 11))
    for number, one in enumerate(found):
        check(one, f"{'km'[number // 5]}{number % 5}=a")
    assert proxy.cuts == 0
    assert writer.size() == 11
    assert writer.sequencer.healthy


def test_a_line_that_is_cut_every_time_takes_nothing_new_until_it_holds(far):
    writer, proxy = far
    writer.record("first=a")
    proxy.arm(reached=False, cuts=1000)
    [future] = writer.submit("k=a")
    until(lambda: not writer.sequencer.healthy, within_s=30)
    with pytest.raises(Unavailable):
        writer.submit("another=a")
    assert not future.done()
    proxy.cuts = 0
    check(future.result(60), "k=a")
    check(writer.record("another=a")[0], "another=a")
    assert writer.size() == 3


def test_a_waiter_in_doubt_is_told_so_when_our_patience_ends_and_its_retry_is_safe(far):
    writer, proxy = far
    writer.record("first=a")
    proxy.arm(reached=True)
    proxy.closed_after_cut = True
    [future] = writer.submit("k=a")
    with pytest.raises(Unavailable, match="same key"):
        future.result(60)
    assert not writer.sequencer.healthy
    proxy.closed_after_cut = proxy.closed = False
    until(lambda: writer.sequencer.healthy, within_s=30)
    [again] = writer.record("k=a")
    assert again.duplicate
    check(again, "k=a")
    assert writer.size() == 2


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_mistake_of_ours_answers_everybody_and_stops_the_sequencer(sqlite_url):
    class Mistaken(Notes):
        def attach(self, _tx: Connection, _placed: Sequence[Placed]) -> None:
            raise ZeroDivisionError

    with closing(Database(sqlite_url)) as database, running_writer(database) as writer:
        writer.sequencer._journal = Mistaken()
        futures = writer.submit("k1=a", "k2=a")
        for future in futures:
            with pytest.raises(Unavailable):
                future.result(60)
        until(lambda: not writer.sequencer.healthy, within_s=30)
        assert writer.size() == 0


def test_a_database_that_is_away_refuses_at_once_and_is_used_again_when_it_is_back(durable_postgres):
    with closing(Database(durable_postgres.url("ledger"))) as database, running_writer(database) as writer:
        writer.record("before=a")
        durable_postgres.stop()
        with pytest.raises(Unavailable):
            writer.record("away=a")
        durable_postgres.start()
        [found] = writer.record("away=a")
        check(found, "away=a")
        assert writer.size() == 2


def test_a_full_disk_refuses_writes_nothing_by_halves_and_is_used_again_with_space(sqlite_url):
    pages = [0]

    def limit(connection, _record, _proxy) -> None:
        connection.execute(f"PRAGMA max_page_count = {pages[0] or 1_000_000}")

    with closing(Database(sqlite_url)) as database, running_writer(database) as writer:
        writer.record("before=a")
        with database.read() as tx:
            pages[0] = tx.exec_driver_sql("PRAGMA page_count").scalar_one()
        event.listen(database.engine, "checkout", limit)
        long = "x" * 20_000
        with pytest.raises(Unavailable, match="nothing was recorded"):
            writer.record(f"full={long}")
        with database.read() as tx:
            assert writer.store.size(tx) == 1
            assert len(writer.store.entries(tx, range(10))) == 1
        pages[0] = 0
        check(writer.record(f"full={long}")[0], "full=")
        assert writer.size() == 2


def test_an_integrity_error_is_told_apart_from_a_lost_line(writer):
    with pytest.raises(IntegrityError), writer.database.begin() as tx:
        writer.notes.attach(tx, [Placed(writer.notes._submission("k=tripping"), 0, (b"",))])
