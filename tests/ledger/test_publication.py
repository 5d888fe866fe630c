"""Checkpoints as the world sees them, on every store."""

import sqlite3
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import insert, text
from sqlalchemy.exc import DBAPIError, IntegrityError

from service.db import Database, checkpoint
from service.errors import Tampered
from service.ledger import merkle
from service.ledger.note import Signer, split_note
from service.ledger.proof import Checkpoint, open_checkpoint
from service.ledger.publication import EVERY, IDLE, Publisher, Signing, latest, was_published
from service.ledger.reread import edge_at, reread
from service.ledger.store import LOG_ID, Store
from tests.ledger.evidence import sequential
from tests.running import ORIGIN, keys

START = datetime(2026, 3, 1, 9, 0, tzinfo=UTC)


class Clock:
    def __init__(self):
        self.at = START

    def __call__(self):
        return self.at

    def pass_(self, **time):
        self.at += timedelta(**time)


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def store(database):
    found = Store(ORIGIN, keys().log)
    with database.begin() as tx:
        found.begin(tx)
    return found


@pytest.fixture
def publisher(database, store, clock):
    return Publisher(database, store, keys().log, keys().log_pq, clock)


def append(database, store, *entries):
    with database.begin() as tx:
        store.append(tx, store.lock(tx), list(entries))


def some(number, prefix=b"entry"):
    return [b"%s %d" % (prefix, n) for n in range(number)]


def served(database):
    with database.read() as tx:
        return latest(tx)


def test_before_the_first_there_is_none_and_an_empty_log_is_published_too(database, publisher):
    assert served(database) is None
    assert publisher.publish().size == 0
    assert served(database).root == merkle.EMPTY


def test_a_published_checkpoint_carries_both_signatures_of_the_log(database, store, publisher):
    append(database, store, *some(5))
    made = publisher.publish()
    assert made == served(database)
    lines = split_note(made.note)[1]
    assert [(line.name, line.key_id) for line in lines] == [
        (ORIGIN, keys().log.key_id),
        (ORIGIN, keys().log_pq.key_id),
    ]
    for key in (keys().log.verifier, keys().log_pq.verifier):
        assert open_checkpoint(made.note, [key]) == Checkpoint(ORIGIN, 5, made.root)


def test_a_log_that_grows_is_published_again(database, store, publisher):
    numbers = []
    for batch in (some(1), some(300, b"more"), some(2, b"last")):
        append(database, store, *batch)
        numbers.append((publisher.publish().number, served(database).size))
    assert numbers == [(0, 1), (1, 301), (2, 303)]


def test_an_idle_log_is_published_again_once_a_day(database, store, publisher, clock):
    append(database, store, *some(3))
    first = publisher.publish()
    clock.pass_(hours=23, minutes=59)
    assert publisher.publish() is None
    clock.pass_(minutes=1)
    second = publisher.publish()
    assert timedelta(days=1) == IDLE
    assert (second.size, second.root, second.number) == (first.size, first.root, 1)
    assert second.note != first.note
    assert publisher.publish() is None


def test_a_growing_log_is_published_every_ten_seconds():
    assert timedelta(seconds=10) == EVERY


def test_of_two_publishers_at_once_one_publishes(database, store, publisher, clock):
    other = Publisher(database, store, keys().log, keys().log_pq, clock)
    append(database, store, *some(3))
    with database.read() as tx:
        head = other._head(tx)
    assert publisher.publish().number == 0
    assert other._sign(None, head) is None
    assert served(database).number == 0


def test_what_was_published_is_known_by_its_size(database, store, publisher):
    append(database, store, *some(3))
    publisher.publish()
    append(database, store, *some(4))
    publisher.publish()
    with database.read() as tx:
        found = [size for size in range(10) if was_published(tx, range(size, size + 1))]
        assert found == [3, 7]
        assert was_published(tx, range(4, 8))
        assert not was_published(tx, range(8, 300))


def test_the_thread_publishes_at_once_and_ends_with_its_context(database, store, publisher):
    append(database, store, *some(3))
    with publisher:
        for _ in range(200):
            if served(database) is not None:
                break
            publisher._stop.wait(0.02)
        assert publisher.healthy
    assert not publisher.healthy
    assert served(database).size == 3


def test_keys_are_asked_for_each_time_and_may_be_refused(database, store, clock):
    signed = keys()
    later = Signer(ORIGIN, bytes(32))
    answers = [
        None,
        Signing(head=signed.log, cosigner=signed.log_pq, verifiers=(signed.log.verifier,)),
        Signing(head=later, cosigner=signed.log_pq, verifiers=(later.verifier, signed.log.verifier)),
    ]
    told = iter(answers)
    publisher = Publisher(database, store, signed.log, signed.log_pq, clock, current=lambda: next(told))
    assert publisher.publish() is None
    assert publisher.publish().number == 0
    append(database, store, *some(2))
    assert open_checkpoint(publisher.publish().note, [later.verifier]).size == 2


def fork(database):
    """What the head of another history of the same log would look like."""
    tree = sequential(9)
    with database.begin() as tx:
        note = keys().log.sign(Checkpoint(ORIGIN, 9, tree.edge.root()).text())
        tx.execute(
            text("UPDATE log_state SET size = 9, edge = :edge, head = :head"),
            {"edge": tree.edge.to_bytes(), "head": note},
        )


