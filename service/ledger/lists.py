"""The two sorted lists of `index.py` in the database: taken in by entry, shown by row.

Derived from the entries alone: dropping all rows here and taking every entry in again gives the same
roots. What is taken in is hashed once more, and a root is stated only if the entries behind it add up
to the log's own tree. Nothing here commits.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any, Final

from sqlalchemy import Connection, delete, func, insert, select, update

from service.db import chunks, index_node, index_row, index_state, insert_rows, leaf
from service.errors import Tampered
from service.ledger import merkle
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
from service.ledger.store import LOG_ID, Store

STEP: Final = 4096  # entries taken in by one transaction, some 50 ms: appends wait for it on SQLite

_KINDS = {SUBJECTS: 1, DIRECTORY: 2}
_BLOCK = 256  # rows under one stored node
_FETCH = 10_000  # rows in memory while a list is read from end to end


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """How far the lists have come: `edge` of the entries taken in; `epoch` states them, None if none does."""

    edge: Edge
    epoch: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Stated:
    """What an epoch is about to state, and the nodes that rows are shown by."""

    commitment: Commitment
    nodes: Sequence[dict[str, Any]]


def state(tx: Connection) -> State:
    """Return how far the lists have come in this transaction's view."""
    found = tx.execute(
        select(index_state.c.edge, index_state.c.listed, index_state.c.epoch_idx).where(
            index_state.c.log_id == LOG_ID
        )
    ).one_or_none()
    if found is None:
        return State(edge=Edge(), epoch=None)
    edge = Edge.from_bytes(found.edge)
    return State(edge=edge, epoch=found.epoch_idx if found.listed == edge.size else None)


def begin(tx: Connection) -> None:
    """Make the row that the lists are locked by, once per log; fails if another process just did."""
    tx.execute(insert(index_state).values(log_id=LOG_ID, edge=Edge().to_bytes()))


def begun(tx: Connection) -> bool:
    """Return whether there is a row that the lists are locked by."""
    return tx.scalar(select(index_state.c.log_id).where(index_state.c.log_id == LOG_ID)) is not None


def take_in(tx: Connection, target: int) -> int:
    """Take in the next entries, at most `STEP` and none beyond `target`; return how many are in.

    Raises `Tampered` if an entry does not hash to its leaf, or opens what was opened before.
    """
    edge = _lock(tx)
    start, end = edge.size, min(target, edge.size + STEP)
    if start >= end:
        return start
    events: dict[bytes, list[bytes]] = {}
    openings: dict[bytes, bytes] = {}
    for index, stored, data in _entries(tx, start, end):
        hashed = leaf_hash(data)
        if hashed != stored or index != edge.size:
            raise Tampered(f"entry {index} is missing or not what its hash says; run the integrity check")
        edge.add(hashed)
        subject, opened = read_line(data)
        if subject is not None:
            events.setdefault(subject, []).append(event_leaf(index, hashed))
        if opened is not None and opened[0] in openings:
            raise Tampered(f"entry {index} opens a directory row that an earlier entry opened")
        if opened is not None:
            openings[opened[0]] = directory_row(*opened, index)
    _keep_openings(tx, openings)
    _keep_events(tx, events)
    tx.execute(update(index_state).where(index_state.c.log_id == LOG_ID).values(edge=edge.to_bytes()))
    return edge.size


def read_whole(tx: Connection, store: Store, key_commitment: bytes) -> Stated:
    """Return what the lists amount to in this (read) transaction's view; takes about 3 s per million rows.

    Raises `Tampered` unless the entries taken in are the first ones of the log.
    """
    edge = state(tx).edge
    if merkle.root(edge.size, store.reader(tx)) != edge.root():
        raise Tampered(
            "the index was made of other entries than the log holds; drop its rows, then make it again"
        )
    subjects, subject_nodes = _grow(tx, SUBJECTS)
    openings, directory_nodes = _grow(tx, DIRECTORY)
    commitment = Commitment(
        covered=edge.size,
        subjects=subjects.size,
        subject_root=subjects.root(),
        openings=openings.size,
        directory_root=openings.root(),
        key_commitment=key_commitment,
    )
    return Stated(commitment=commitment, nodes=[*subject_nodes, *directory_nodes])


def lock(tx: Connection, covered: int) -> bool:
    """Lock the lists until the transaction ends; tell whether exactly `covered` entries are in."""
    return _lock(tx).size == covered


def keep(tx: Connection, stated: Stated, epoch: int) -> None:
    """Keep the nodes of the locked lists and the index of the entry that states them."""
    tx.execute(delete(index_node))
    insert_rows(tx, index_node, stated.nodes)
    tx.execute(
        update(index_state)
        .where(index_state.c.log_id == LOG_ID)
        .values(listed=stated.commitment.covered, epoch_idx=epoch)
    )


