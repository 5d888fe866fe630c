import pytest

from service.ledger import merkle
from service.ledger.proof import Checkpoint
from service.ledger.views import View, compare
from tests.ledger.evidence import ORIGIN, grow

SIZE = 300
ENTRIES = [b"entry %d" % number for number in range(SIZE)]
LOG = grow(ENTRIES)
HEAD = Checkpoint(ORIGIN, SIZE, LOG.edge.root())


def seen(size: int, entries: list[bytes] = ENTRIES) -> Checkpoint:
    return Checkpoint(ORIGIN, size, grow(entries[:size]).edge.root())


@pytest.mark.parametrize("size", [0, 1, 255, 256, 257, SIZE])
def test_whoever_saw_an_earlier_part_of_the_log_sees_the_same_log(size):
    assert compare(seen(size), HEAD, LOG.read) is View.SAME


@pytest.mark.parametrize("size", [1, 255, 256, 257, SIZE])
def test_two_heads_of_one_size_with_different_roots_are_a_split_view(size):
    other = [*ENTRIES[: size - 1], b"another", *ENTRIES[size:]]
    assert compare(seen(size, other), HEAD, LOG.read) is View.FORK


def test_a_log_that_is_shorter_than_what_was_seen_was_rolled_back():
    assert compare(Checkpoint(ORIGIN, SIZE + 1, merkle.EMPTY), HEAD, LOG.read) is View.AHEAD


def test_a_checkpoint_of_another_log_says_nothing_about_this_one():
    assert compare(Checkpoint("other.example/1", 3, seen(3).root), HEAD, LOG.read) is View.FOREIGN


def test_an_empty_tree_has_one_root():
    assert compare(Checkpoint(ORIGIN, 0, bytes(32)), HEAD, LOG.read) is View.FORK
