"""Read entries again and see that the stored tree is what they make it.

What is signed for outsiders is not taken from stored hashes on trust: one flipped bit between hashing
and signing has ended a log before (Yeti, 2022). Only reads.
"""

from collections.abc import Iterator, Sequence

from sqlalchemy import Connection

from service.errors import Tampered
from service.ledger import merkle
from service.ledger.merkle import Edge, Read
from service.ledger.store import Store

CHUNK = 4096  # entries in memory at a time, about 2 MB; a multiple of the width of a tile


def edge_at(size: int, read: Read) -> Edge:
    """Return the right edge of the first `size` leaves, from stored hashes."""
    data = size.to_bytes(8, "big")
    start = 0
    for height in range(size.bit_length() - 1, -1, -1):
        if size >> height & 1:
            data += merkle.root(1 << height, _shifted(read, start))
            start += 1 << height
    return Edge.from_bytes(data)


def reread(tx: Connection, store: Store, edge: Edge, end: int) -> Iterator[list[bytes]]:
    """Yield the entries from the edge's size to `end`, up to 4,096 at a time, growing the edge by them.

    Each is hashed again. Raises `Tampered`, naming the entry or node, where an entry is missing or a
    stored hash is not that of what it stands for.
    """
    while edge.size < end:
        start = edge.size
        stop = min(end, (start // CHUNK + 1) * CHUNK)
        entries = _entries(tx, store, start, stop)
        hashes = [merkle.leaf_hash(entry) for entry in entries]
        stored = store.leaf_hashes(tx, range(start, stop))
        for index, found in enumerate(hashes, start):
            if stored.get(index) != found:
                raise Tampered(f"entry {index} is not what its stored hash stands for; {_REMEDY}")
        completed = [node for leaf in hashes for node in edge.add(leaf)]
        _compare_nodes(completed, store.reader(tx))
        yield entries


_REMEDY = "publish nothing, and restore the log from a backup that verifies"


def _entries(tx: Connection, store: Store, start: int, stop: int) -> list[bytes]:
    found = store.entries(tx, range(start, stop))
    missing = next((index for index in range(start, stop) if index not in found), None)
    if missing is not None:
        raise Tampered(f"entry {missing} is missing from the log; {_REMEDY}")
    return [found[index] for index in range(start, stop)]


def _compare_nodes(completed: Sequence[tuple[int, int, bytes]], read: Read) -> None:
    stored = read([(level, index) for level, index, _ in completed]) if completed else []
    for (level, index, node), found in zip(completed, stored, strict=True):
        if node != found:
            raise Tampered(
                f"the stored hash at level {level}, index {index} is not that of what is below it; {_REMEDY}"
            )


def _shifted(read: Read, start: int) -> Read:
    """Return a reader of the subtree that begins at leaf `start`, as if it were a tree of its own."""

    def shifted(wanted: Sequence[tuple[int, int]]) -> Sequence[bytes]:
        return read([(level, index + (start >> 8 * level)) for level, index in wanted])

    return shifted
