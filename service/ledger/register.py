"""Build both lists of the index from the entries alone, in memory: what an auditor does to check an epoch.

Pure. Some 500 bytes per person; the service itself keeps the lists in its database (`lists.py`).
"""

from bisect import bisect_left
from collections.abc import Sequence

from service.errors import Tampered
from service.ledger.index import (
    DIRECTORY,
    SUBJECTS,
    Absent,
    Commitment,
    Shown,
    directory_row,
    event_leaf,
    key_of,
    read_line,
    show,
    subject_row,
)
from service.ledger.merkle import Edge, leaf_hash


class Register:
    """Both lists as they grow entry by entry, in memory: what an auditor builds from the entries alone."""

    def __init__(self) -> None:
        self.covered = 0
        self._subjects: dict[bytes, Edge] = {}
        self._directory: dict[bytes, bytes] = {}

    def add(self, entry: bytes) -> None:
        """Take in the next entry; `Tampered` if it opens what was opened before."""
        subject, opened = read_line(entry)
        if subject is not None:
            self._subjects.setdefault(subject, Edge()).add(event_leaf(self.covered, leaf_hash(entry)))
        if opened is not None:
            if opened[0] in self._directory:
                raise Tampered(f"entry {self.covered} opens a directory row that an earlier entry opened")
            self._directory[opened[0]] = directory_row(*opened, self.covered)
        self.covered += 1

    def rows(self, kind: bytes) -> list[bytes]:
        """Return one list, sorted by key."""
        if kind == DIRECTORY:
            return [self._directory[key] for key in sorted(self._directory)]
        return [subject_row(sub, edge.size, edge.root()) for sub, edge in sorted(self._subjects.items())]

    def commitment(self, key_commitment: bytes) -> Commitment:
        """Return what an epoch over these entries commits to."""
        subjects, openings = self.rows(SUBJECTS), self.rows(DIRECTORY)
        return Commitment(
            covered=self.covered,
            subjects=len(subjects),
            subject_root=_root(subjects),
            openings=len(openings),
            directory_root=_root(openings),
            key_commitment=key_commitment,
        )

    def show(self, kind: bytes, key: bytes) -> Shown | Absent:
        """Return what shows that the list has this key, or that it has not."""
        rows = self.rows(kind)
        hashes = _stored(rows)
        position = bisect_left(rows, key, key=key_of)

        def read(wanted: Sequence[tuple[int, int]]) -> list[bytes]:
            return [hashes[pair] for pair in wanted]

        return show(key, position, len(rows), rows.__getitem__, read)


def _root(rows: Sequence[bytes]) -> bytes:
    edge = Edge()
    for row in rows:
        edge.add(leaf_hash(row))
    return edge.root()


def _stored(rows: Sequence[bytes]) -> dict[tuple[int, int], bytes]:
    """Return the hashes of a list's tree that `merkle` asks for, by level and index."""
    edge, stored = Edge(), {}
    for position, row in enumerate(rows):
        stored[0, position] = leaf_hash(row)
        stored.update(((level, index), node) for level, index, node in edge.add(stored[0, position]))
    return stored
