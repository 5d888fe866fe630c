"""Hashes that are settled: the same proofs with less reading, while the log grows."""

from collections.abc import Sequence
from hashlib import sha256

import pytest

from service.ledger import merkle

GROWTH = (300, 65_536 + 700, 65_536 + 1_500)


class Stored:
    """The stored hashes of a tree, and which of them were read."""

    def __init__(self) -> None:
        self.edge = merkle.Edge()
        self.hashes: dict[tuple[int, int], bytes] = {}
        self.asked: list[tuple[int, int]] = []

    def grow(self, size: int) -> None:
        for number in range(self.edge.size, size):
            leaf = sha256(b"%d" % number).digest()
            self.hashes[0, number] = leaf
            self.hashes.update(((level, index), node) for level, index, node in self.edge.add(leaf))

    def read(self, wanted: Sequence[tuple[int, int]]) -> list[bytes]:
        self.asked += wanted
        return [self.hashes[one] for one in wanted]


@pytest.fixture(scope="module")
def indexes() -> list[int]:
    return [0, 5, 255, 256, 299]


def test_proofs_are_the_same_with_settled_hashes_and_without_while_the_log_grows(indexes):
    stored, settled = Stored(), merkle.Settled()
    for size in GROWTH:
        stored.grow(size)
        asked = [*indexes, size // 2, size - 1]
        plain = merkle.inclusion_proofs(asked, size, stored.read)
        assert merkle.inclusion_proofs(asked, size, stored.read, settled) == plain
        assert merkle.inclusion_proofs(asked, size, stored.read, settled) == plain


def test_what_is_settled_is_not_read_again(indexes):
    stored, settled = Stored(), merkle.Settled()
    stored.grow(GROWTH[1])
    merkle.inclusion_proofs(indexes, GROWTH[1], stored.read, settled)
    first = len(stored.asked)
    merkle.inclusion_proofs(indexes, GROWTH[1], stored.read, settled)
    assert len(stored.asked) - first < first / 10


def test_a_wrong_hash_that_was_settled_makes_no_proof_that_holds():
    stored, settled = Stored(), merkle.Settled()
    stored.grow(300)
    right, stored.hashes[0, 7] = stored.hashes[0, 7], bytes(32)
    merkle.inclusion_proofs([5], 300, stored.read, settled)
    stored.hashes[0, 7] = right
    proof = merkle.inclusion_proofs([5], 300, stored.read, settled)[5]
    assert not merkle.verify_inclusion(5, 300, stored.hashes[0, 5], proof, stored.edge.root())
