"""The two sorted lists of `index.py` in the database: taken in entry by entry, stated as a whole.

Derived from the entries alone: dropping all rows here and taking every entry in again gives the same
roots. What is taken in is hashed once more, and a root is stated only if the entries behind it add up
to the log's own tree. Nothing here commits; `lookup.py` shows single
rows.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Connection, delete, insert, select, update

from service.db import chunks, index_node, index_row, index_state, insert_rows, leaf
from service.errors import Tampered
from service.ledger.index import (
    DIRECTORY,
    SUBJECTS,
    directory_row,
    event_leaf,
    read_line,
    subject_row,
)
from service.ledger.merkle import HASH_BYTES, Edge, leaf_hash
from service.ledger.store import LOG_ID

KINDS: Final = {SUBJECTS: 1, DIRECTORY: 2}
"""What the lists are called in the database."""
BLOCK: Final = 256  # rows under one stored node
STEP: Final = 4096  # entries taken in by one transaction, some 50 ms: appends wait for it on SQLite

_FETCH = 10_000  # rows in memory while a list is read from end to end


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """How far the lists have come: `edge` of the entries taken in; `epoch` states them, None if none does.

    `total` is the sum of the rows' hashes, by which a row that was changed or lost is noticed.
    """

    edge: Edge
    total: int
    epoch: int | None


def state(tx: Connection) -> State:
    """Return how far the lists have come in this transaction's view."""
    found = tx.execute(
        select(index_state.c.edge, index_state.c.total, index_state.c.listed, index_state.c.epoch_idx).where(
            index_state.c.log_id == LOG_ID
        )
    ).one_or_none()
    if found is None:
        return State(edge=Edge(), total=0, epoch=None)
    edge, total = Edge.from_bytes(found.edge), int.from_bytes(found.total, "big")
    return State(edge=edge, total=total, epoch=found.epoch_idx if found.listed == edge.size else None)


def begin(tx: Connection) -> None:
    """Make the row that the lists are locked by, once per log; fails if another process just did."""
    tx.execute(insert(index_state).values(log_id=LOG_ID, edge=Edge().to_bytes(), total=bytes(HASH_BYTES)))


def begun(tx: Connection) -> bool:
    """Return whether there is a row that the lists are locked by."""
    return tx.scalar(select(index_state.c.log_id).where(index_state.c.log_id == LOG_ID)) is not None


def forget(tx: Connection) -> None:
    """Drop both lists; the next epoch makes them again from the first entry on."""
    for table in (index_state, index_row, index_node):
        tx.execute(delete(table))


def take_in(tx: Connection, target: int, *, step: int = STEP) -> int:
    """Take in the next entries, at most `step` and none beyond `target`; return how many are in.

    Raises `Tampered` if an entry does not hash to its leaf, or opens what was opened before.
    """
    found = _lock(tx)
    edge = found.edge
    start, end = edge.size, min(target, edge.size + step)
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
    total = found.total + _keep_openings(tx, openings) + _keep_events(tx, events)
    tx.execute(
        update(index_state)
        .where(index_state.c.log_id == LOG_ID)
        .values(edge=edge.to_bytes(), total=total_bytes(total))
    )
    return edge.size


def lock(tx: Connection, covered: int) -> bool:
    """Lock the lists until the transaction ends; tell whether exactly `covered` entries are in."""
    return _lock(tx).edge.size == covered


def keep(tx: Connection, covered: int, nodes: Sequence[Mapping[str, Any]], epoch: int) -> None:
    """Keep the nodes of the locked lists and the index of the entry that states them."""
    tx.execute(delete(index_node))
    insert_rows(tx, index_node, nodes)
    tx.execute(
        update(index_state).where(index_state.c.log_id == LOG_ID).values(listed=covered, epoch_idx=epoch)
    )


def _lock(tx: Connection) -> State:
    """Lock the lists until the transaction ends and return how far they have come."""
    tx.execute(select(index_state.c.log_id).where(index_state.c.log_id == LOG_ID).with_for_update())
    return state(tx)


def total_bytes(total: int) -> bytes:
    """Return a sum of rows' hashes as it is stored: modulo 2**256."""
    return (total % (1 << 256)).to_bytes(HASH_BYTES, "big")


def _weight(row: bytes) -> int:
    return int.from_bytes(leaf_hash(row), "big")


def _entries(tx: Connection, start: int, end: int) -> Iterator[tuple[int, bytes, bytes]]:
    rows = tx.execute(
        select(leaf.c.idx, leaf.c.hash, leaf.c.entry)
        .where(leaf.c.log_id == LOG_ID, leaf.c.idx >= start, leaf.c.idx < end)
        .order_by(leaf.c.idx)
    )
    yield from rows


def _keep_openings(tx: Connection, openings: dict[bytes, bytes]) -> int:
    """Write new rows of the directory; return by how much the sum of hashes grows."""
    number = KINDS[DIRECTORY]
    if _found(tx, number, list(openings)):
        raise Tampered("an entry opens a directory row that an earlier entry opened; run the integrity check")
    rows = [{"kind": number, "key": key, "row": row, "edge": None} for key, row in openings.items()]
    insert_rows(tx, index_row, rows)
    return sum(map(_weight, openings.values()))


def _keep_events(tx: Connection, events: dict[bytes, list[bytes]]) -> int:
    """Write the rows of these subjects, grown; return by how much the sum of hashes grows."""
    number = KINDS[SUBJECTS]
    known = _found(tx, number, list(events))
    rows: list[dict[str, Any]] = []
    for subject, leaves in events.items():
        edge = Edge.from_bytes(known[subject][1]) if subject in known else Edge()
        for one in leaves:
            edge.add(one)
        row = subject_row(subject, edge.size, edge.root())
        rows.append({"kind": number, "key": subject, "row": row, "edge": edge.to_bytes()})
    for part in chunks(list(known)):
        tx.execute(delete(index_row).where(index_row.c.kind == number, index_row.c.key.in_(part)))
    insert_rows(tx, index_row, rows)
    return sum(_weight(row["row"]) for row in rows) - sum(_weight(row) for row, _ in known.values())


def _found(tx: Connection, number: int, keys: Sequence[bytes]) -> dict[bytes, tuple[bytes, bytes]]:
    """Return the rows of one list under these keys, each with a subject's stored edge."""
    found: dict[bytes, tuple[bytes, bytes]] = {}
    for part in chunks(keys):
        rows = tx.execute(
            select(index_row.c.key, index_row.c.row, index_row.c.edge).where(
                index_row.c.kind == number, index_row.c.key.in_(part)
            )
        )
        found.update((row.key, (row.row, row.edge or b"")) for row in rows)
    return found
