"""The sequencer with a journal of plain notes: grouped, strict about keys, honest about outcomes."""

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

import pytest
from sqlalchemy import Connection, event, text
from sqlalchemy.exc import IntegrityError

from service.db import Database
from service.errors import Busy, KeyReused, Refused, ServiceError, Unavailable
from service.ledger import merkle, sequencer
from service.ledger.batch import Appended, Placed, Submission
from service.ledger.proof import Checkpoint, open_checkpoint
from service.ledger.sequencer import LONGEST_QUEUE, Sequencer
from service.ledger.store import Store
from tests import running
from tests.proxy import between

LOG = running.keys().log
VERIFIERS = [LOG.verifier]


@dataclass
class Notes:
    """A journal whose drafts are notes: `key=what is asked`, and whatever else a test needs to happen."""

    refused: str = "refused"
    tripping: str = "tripping"
    stale_once: set[str] = field(default_factory=set)

    def prepare(self, drafts: Sequence[str]) -> Sequence[Submission | ServiceError]:
        return [Refused("no") if self.refused in draft else self._submission(draft) for draft in drafts]

    def stale(self, _tx: Connection, submissions: Sequence[Submission]) -> frozenset[int]:
        found = {n for n, submission in enumerate(submissions) if submission.context in self.stale_once}
        self.stale_once -= {submission.context for submission in submissions}
        return frozenset(found)

    def attach(self, tx: Connection, placed: Sequence[Placed]) -> None:
        if any(self.tripping in place.submission.context for place in placed):
            tx.execute(text("INSERT INTO tick (job, turn, taken_at, taken_by) VALUES (NULL, 't', 0, 'me')"))

    def release(self, appended: Appended, _context: object) -> Appended:
        return appended

    def _submission(self, draft: str) -> Submission:
        key = draft.partition("=")[0].encode()
        entries = tuple(f"{draft} #{n}".encode() for n in range(2 if "opens" in draft else 1))
        return Submission(key=key, request=draft.encode(), entries=entries, context=draft)


@dataclass
class Writer:
    """A sequencer over one database, and what can be seen of it from outside."""

    database: Database
    store: Store
    notes: Notes
    sequencer: Sequencer[str, Appended]
    commits: list[int]

    def submit(self, *drafts: str) -> list[Future[Appended]]:
        return [self.sequencer.submit(draft) for draft in drafts]

    def record(self, *drafts: str) -> list[Appended]:
        return [future.result(60) for future in self.submit(*drafts)]

    @contextmanager
    def held(self) -> Iterator[None]:
        """Hold the head as another process would, so that nothing can be appended meanwhile."""
        with self.database.begin() as tx:
            self.store.lock(tx)
            yield

    def size(self) -> int:
        with self.database.read() as tx:
            return self.store.size(tx)


def make(database: Database, *, watch: Callable[[], None] = lambda: None) -> Writer:
    store, notes, commits = Store(running.ORIGIN, LOG), Notes(), []

    @contextmanager
    def begin() -> Iterator[Connection]:
        with database.begin() as tx:
            yield tx
            watch()
        commits.append(1)

    return Writer(database, store, notes, Sequencer(begin, store, notes), commits)


@contextmanager
def running_writer(database: Database, **more) -> Iterator[Writer]:
    writer = make(database, **more)
    with database.begin() as tx:
        if not writer.store.exists(tx):
            writer.store.begin(tx)
    writer.sequencer.start()
    try:
        yield writer
    finally:
        writer.sequencer.stop()


@pytest.fixture
def writer(database):
    with running_writer(database) as writer:
        yield writer


@pytest.fixture
def on_sqlite(sqlite_url):
    """For what does not depend on the store."""
    with closing(Database(sqlite_url)) as database, running_writer(database) as writer:
        yield writer


def check(found: Appended, drafted: str) -> Checkpoint:
    """The receipt proves what was asked for."""
    head = open_checkpoint(found.checkpoint, VERIFIERS)
    leaf_hash = merkle.leaf_hash(found.entry)
    assert found.entry.startswith(drafted.encode())
    assert merkle.verify_inclusion(found.index, head.size, leaf_hash, found.proof, head.root)
    return head


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


# --- outcomes that are not known ---


