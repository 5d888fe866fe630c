"""Show that one of the sorted lists in the database has a key, or that it has not.

Reads only: a block of 256 rows and the stored nodes above it, however long the list is.
"""

from collections.abc import Sequence
from itertools import groupby

from sqlalchemy import Connection, func, select

from service.db import index_node, index_row
from service.errors import Tampered
from service.ledger import merkle
from service.ledger.index import Absent, Commitment, Shown, key_of, show
from service.ledger.lists import KINDS
from service.ledger.merkle import leaf_hash

_BLOCK = 256  # rows under one stored node


def show_row(tx: Connection, kind: bytes, key: bytes, commitment: Commitment) -> Shown | Absent:
    """Return what shows that a list has a key or not; the lists must be as `commitment` states them."""
    size, _ = commitment.listing(kind)
    number = KINDS[kind]
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
