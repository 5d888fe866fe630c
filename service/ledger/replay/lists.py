"""The lists of every index epoch, made again from the entries alone.

Pure but for temporary files, which have no name and vanish with the process: what the epochs cover does
not fit into memory in a long log, and must be sorted. Records are collected while the log is read, in
its order; the epochs are then taken one by one.
"""

import sqlite3
from collections.abc import Iterator
from contextlib import ExitStack, closing
from tempfile import TemporaryFile
from typing import IO, Final, Self

from service.errors import Tampered
from service.ledger.entry import decode
from service.ledger.index import Commitment, directory_row, event_leaf, subject_row
from service.ledger.merkle import Edge, leaf_hash
from service.ledger.replay.piece import RECORD, Found

_AT_ONCE: Final = 4096  # records
_TABLES = """
    PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF; PRAGMA cache_size = -8000;
    CREATE TABLE subject (key BLOB PRIMARY KEY, edge BLOB NOT NULL, leaf BLOB NOT NULL) WITHOUT ROWID;
    CREATE TABLE opening (key BLOB PRIMARY KEY, leaf BLOB NOT NULL) WITHOUT ROWID;
"""
_FIND = "SELECT edge FROM subject WHERE key = ?"
_KEEP = "INSERT OR REPLACE INTO subject VALUES (?, ?, ?)"


class Lists:
    """Both lists as they were at each epoch; a context, since it holds temporary files."""

    def __init__(self) -> None:
        self._files = ExitStack()
        self._events, self._openings = (
            self._files.enter_context(TemporaryFile(prefix="consent-ledger-"))  # noqa: SIM115  # the stack is
            for _ in range(2)
        )
        self._epochs: list[tuple[int, Commitment]] = []
        self._directory: list[tuple[int, bytes]] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._files.close()

    def collect(self, found: Found) -> None:
        """Take what the next tile holds; `Tampered` if an epoch covers entries that came after it."""
        self._events.write(found.events)
        self._openings.write(found.openings)
        self._directory += found.directory
        for index, entry in found.epochs:
            try:
                commitment = Commitment.parse(decode(entry).extra)
            except Tampered as error:
                raise Tampered(f"entry {index}: {error}") from None
            if commitment.covered > index:
                raise Tampered(f"entry {index}: an index epoch cannot cover entries that came after it")
            self._epochs.append((index, commitment))

    def require(self, known: int) -> int:
        """Return how many epochs state what the first `known` entries add up to; `Tampered` if one does not.

        Epochs that stand after what is known are passed over.
        """
        self._events.seek(0)
        self._openings.seek(0)
        within = sorted((one for one in self._epochs if one[0] < known), key=_covered)
        with closing(sqlite3.connect("")) as store:
            store.executescript(_TABLES)
            events, openings = _Reader(self._events), _Reader(self._openings)
            for index, commitment in within:
                self._require_key(index, commitment)
                _take_events(store, events.until(commitment.covered))
                _take_openings(store, openings.until(commitment.covered))
                _require_list(store, "subject", commitment.subjects, commitment.subject_root, index)
                _require_list(store, "opening", commitment.openings, commitment.directory_root, index)
            _take_openings(store, openings.until(known))
        return len(within)

    def _require_key(self, index: int, commitment: Commitment) -> None:
        """Raise `Tampered` unless the log committed to the directory key before the epoch, if ever."""
        before = {key for at, key in self._directory if at < index}
        if before and commitment.key_commitment not in before:
            raise Tampered(f"entry {index}: the epoch rests on a directory key that no entry committed to")


class _Reader:
    """Records in the order of the log, up to one index after the other."""

    def __init__(self, file: IO[bytes]) -> None:
        self._records = _records(file)
        self._next = next(self._records, None)

    def until(self, index: int) -> Iterator[tuple[int, bytes, bytes]]:
        while self._next is not None and self._next[0] < index:
            yield self._next
            self._next = next(self._records, None)


def _records(file: IO[bytes]) -> Iterator[tuple[int, bytes, bytes]]:
    while part := file.read(RECORD.size * _AT_ONCE):
        yield from RECORD.iter_unpack(part)


def _take_events(store: sqlite3.Connection, records: Iterator[tuple[int, bytes, bytes]]) -> None:
    """Let each subject's own small tree grow by its new entries."""
    grown: dict[bytes, Edge] = {}
    for index, leaf, subject in records:
        if subject not in grown:
            row = store.execute(_FIND, (subject,)).fetchone()
            grown[subject] = Edge() if row is None else Edge.from_bytes(row[0])
        grown[subject].add(event_leaf(index, leaf))
        if len(grown) == _AT_ONCE:
            _keep(store, grown)
    _keep(store, grown)


def _keep(store: sqlite3.Connection, grown: dict[bytes, Edge]) -> None:
    store.executemany(
        _KEEP,
        (
            (subject, edge.to_bytes(), leaf_hash(subject_row(subject, edge.size, edge.root())))
            for subject, edge in grown.items()
        ),
    )
    grown.clear()


def _take_openings(store: sqlite3.Connection, records: Iterator[tuple[int, bytes, bytes]]) -> None:
    for index, dk, dv in records:
        try:
            leaf = leaf_hash(directory_row(dk, dv, index))
            store.execute("INSERT INTO opening VALUES (?, ?)", (dk, leaf))
        except sqlite3.IntegrityError:
            raise Tampered(f"entry {index} opens a directory row that an earlier entry opened") from None


def _require_list(store: sqlite3.Connection, table: str, count: int, root: bytes, index: int) -> None:
    edge = Edge()
    statement = f"SELECT leaf FROM {table} ORDER BY key"  # noqa: S608 -- one of two names of this module
    for (leaf,) in store.execute(statement):
        edge.add(leaf)
    if (edge.size, edge.root()) != (count, root):
        what = "persons" if table == "subject" else "the directory"
        raise Tampered(f"entry {index}: the epoch states another list of {what} than the entries add up to")


def _covered(epoch: tuple[int, Commitment]) -> tuple[int, int]:
    return epoch[1].covered, epoch[0]