@pytest.fixture
def far(postgresql_url):
    """A writer on PostgreSQL, with a proxy in between."""
    with (
        between(postgresql_url) as (proxy, url),
        closing(Database(url)) as database,
        running_writer(database) as writer,
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


def eventually(condition: Callable[[], object], *, within_s: float = 30) -> None:
    deadline = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline, "it did not come to pass"
        time.sleep(0.02)


def test_a_line_that_is_cut_every_time_takes_nothing_new_until_it_holds(far):
    writer, proxy = far
    writer.record("first=a")
    proxy.arm(reached=False, cuts=1000)
    [future] = writer.submit("k=a")
    eventually(lambda: not writer.sequencer.healthy)
    with pytest.raises(Unavailable):
        writer.submit("another=a")
    assert not future.done()
    proxy.cuts = 0
    check(future.result(60), "k=a")
    check(writer.record("another=a")[0], "another=a")
    assert writer.size() == 3


def test_a_waiter_in_doubt_is_told_so_when_our_patience_ends_and_its_retry_is_safe(far, monkeypatch):
    monkeypatch.setattr(sequencer, "PATIENCE_S", 0.3)  # a limit, not a part: what happens then is real
    writer, proxy = far
    writer.record("first=a")
    proxy.arm(reached=True)
    proxy.closed_after_cut = True
    [future] = writer.submit("k=a")
    with pytest.raises(Unavailable, match="same key"):
        future.result(60)
    assert not writer.sequencer.healthy
    proxy.closed_after_cut = proxy.closed = False
    eventually(lambda: writer.sequencer.healthy)
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
        eventually(lambda: not writer.sequencer.healthy)
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


# --- several processes on one ledger ---

PROCESSES, EACH = 2, 150


def append_many(url: str, name: str) -> None:
    """Run by a process of its own: say when ready, and once told append, and print each receipt."""
    database = Database(url)
    with closing(database), running_writer(database) as writer, ThreadPoolExecutor(8) as pool:
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        sys.stdin.readline()
        for found in pool.map(lambda n: writer.record(f"{name}-{n}=a")[0], range(EACH)):
            proof = [node.hex() for node in found.proof]
            line = [found.index, found.entry.decode(), proof, found.checkpoint.decode()]
            sys.stdout.write(json.dumps(line) + "\n")


def spawn(url: str, name: str) -> subprocess.Popen[str]:
    program = f"from tests.ledger.test_sequencer import append_many; append_many({url!r}, {name!r})"
    here = Path(__file__).parent.parent.parent
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    return subprocess.Popen([sys.executable, "-c", program], text=True, cwd=here, **pipes)


def outputs(children: Sequence[subprocess.Popen[str]]) -> list[str]:
    """Let all begin at once, and return the lines that they print."""
    for child in children:
        assert child.stdout.readline() == "ready\n"
    for child in children:
        child.stdin.write("go\n")
        child.stdin.flush()
    return [line for child in children for line in child.communicate(timeout=100)[0].splitlines()]


def test_processes_that_append_at_the_same_time_write_one_history(database):
    with running_writer(database) as writer:
        writer.record("before=a")
        with database.read() as tx:
            old = open_checkpoint(writer.store.head(tx), VERIFIERS)
    children = [spawn(database.url, f"p{n}") for n in range(PROCESSES)]
    lines = [json.loads(line) for line in outputs(children)]
    assert [child.returncode for child in children] == [0] * PROCESSES
    found = [
        Appended(index, entry.encode(), tuple(map(bytes.fromhex, proof)), note.encode(), duplicate=False)
        for index, entry, proof, note in lines
    ]
    assert sorted(one.index for one in found) == list(range(1, PROCESSES * EACH + 1))
    with database.read() as tx:
        read = writer.store.reader(tx)
        new = open_checkpoint(writer.store.head(tx), VERIFIERS)
        entries = writer.store.entries(tx, range(new.size))
        assert new.size == PROCESSES * EACH + 1
        heads = {check(one, entries[one.index].decode()) for one in found}
        for head in [old, *heads]:
            proof = merkle.consistency_proof(head.size, new.size, read)
            assert merkle.verify_consistency(head.size, new.size, head.root, new.root, proof)
    assert_mixed([entry.decode()[:2] for _, entry in sorted(entries.items())][1:])


def assert_mixed(names: Sequence[str]) -> None:
    """The processes did write at the same time, else this proves nothing."""
    assert sum(first != second for first, second in pairwise(names)) > 1