def show_row(tx: Connection, kind: bytes, key: bytes, commitment: Commitment) -> Shown | Absent:
    """Return what shows that a list has a key or not; the lists must be as `commitment` states them."""
    size, _ = commitment.listing(kind)
    number = _KINDS[kind]
    before = tx.scalar(
        select(func.count()).where(
            index_node.c.kind == number, index_node.c.level == 1, index_node.c.last_key < key
        )
    )
    first = (before or 0) * _BLOCK
    position = first + sum(key_of(row) < key for row in _block(tx, number, first // _BLOCK))
    blocks = {at // _BLOCK for at in (position - 1, position) if 0 <= at < size}
    rows = {block: _block(tx, number, block) for block in blocks}

    def row_at(at: int) -> bytes:
        return rows[at // _BLOCK][at % _BLOCK]

    return show(key, position, size, row_at, _reader(tx, number))


def _lock(tx: Connection) -> Edge:
    stored = tx.scalar(select(index_state.c.edge).where(index_state.c.log_id == LOG_ID).with_for_update())
    assert stored is not None, "the lists were begun before they are locked"
    return Edge.from_bytes(stored)


def _entries(tx: Connection, start: int, end: int) -> Iterator[tuple[int, bytes, bytes]]:
    rows = tx.execute(
        select(leaf.c.idx, leaf.c.hash, leaf.c.entry)
        .where(leaf.c.log_id == LOG_ID, leaf.c.idx >= start, leaf.c.idx < end)
        .order_by(leaf.c.idx)
    )
    yield from rows


def _keep_openings(tx: Connection, openings: dict[bytes, bytes]) -> None:
    number = _KINDS[DIRECTORY]
    if _found(tx, number, list(openings)):
        raise Tampered("an entry opens a directory row that an earlier entry opened; run the integrity check")
    rows = [{"kind": number, "key": key, "row": row, "edge": None} for key, row in openings.items()]
    insert_rows(tx, index_row, rows)


def _keep_events(tx: Connection, events: dict[bytes, list[bytes]]) -> None:
    number = _KINDS[SUBJECTS]
    known = _found(tx, number, list(events))
    rows: list[dict[str, Any]] = []
    for subject, leaves in events.items():
        edge = Edge.from_bytes(known[subject]) if subject in known else Edge()
        for one in leaves:
            edge.add(one)
        row = subject_row(subject, edge.size, edge.root())
        rows.append({"kind": number, "key": subject, "row": row, "edge": edge.to_bytes()})
    for part in chunks(list(known)):
        tx.execute(delete(index_row).where(index_row.c.kind == number, index_row.c.key.in_(part)))
    insert_rows(tx, index_row, rows)


def _found(tx: Connection, number: int, keys: Sequence[bytes]) -> dict[bytes, bytes]:
    """Return the rows of one list under these keys: the stored edge of a subject, empty for an opening."""
    found: dict[bytes, bytes] = {}
    for part in chunks(keys):
        rows = tx.execute(
            select(index_row.c.key, index_row.c.edge).where(
                index_row.c.kind == number, index_row.c.key.in_(part)
            )
        )
        found.update((row.key, row.edge or b"") for row in rows)
    return found


def _grow(tx: Connection, kind: bytes) -> tuple[Edge, list[dict[str, Any]]]:
    """Return the right edge of one list's tree, and its nodes above the rows."""
    number, edge, last = _KINDS[kind], Edge(), b""
    nodes: list[dict[str, Any]] = []
    rows = tx.execution_options(yield_per=_FETCH).scalars(
        select(index_row.c.row).where(index_row.c.kind == number).order_by(index_row.c.key)
    )
    for row in rows:
        key = key_of(row)
        if key <= last or not row.startswith(kind):
            raise Tampered("the rows of the index are not in order; drop them and make the index again")
        last = key
        for level, index, node in edge.add(leaf_hash(row)):
            ends = key if level == 1 else None
            nodes.append({"kind": number, "level": level, "idx": index, "hash": node, "last_key": ends})
    return edge, nodes


def _block(tx: Connection, number: int, block: int) -> list[bytes]:
    """Return the rows of one block of 256, fewer at the end of the list."""
    rows = select(index_row.c.row).where(index_row.c.kind == number)
    if block:
        before = select(index_node.c.last_key).where(
            index_node.c.kind == number, index_node.c.level == 1, index_node.c.idx == block - 1
        )
        rows = rows.where(index_row.c.key > tx.scalar(before))
    return list(tx.scalars(rows.order_by(index_row.c.key).limit(_BLOCK)))


def _reader(tx: Connection, number: int) -> merkle.Read:
    """Return a reader of the hashes of one list's tree."""

    def read(wanted: Sequence[tuple[int, int]]) -> list[bytes]:
        found: dict[tuple[int, int], bytes] = {}
        low = sorted({index // _BLOCK for level, index in wanted if level == 0})
        for block in low:
            for offset, row in enumerate(_block(tx, number, block)):
                found[0, block * _BLOCK + offset] = leaf_hash(row)
        for level, pairs in groupby(sorted({pair for pair in wanted if pair[0]}), key=lambda pair: pair[0]):
            indexes = [index for _, index in pairs]
            rows = tx.execute(
                select(index_node.c.idx, index_node.c.hash).where(
                    index_node.c.kind == number,
                    index_node.c.level == level,
                    index_node.c.idx.between(indexes[0], indexes[-1]),
                )
            )
            found.update(((level, row.idx), row.hash) for row in rows)
        if missing := [pair for pair in wanted if pair not in found]:
            raise Tampered(f"the index misses the hash at level {missing[0][0]}, index {missing[0][1]}")
        return [found[pair] for pair in wanted]

    return read
