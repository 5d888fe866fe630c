"""Index epochs over a real ledger: what they cover, when they are due, and what they refuse to state."""

import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import delete, update

from service.consent import Category
from service.db import index_row, index_state
from service.errors import Tampered
from service.intake.epoch import EVERY, EVERY_ENTRIES, Epochs, epoch, epoch_if_due, refresh
from service.ledger import lists
from service.ledger.entry import check
from service.ledger.index import DIRECTORY, SUBJECTS, Commitment, commit_key, key_of
from service.ledger.lookup import show_row
from service.ledger.register import Register
from tests.running import claim, keys, people, start, withdrawal


@pytest.fixture
def intake(database):
    with start(database) as intake:
        yield intake


def log(intake):
    with intake.db.read() as tx:
        stored = intake.store.entries(tx, range(intake.store.size(tx)))
    return [stored[index] for index in range(len(stored))]


def rebuilt(intake, covered):
    """Both lists as an auditor builds them, from the entries alone."""
    register = Register()
    for entry in log(intake)[:covered]:
        register.add(entry)
    return register


def stated(intake, index):
    line = check(log(intake)[index], [keys().ingest.verifier])
    assert (line.category, line.subject) == (Category.INDEX_EPOCH, None)
    return Commitment.parse(line.extra)


def test_an_epoch_states_what_an_auditor_builds_from_the_entries(intake):
    intake.record([*people(5), withdrawal("person-1@example.org"), claim(None, category=Category.ACCESS)])
    found = stated(intake, epoch(intake))
    assert found.covered == len(log(intake)) - 1
    assert (found.subjects, found.openings) == (5, 5)
    assert found == rebuilt(intake, found.covered).commitment(commit_key(keys().directory))


def test_a_later_epoch_covers_what_came_since(intake):
    intake.record(people(3))
    first = stated(intake, epoch(intake))
    intake.record([withdrawal("person-1@example.org"), *people(2, "later")])
    second = stated(intake, epoch(intake))
    assert second.covered > first.covered
    assert (first.subjects, second.subjects) == (3, 5)
    assert second == rebuilt(intake, second.covered).commitment(commit_key(keys().directory))


def test_an_epoch_of_an_empty_log_covers_its_beginning_alone(intake):
    found = stated(intake, epoch(intake))
    assert (found.covered, found.subjects, found.openings) == (1, 0, 0)


def test_nothing_is_added_where_nothing_but_the_last_epoch_came_since(intake):
    assert epoch(intake) == epoch(intake)
    assert epoch_if_due(intake, datetime.now(UTC) + 2 * EVERY) is None


def test_lists_taken_in_a_few_entries_at_a_time_are_the_same(intake):
    intake.record(people(9))
    found = stated(intake, epoch(intake, step=4))
    assert found == rebuilt(intake, found.covered).commitment(commit_key(keys().directory))


def test_lists_that_are_dropped_are_made_again_from_the_entries(intake):
    intake.record(people(4))
    first = stated(intake, epoch(intake))
    with intake.db.begin() as tx:
        lists.forget(tx)
    again = stated(intake, epoch(intake))
    assert (again.subject_root, again.directory_root) == (first.subject_root, first.directory_root)


def test_every_row_and_every_gap_of_lists_longer_than_a_block_is_shown(intake):
    intake.record(people(300))
    found = stated(intake, epoch(intake))
    register = rebuilt(intake, found.covered)
    with intake.db.read() as tx:
        for kind in (SUBJECTS, DIRECTORY):
            rows = register.rows(kind)
            for place in (0, 1, 127, 254, 255, 256, 257, 298, 299):
                key = key_of(rows[place])
                after = (int.from_bytes(key, "big") + 1).to_bytes(32, "big")
                for asked in (key, after):
                    assert show_row(tx, kind, asked, found) == register.show(kind, asked)
            for asked in (bytes(32), bytes([255]) * 32):
                assert show_row(tx, kind, asked, found) == register.show(kind, asked)


