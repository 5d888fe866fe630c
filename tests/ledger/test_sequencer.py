"""The sequencer: grouped, strict about keys, patient with callers and never half done."""

from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing

import pytest

from service.db import Database
from service.errors import Busy, KeyReused, Refused, Unavailable
from service.ledger.batch import Appended
from service.ledger.sequencer import LONGEST_QUEUE
from tests.ledger.writing import Notes, Writer, check, running_writer


@pytest.fixture
def writer(database):
    with running_writer(database) as writer:
        yield writer


@pytest.fixture
def on_sqlite(sqlite_url):
    """For what does not depend on the store."""
    with closing(Database(sqlite_url)) as database, running_writer(database) as writer:
        yield writer


def test_what_is_submitted_gets_the_next_place_and_a_receipt_that_proves_it(writer):
    for number in range(3):
        [found] = writer.record(f"k{number}=a")
        head = check(found, f"k{number}=a")
        assert (found.index, head.size, found.duplicate) == (number, number + 1, False)


def test_events_that_wait_together_are_committed_together(writer):
    with writer.held():
        futures = writer.submit(*(f"k{n}=a" for n in range(500)))
    found = [future.result(60) for future in futures]
    assert sorted(one.index for one in found) == list(range(500))
    for number, one in enumerate(found):
        check(one, f"k{number}=a")
    assert len(writer.commits) < 10


def test_a_receipt_is_released_only_after_the_commit(sqlite_url):
    futures: list[Future[Appended]] = []
    seen: list[bool] = []
    database = Database(sqlite_url)
    watched = running_writer(database, watch=lambda: seen.extend(one.done() for one in futures))
    with closing(database), watched as writer:
        with writer.held():
            futures.extend(writer.submit("k1=a", "k2=a", "k3=a"))
            assert not any(one.done() for one in futures)
        assert all(one.result(60) for one in futures)
    assert len(seen) >= 3
    assert not any(seen)


def test_several_entries_of_one_request_stand_together_and_the_last_is_proven(writer):
    first, second = (future.result(60) for future in writer.submit("k1=opens", "k2=a"))
    assert (first.entry, first.index) == (b"k1=opens #1", 1)
    check(second, "k2=a")
    assert writer.size() == 3


def test_a_storm_of_one_request_becomes_one_entry_and_as_many_equal_receipts(writer):
    with ThreadPoolExecutor(64) as pool:
        found = list(pool.map(lambda _: writer.record("k=a")[0], range(64)))
    assert writer.size() == 1
    assert len({(one.index, one.entry, one.proof, one.checkpoint) for one in found}) == 1
    assert [one.duplicate for one in found].count(False) == 1


def test_a_retry_gets_the_first_receipt_again_however_long_the_log_is_by_then(writer):
    [first] = writer.record("k=a")
    writer.record(*(f"other{n}=a" for n in range(300)))
    [again] = writer.record("k=a")
    assert again.duplicate
    assert (again.index, again.entry, again.proof, again.checkpoint) == (
        first.index,
        first.entry,
        first.proof,
        first.checkpoint,
    )


def test_a_key_that_names_another_request_is_refused_and_the_others_are_recorded(writer):
    writer.record("k=a")
    with writer.held():
        bad, good, worse = writer.submit("k=b", "g=a", "g=b")
    with pytest.raises(KeyReused) as refused:
        bad.result(60)
    assert refused.value.index == 0
    check(good.result(60), "g=a")
    with pytest.raises(KeyReused):
        worse.result(60)
    assert writer.size() == 2


def test_a_draft_that_cannot_be_prepared_is_refused_by_itself(writer):
    with writer.held():
        bad, good = writer.submit("k1=refused", "k2=a")
    with pytest.raises(Refused):
        bad.result(60)
    check(good.result(60), "k2=a")


def test_a_row_that_the_database_refuses_spoils_no_other_event(writer):
    with writer.held():
        first, bad, last = writer.submit("k1=a", "k2=tripping", "k3=a")
    with pytest.raises(Unavailable, match="nothing was recorded"):
        bad.result(60)
    assert {first.result(60).index, last.result(60).index} == {0, 1}
    assert writer.size() == 2


def test_a_preparation_that_went_stale_is_made_again(on_sqlite):
    on_sqlite.notes.stale_once = {"k1=a"}
    with on_sqlite.held():
        stale, good = on_sqlite.submit("k1=a", "k2=a")
    assert (good.result(60).index, stale.result(60).index) == (0, 1)


def fill(writer: Writer, accepted: list[Future[Appended]]) -> Busy:
    try:
        while True:
            accepted.extend(writer.submit(f"k{len(accepted)}=a"))
    except Busy as refusal:
        return refusal


def test_a_full_queue_refuses_and_accepts_nothing_by_halves(on_sqlite):
    accepted: list[Future[Appended]] = []
    with on_sqlite.held():
        refusal = fill(on_sqlite, accepted)
    assert refusal.retry_after_s >= 1
    assert len(accepted) >= LONGEST_QUEUE
    assert {future.result(60).index for future in accepted} == set(range(len(accepted)))
    check(on_sqlite.record("later=a")[0], "later=a")
    assert on_sqlite.size() == len(accepted) + 1


def test_stopping_records_what_was_accepted_and_refuses_the_rest(on_sqlite):
    with on_sqlite.held():
        accepted = on_sqlite.submit(*(f"k{n}=a" for n in range(2000)))
    on_sqlite.sequencer.stop()
    assert all(future.done() for future in accepted)
    assert on_sqlite.size() == 2000
    with pytest.raises(Unavailable):
        on_sqlite.submit("late=a")
    assert not on_sqlite.sequencer.healthy


def test_nobody_waits_for_ever_whenever_the_stop_comes(sqlite_url):
    with closing(Database(sqlite_url)) as database, running_writer(database) as writer:
        accepted: list[Future[Appended]] = []

        def flood(caller: int) -> None:
            for number in range(10_000):
                try:
                    accepted.extend(writer.submit(f"{caller}-{number}=a"))
                except Busy:
                    writer.sequencer.wait_for_room()
                except Unavailable:
                    return

        with ThreadPoolExecutor(4) as pool:
            floods = [pool.submit(flood, caller) for caller in range(4)]
            while writer.size() < 100:
                pass
            writer.sequencer.stop()
            for one in floods:
                one.result(60)
        assert writer.size() == len([future for future in accepted if future.result(10)])


def test_a_receipt_that_cannot_be_given_does_not_stop_the_next(sqlite_url):
    class Broken(Notes):
        def release(self, _appended: Appended, _context: object) -> Appended:
            raise Unavailable("as a corrupted row would")

    with closing(Database(sqlite_url)) as database, running_writer(database) as writer:
        writer.sequencer._journal = Broken()
        [future] = writer.submit("k=a")
        with pytest.raises(Unavailable):
            future.result(60)
        writer.sequencer._journal = Notes()
        assert writer.record("k=a")[0].duplicate
