"""Read both lists of the index from end to end: what an epoch is about to state.

Reads only, a block of rows at a time; what is kept grows with a 256th of the rows.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from operator import lt
from typing import Any

from sqlalchemy import Connection, select

from service.db import index_row
from service.errors import Tampered
from service.ledger import merkle
from service.ledger.index import DIRECTORY, SUBJECTS, Commitment, key_of
from service.ledger.lists import BLOCK, KINDS, state, total_bytes
from service.ledger.merkle import Edge, leaf_hash, node_hash
from service.ledger.store import Store

_FETCH = 10_000  # rows in memory while a list is read from end to end


@dataclass(frozen=True, slots=True, kw_only=True)
class Stated:
    """What an epoch is about to state, and the nodes that rows are shown by."""

    commitment: Commitment
    nodes: Sequence[dict[str, Any]]


def read_whole(tx: Connection, store: Store, key_commitment: bytes) -> Stated:
    """Return what the lists amount to in this (read) transaction's view; takes about 3 s per million rows.

    Raises `Tampered` unless the entries taken in are the first ones of the log, and the rows are those
    that were made of them.
    """
    found = state(tx)
    edge = found.edge
    if merkle.root(edge.size, store.reader(tx)) != edge.root():
        raise Tampered(
            "the index was made of other entries than the log holds; drop its rows, then make it again"
        )
    subjects, subject_sum, subject_nodes = _grow(tx, SUBJECTS)
    openings, directory_sum, directory_nodes = _grow(tx, DIRECTORY)
    if total_bytes(subject_sum + directory_sum) != total_bytes(found.total):
        raise Tampered(
            "a row of the index was changed or lost since it was made; drop its rows, then make it again"
        )
    commitment = Commitment(
        covered=edge.size,
        subjects=subjects.size,
        subject_root=subjects.root(),
        openings=openings.size,
        directory_root=openings.root(),
        key_commitment=key_commitment,
    )
    return Stated(commitment=commitment, nodes=[*subject_nodes, *directory_nodes])


def _grow(tx: Connection, kind: bytes) -> tuple[Edge, int, list[dict[str, Any]]]:
    """Return the right edge of one list's tree, the sum of its rows' hashes, and its nodes above the rows."""
    number, blocks, rest, total, last = KINDS[kind], Edge(), Edge(), 0, b""
    nodes: list[dict[str, Any]] = []
    for rows in _blocks(tx, number):
        keys = [last, *map(key_of, rows)]
        if not all(map(lt, keys, keys[1:])) or not all(row.startswith(kind) for row in rows):
            raise Tampered("the rows of the index are not in order; drop them and make the index again")
        last, hashes = keys[-1], [leaf_hash(row) for row in rows]
        total += sum(int.from_bytes(hashed, "big") for hashed in hashes)
        if len(rows) < BLOCK:
            for hashed in hashes:
                rest.add(hashed)
            break
        top = _whole(hashes)
        nodes.append({"kind": number, "level": 1, "idx": blocks.size, "hash": top, "last_key": last})
        for level, index, node in blocks.add(top):
            above = {"kind": number, "level": level + 1, "idx": index, "hash": node, "last_key": None}
            nodes.append(above)
    return _joined(blocks, rest), total, nodes


def _blocks(tx: Connection, number: int) -> Iterator[Sequence[bytes]]:
    """Yield the rows of a list in order, 256 at a time; the last ones may be fewer."""
    stored = select(index_row.c.row).where(index_row.c.kind == number).order_by(index_row.c.key)
    with tx.execution_options(yield_per=_FETCH).scalars(stored) as rows:
        while block := list(islice(rows, BLOCK)):
            yield block


def _whole(hashes: Sequence[bytes]) -> bytes:
    """Return the root over a power of two of leaf hashes."""
    while len(hashes) > 1:
        hashes = [node_hash(left, right) for left, right in zip(hashes[::2], hashes[1::2], strict=True)]
    return hashes[0]


def _joined(blocks: Edge, rest: Edge) -> Edge:
    """Return the edge over whole blocks and the fewer than 256 rows behind them."""
    size = blocks.size * BLOCK + rest.size
    return Edge.from_bytes(size.to_bytes(8, "big") + blocks.to_bytes()[8:] + rest.to_bytes()[8:])