def test_a_head_that_the_entries_do_not_lead_to_is_never_published(database, store, publisher):
    append(database, store, *some(5))
    before = publisher.publish()
    append(database, store, *some(4))
    fork(database)
    with pytest.raises(Tampered, match="do not add up"):
        publisher.publish()
    assert served(database) == before


def test_a_log_that_lost_its_end_is_never_published(database, store, clock):
    """A database that was restored from an older backup, but for its published checkpoints."""
    append(database, store, *some(5))
    with database.begin() as tx:
        ahead = Checkpoint(ORIGIN, 8, sequential(8).edge.root())
        note = keys().log.sign(ahead.text())
        values = {"number": 0, "size": 8, "root": ahead.root, "note": note, "published_at": START}
        tx.execute(insert(checkpoint).values(log_id=LOG_ID, **values))
    with pytest.raises(Tampered, match="restored from an older backup"):
        Publisher(database, store, keys().log, keys().log_pq, clock).publish()
    assert served(database).number == 0


def test_a_published_row_that_its_note_does_not_sign_is_found(database, store, publisher):
    append(database, store, *some(5))
    with database.begin() as tx:
        other = keys().log.sign(Checkpoint(ORIGIN, 3, bytes(32)).text())
        values = {"number": 0, "size": 4, "root": bytes(32), "note": other, "published_at": START}
        tx.execute(insert(checkpoint).values(log_id=LOG_ID, **values))
    with pytest.raises(Tampered, match="is not the one that was signed"):
        publisher.publish()


def test_the_thread_stops_for_good_when_the_log_contradicts_itself(database, store, publisher):
    append(database, store, *some(9))
    fork(database)
    with publisher:
        publisher._thread.join(20)
        assert not publisher.healthy
    assert served(database) is None


@pytest.mark.parametrize("size", [0, 1, 2, 3, 255, 256, 257, 511, 512, 600])
def test_the_edge_of_any_earlier_size_is_rebuilt_from_stored_hashes(size):
    edge = edge_at(size, sequential(600).read)
    assert edge.to_bytes() == sequential(size).edge.to_bytes()


def test_every_entry_is_read_again_and_yields_the_signed_root(database, store):
    append(database, store, *some(700))
    with database.read() as tx:
        edge = edge_at(130, store.reader(tx))
        entries = [entry for part in reread(tx, store, edge, 700) for entry in part]
        assert entries == some(700)[130:]
        assert store.checkpoint(tx, 700) == keys().log.sign(Checkpoint(ORIGIN, 700, edge.root()).text())


def test_a_flipped_bit_in_an_entry_is_named_before_anything_is_signed(sqlite_url, clock):
    database = Database(sqlite_url)
    found = Store(ORIGIN, keys().log)
    with database.begin() as tx:
        found.begin(tx)
    append(database, found, *some(300))
    path = sqlite_url.removeprefix("sqlite:///")
    with sqlite3.connect(path) as raw:
        raw.execute("DROP TRIGGER leaf_no_update")
        raw.execute("UPDATE leaf SET entry = ? WHERE idx = 77", (b"entry 78",))
    with pytest.raises(Tampered, match="entry 77 is not what its stored hash stands for"):
        Publisher(database, found, keys().log, keys().log_pq, clock).publish()
    with sqlite3.connect(path) as raw:
        raw.execute("UPDATE leaf SET entry = ? WHERE idx = 77", (b"entry 77",))
        raw.execute("DROP TRIGGER node_no_update")
        raw.execute("UPDATE node SET hash = zeroblob(32)")
    with pytest.raises(Tampered, match="level 1, index 0"):
        Publisher(database, found, keys().log, keys().log_pq, clock).publish()
    database.close()


@pytest.mark.parametrize("statement", ["UPDATE checkpoint SET size = 1", "DELETE FROM checkpoint"])
def test_the_database_itself_keeps_what_was_published(engine, database, publisher, statement):
    publisher.publish()
    with pytest.raises(DBAPIError), engine.begin() as tx:
        tx.execute(text(statement))
    assert served(database).size == 0


@pytest.mark.parametrize(
    "told",
    [{"number": 1, "size": 2}, {"number": 1, "size": 3}, {"number": 0, "size": 4}, {"number": -1, "size": 9}],
    ids=["shrinks", "forks", "again", "before"],
)
def test_the_database_itself_refuses_what_does_not_continue(database, store, publisher, told):
    append(database, store, *some(3))
    publisher.publish()
    row = {"log_id": LOG_ID, "root": bytes(32), "note": b"", "published_at": START, **told}
    with pytest.raises(IntegrityError), database.begin() as tx:
        tx.execute(insert(checkpoint).values(**row))


def test_the_wall_on_postgresql_stands_against_truncate_too(postgresql_url):
    database = Database(postgresql_url)
    with pytest.raises(DBAPIError, match="append-only"), database.engine.begin() as tx:
        tx.execute(text("TRUNCATE checkpoint"))
    database.close()


def test_a_key_of_another_name_cannot_publish(database, store, clock):
    with pytest.raises(AssertionError):
        Publisher(database, store, Signer("other.example/log", bytes(32)), keys().log_pq, clock)
