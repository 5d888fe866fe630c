"""What the signed lines after the lists' end say, read once per process and then only as they grow.

Reads only. The lists end at the last epoch, up to 65,536 entries ago; reading all of those for each
question would take a second. What is kept was checked: together with the lists' end it added up to a head
that the log signed, and so no row of the database is believed for it.
"""

import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final
from weakref import WeakKeyDictionary

from sqlalchemy import Connection

from service.errors import Tampered
from service.ledger import lists, merkle
from service.ledger.index import read_line
from service.ledger.merkle import Edge, leaf_hash
from service.ledger.proof import Checkpoint
from service.ledger.store import Store

_STEP: Final = 10_000  # entries in memory at once


@dataclass(frozen=True, slots=True, kw_only=True)
class Tail:
    """A person's entries after the lists' end, whether a row of the directory is opened there, the epoch."""

    own: frozenset[int]
    opened: bool
    epoch: bytes | None


@dataclass(slots=True, eq=False)
class _Lines:
    """Everything that was read so far, from `start`, the lists' end, to `edge`."""

    start: Edge
    edge: Edge
    hashes: list[bytes] = field(default_factory=list)
    own: dict[bytes, list[int]] = field(default_factory=dict)
    opened: dict[bytes, int] = field(default_factory=dict)

    def add(self, index: int, data: bytes) -> None:
        hashed = leaf_hash(data)
        self.edge.add(hashed)
        self.hashes.append(hashed)
        subject, opening = read_line(data)
        if subject is not None:
            self.own.setdefault(subject, []).append(index)
        if opening is not None:
            self.opened.setdefault(opening[0], index)


_lines: WeakKeyDictionary[Store, _Lines] = WeakKeyDictionary()
_turn = threading.Lock()  # one question reads, the others find it read


def read_tail(
    store: Store, tx: Connection, state: lists.State, head: Checkpoint, *, person: bytes | None, dk: bytes
) -> Tail:
    """Return what the lines up to the verified `head` say about a person and a row of the directory.

    Raises `Tampered` unless the lists' end and those lines add up to the head.
    """
    with _turn:
        lines = _read(store, tx, state, head)
        own = frozenset(at for at in lines.own.get(person or b"", ()) if at < head.size)
        opened = lines.opened.get(dk, head.size) < head.size
        return Tail(own=own, opened=opened, epoch=_epoch(store, tx, state, lines))


def _read(store: Store, tx: Connection, state: lists.State, head: Checkpoint) -> _Lines:
    """Return the lines at least up to the head; those that do not fit it are not kept."""
    lines = _lines.pop(store, None)
    if lines is None or lines.start.to_bytes() != state.edge.to_bytes():
        lines = _Lines(start=state.edge.copy(), edge=state.edge.copy())
    for index, data in _entries(store, tx, lines.edge.size, head.size):
        lines.add(index, data)
    root = lines.edge.root() if lines.edge.size == head.size else merkle.root(head.size, store.reader(tx))
    if lines.edge.size < head.size or root != head.root:
        raise Tampered("the entries and the lists of persons do not add up to the signed head")
    _lines[store] = lines
    return lines


def _entries(store: Store, tx: Connection, start: int, end: int) -> Iterator[tuple[int, bytes]]:
    for first in range(start, end, _STEP):
        yield from sorted(store.entries(tx, range(first, min(first + _STEP, end))).items())


def _epoch(store: Store, tx: Connection, state: lists.State, lines: _Lines) -> bytes | None:
    """Return the entry that states the lists, if it stands among the lines; `Tampered` if it was changed."""
    at = -1 if state.epoch is None else state.epoch - lines.start.size
    if state.epoch is None or not 0 <= at < len(lines.hashes):
        return None
    data = store.entries(tx, [state.epoch]).get(state.epoch, b"")
    if leaf_hash(data) != lines.hashes[at]:
        raise Tampered("the entry that states the lists is not the one that was signed")
    return data
