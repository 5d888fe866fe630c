"""The sorted lists: the foreign vectors byte for byte, membership and absence by property."""

import base64
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.errors import Tampered
from service.ledger import entry
from service.ledger.index import (
    DIRECTORY,
    SUBJECTS,
    Absent,
    Commitment,
    Shown,
    commit_key,
    directory_row,
    key_of,
    opening_of,
    read_line,
    require_absent,
    require_shown,
    subject_row,
)
from service.ledger.register import Register
from tests.ledger.evidence import INGEST, VECTORS, WHEN, signer

LOG = VECTORS["consent_log"]
ENTRIES = [record["entry_text"].encode() for record in LOG["records"]]
KEY = bytes.fromhex(LOG["directory_key"])
EPOCH = entry.decode(ENTRIES[6])


def register(entries):
    made = Register()
    for data in entries:
        made.add(data)
    return made


COVERED = register(ENTRIES[: LOG["index_epoch"]["covers"]])


def event(number):
    """The entry of one event of one of many persons."""
    subject = number.to_bytes(32, "big")
    return entry.encode(entry.Entry(category="consent.granted", at=WHEN, subject=subject), INGEST)


def opening(dk):
    row = {"dk": base64.b64encode(dk).decode(), "dv": base64.b64encode(bytes(32)).decode()}
    return entry.encode(entry.Entry(category="subject.opened", at=WHEN, extra=row), INGEST)


def test_the_rows_are_those_of_the_vectors_byte_for_byte():
    assert [row.hex() for row in COVERED.rows(SUBJECTS)] == LOG["index_epoch"]["subject_leaves"]
    assert [row.hex() for row in COVERED.rows(DIRECTORY)] == LOG["index_epoch"]["directory_leaves"]


def test_the_commitment_is_that_of_the_vectors_and_of_their_signed_epoch_entry():
    made = COVERED.commitment(commit_key(KEY))
    assert made.subject_root.hex() == LOG["index_epoch"]["subject_root"]
    assert made.directory_root.hex() == LOG["index_epoch"]["directory_root"]
    assert made.extra() == EPOCH.extra
    assert Commitment.parse(EPOCH.extra) == made


def test_an_epoch_entry_is_written_as_the_vectors_wrote_it():
    line = entry.Entry(category="index.epoch", at=EPOCH.at, extra=COVERED.commitment(commit_key(KEY)).extra())
    assert entry.encode(line, signer("ingest")) == ENTRIES[6]


def test_a_row_of_the_directory_reads_back():
    row = directory_row(bytes([1]) * 32, bytes([2]) * 32, 77)
    assert (key_of(row), opening_of(row)) == (bytes([1]) * 32, (bytes([1]) * 32, bytes([2]) * 32, 77))


def test_entries_about_nobody_are_in_neither_list():
    made = register([entry.encode(entry.Entry(category="access", at=WHEN), INGEST)])
    assert (made.covered, made.rows(SUBJECTS), made.rows(DIRECTORY)) == (1, [], [])


def test_opening_the_same_row_twice_is_refused():
    with pytest.raises(Tampered, match="opens a directory row"):
        register([opening(bytes(32)), opening(bytes(32))])


@pytest.mark.parametrize(
    "line", [b"no json\n", b'{"sub":"AAAA"}\n', b'{"dk":"AAAA","dv":"AAAA"}\n', b'{"sub":7}\n']
)
def test_a_line_that_names_no_proper_subject_is_refused(line):
    with pytest.raises(Tampered):
        read_line(line)


@pytest.mark.parametrize(
    "change",
    [{"n": -1}, {"n": True}, {"n": "6"}, {"ss": None}, {"sr": "AAAA"}, {"dkc": "?"}, {"ds": 1 << 53}],
)
def test_what_states_no_counts_and_hashes_is_no_epoch(change):
    with pytest.raises(Tampered):
        Commitment.parse({**EPOCH.extra, **change})


@given(st.sets(st.integers(1, 400), max_size=40), st.integers(0, 401))
def test_every_key_is_shown_to_be_there_or_not_and_never_both(numbers, asked):
    made = register([event(number) for number in sorted(numbers, reverse=True)])
    stated, key = made.commitment(bytes(32)), asked.to_bytes(32, "big")
    found = made.show(SUBJECTS, key)
    if asked in numbers:
        assert isinstance(found, Shown)
        require_shown(found, SUBJECTS, stated)
        neighbours = Absent(left=None, right=found)
        with pytest.raises(Tampered):
            require_absent(key, neighbours, SUBJECTS, stated)
    else:
        assert isinstance(found, Absent)
        require_absent(key, found, SUBJECTS, stated)


FIVE = register([event(number) for number in (2, 4, 6, 8, 10)])
STATED = FIVE.commitment(bytes(32))


def key(number):
    return number.to_bytes(32, "big")


def gap(number):
    found = FIVE.show(SUBJECTS, key(number))
    assert isinstance(found, Absent)
    return found


@pytest.mark.parametrize(
    ("absent", "number"),
    [
        (gap(5), 4),  # the key of the left neighbour itself
        (gap(5), 6),  # of the right one
        (gap(5), 7),  # beyond the right one
        (gap(5), 3),  # before the left one
        (Absent(left=gap(3).left, right=gap(7).right), 5),  # a row was left out between them
        (Absent(left=gap(3).left, right=None), 4),  # the list ends later
        (Absent(left=None, right=gap(7).right), 4),  # the list begins earlier
        (Absent(left=None, right=None), 5),  # the list is not empty
        (Absent(left=gap(5).right, right=gap(5).left), 5),  # the wrong way round
    ],
)
def test_absence_needs_two_true_neighbours_around_the_key(absent, number):
    with pytest.raises(Tampered):
        require_absent(key(number), absent, SUBJECTS, STATED)


def test_absence_from_an_empty_list_needs_its_root():
    nobody = Absent(left=None, right=None)
    empty = Register().commitment(bytes(32))
    require_absent(key(1), nobody, SUBJECTS, empty)
    with pytest.raises(Tampered, match="empty tree"):
        require_absent(key(1), nobody, SUBJECTS, replace(empty, subject_root=bytes(32)))


def test_a_row_of_one_list_does_not_stand_in_the_other():
    shown = FIVE.show(SUBJECTS, key(4))
    assert isinstance(shown, Shown)
    swapped = replace(STATED, openings=STATED.subjects, directory_root=STATED.subject_root)
    with pytest.raises(Tampered, match="form"):
        require_shown(shown, DIRECTORY, swapped)
    with pytest.raises(Tampered, match="not in the list"):
        require_shown(replace(shown, row=subject_row(key(4), 2, bytes(32))), SUBJECTS, STATED)