def test_an_epoch_is_due_after_a_day(intake):
    start_at = datetime.now(UTC)
    assert epoch_if_due(intake, start_at) is not None
    intake.record(people(1))
    assert epoch_if_due(intake, start_at + timedelta(hours=23)) is None
    assert epoch_if_due(intake, datetime.now(UTC) + EVERY) is not None


def test_an_epoch_is_due_after_so_many_entries(intake):
    assert EVERY_ENTRIES == 65_536
    now = datetime.now(UTC)
    epoch_if_due(intake, now)
    intake.record(people(3))
    assert epoch_if_due(intake, now, entries=8) is None
    intake.record(people(1, "one-more"))
    assert epoch_if_due(intake, now, entries=8) is not None


def eventually(condition, seconds=5.0):
    deadline = time.monotonic() + seconds
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.01)
    assert condition()


def test_a_thread_makes_an_epoch_when_one_is_due_and_only_then(intake):
    intake.record(people(1))
    with Epochs(intake, poll_s=0.01) as keeper:
        eventually(lambda: len(log(intake)) == 4)
        intake.record(people(1, "later"))
        time.sleep(0.1)
        assert keeper.healthy
    assert len(log(intake)) == 6
    assert not keeper.healthy


def test_the_thread_ends_where_the_index_contradicts_the_log(intake):
    intake.record(people(1))
    epoch(intake)
    with intake.db.begin() as tx:
        tx.execute(delete(index_row))
        tx.execute(update(index_state).values(epoch_idx=None))
    size = len(log(intake))
    with Epochs(intake, poll_s=0.01) as keeper:
        eventually(lambda: not keeper.healthy)
    assert len(log(intake)) == size


def test_before_a_bundle_an_epoch_is_made_only_where_the_tail_would_be_too_long(intake):
    refresh(intake)
    intake.record(people(2))
    size = len(log(intake))
    refresh(intake, longest_tail=6)
    assert len(log(intake)) == size
    intake.record(people(1, "one-more"))
    refresh(intake, longest_tail=6)
    assert stated(intake, len(log(intake)) - 1).covered == size + 2


def test_two_at_once_state_the_same_lists(intake):
    intake.record(people(20))
    with ThreadPoolExecutor(2) as pool:
        made = list(pool.map(lambda _: epoch(intake), range(2)))
    for index in made:
        found = stated(intake, index)
        assert found == rebuilt(intake, found.covered).commitment(commit_key(keys().directory))
    with intake.db.read() as tx:
        assert lists.state(tx).epoch in made


def test_claims_are_recorded_while_an_epoch_is_made(intake):
    intake.record(people(50))
    waiting = [intake.submit(one) for one in people(50, "meanwhile")]
    found = stated(intake, epoch(intake))
    assert {future.result().duplicate for future in waiting} == {False}
    assert found == rebuilt(intake, found.covered).commitment(commit_key(keys().directory))


def test_lists_with_a_row_that_was_changed_or_lost_are_not_stated(intake):
    intake.record(people(3))
    found = stated(intake, epoch(intake))
    intake.record(people(1, "one-more"))
    row = rebuilt(intake, found.covered).rows(SUBJECTS)[1]
    change = update(index_row).values(row=row[:-1] + bytes([row[-1] ^ 1]))
    for damage in (change, delete(index_row)):
        with intake.db.begin() as tx:
            tx.execute(damage.where(index_row.c.key == key_of(row)))
        with pytest.raises(Tampered, match="changed or lost"):
            epoch(intake)


def test_lists_that_claim_other_entries_than_the_log_holds_are_not_stated(intake):
    intake.record(people(3))
    epoch(intake)
    with intake.db.begin() as tx:
        edge = bytearray(lists.state(tx).edge.to_bytes())
        edge[-1] ^= 1
        tx.execute(update(index_state).values(edge=bytes(edge)))
    intake.record(people(1, "one-more"))
    with pytest.raises(Tampered, match="made of other entries"):
        epoch(intake)
