"""Show that one of the sorted lists in the database has a key, or that it has not.

Reads only: a few blocks of 256 rows and the stored nodes above them, however long the list is.
"""

from collections.abc import Sequence
from itertools import groupby

from sqlalchemy import ColumnElement, Connection, and_, func, select

from service.db import index_node, index_row
from service.errors import Tampered
from service.ledger.index import (
    Absent,
    Commitment,
    Shown,
    key_of,
    require_absent,
    require_shown,
    show,
)
from service.ledger.lists import BLOCK, KINDS
from service.ledger.merkle import leaf_hash


def show_row(tx: Connection, kind: bytes, key: bytes, commitment: Commitment) -> Shown | Absent:
    """Return what shows that a list has a key or not; the lists must be as `commitment` states them."""
    size, _ = commitment.listing(kind)
    stored = _Stored(tx, KINDS[kind])
    return show(key, stored.count_below(key), size, stored.row_at, stored.read)


def row_under(tx: Connection, kind: bytes, key: bytes, commitment: Commitment | None) -> bytes | None:
    """Return the row that a list has under a key, None if it has none; `Tampered` if `commitment` disagrees.

    Without a commitment, while the lists are taking entries in, the row is as it is stored.
    """
    if commitment is None:
        wanted = (index_row.c.kind == KINDS[kind], index_row.c.key == key)
        return tx.scalar(select(index_row.c.row).where(*wanted))
    found = show_row(tx, kind, key, commitment)
    if isinstance(found, Absent):
        require_absent(key, found, kind, commitment)
        return None
    require_shown(found, kind, commitment)
    return found.row


class _Stored:
    """One list as it is stored; each block is read once."""

    def __init__(self, tx: Connection, kind: int) -> None:
        self._tx = tx
        self._kind = kind
        self._blocks: dict[int, list[bytes]] = {}

    def count_below(self, key: bytes) -> int:
        """Return how many rows have a smaller key."""
        wanted = (self._of_kind(1), index_node.c.last_key < key)
        block = self._tx.scalar(select(func.count()).select_from(index_node).where(*wanted)) or 0
        return block * BLOCK + sum(key_of(row) < key for row in self._block(block))

    def row_at(self, position: int) -> bytes:
        """Return the row at a position."""
        block = self._block(position // BLOCK)
        if position % BLOCK >= len(block):
            raise Tampered(
                f"the index misses the row at position {position}; drop its rows and make it again"
            )
        return block[position % BLOCK]

    def read(self, wanted: Sequence[tuple[int, int]]) -> list[bytes]:
        """Return stored hashes of the list's tree, by level and index."""
        found: dict[tuple[int, int], bytes] = {}
        for level, pairs in groupby(sorted(set(wanted)), key=lambda pair: pair[0]):
            indexes = [index for _, index in pairs]
            nodes = self._nodes(level, indexes) if level else self._hashes(indexes)
            found.update(((level, index), node) for index, node in nodes.items())
        if missing := [pair for pair in wanted if pair not in found]:
            raise Tampered(f"the index misses the hash at level {missing[0][0]}, index {missing[0][1]}")
        return [found[pair] for pair in wanted]

    def _hashes(self, positions: Sequence[int]) -> dict[int, bytes]:
        return {position: leaf_hash(self.row_at(position)) for position in positions}

    def _nodes(self, level: int, indexes: Sequence[int]) -> dict[int, bytes]:
        rows = self._tx.execute(
            select(index_node.c.idx, index_node.c.hash).where(
                self._of_kind(level), index_node.c.idx.between(indexes[0], indexes[-1])
            )
        )
        return {row.idx: row.hash for row in rows}

    def _block(self, block: int) -> list[bytes]:
        """Return the rows of one block, fewer than 256 at the end of the list."""
        if block not in self._blocks:
            rows = select(index_row.c.row).where(index_row.c.kind == self._kind)
            if block:
                before = select(index_node.c.last_key).where(self._of_kind(1), index_node.c.idx == block - 1)
                rows = rows.where(index_row.c.key > self._tx.scalar(before))
            found = self._tx.scalars(rows.order_by(index_row.c.key).limit(BLOCK))
            self._blocks[block] = list(found)
        return self._blocks[block]

    def _of_kind(self, level: int) -> ColumnElement[bool]:
        return and_(index_node.c.kind == self._kind, index_node.c.level == level)
