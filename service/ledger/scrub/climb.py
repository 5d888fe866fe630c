"""From blocks of leaf hashes up to the root, by two ways: what was made again, and what is stored."""

from collections.abc import Iterator, Sequence
from typing import Final

from sqlalchemy import Connection, select

from service.db import node
from service.errors import Tampered
from service.ledger.merkle import HASH_BYTES, Edge
from service.ledger.proof import Checkpoint
from service.ledger.scrub import MOST, Damage
from service.ledger.scrub.blocks import WIDTH, whole
from service.ledger.store import LOG_ID

_LOST: Final = bytes(HASH_BYTES)  # stands for a subtree of which nothing is left
_DENIED: Final = "not what was signed: what is stored above leads to the signed head, and this does not"


class Climb:
    """Grows the tree over blocks of 256 entries: `made` from the entries, `told` from stored nodes.

    Only the right edges are kept. Blocks that differ are in doubt until the head has been reached.
    """

    def __init__(self, tx: Connection) -> None:
        self._tx = tx
        self._made, self._told = Edge(), Edge()
        self._rest: Sequence[bytes] | None = ()
        self._doubts: list[int] = []
        self._full = range(0)
        self._stored: dict[int, bytes] = {}

    def begin(self, numbers: range) -> None:
        """Read the stored nodes of the blocks that come next."""
        self._full = numbers
        self._stored = _level(self._tx, 1, numbers)

    def skip(self, numbers: range) -> Iterator[Damage]:
        """Go on past blocks without a single entry."""
        for number in numbers:
            yield from self.add(number, None)

    def add(self, number: int, hashes: Sequence[bytes] | None) -> Iterator[Damage]:
        """Take in the leaf hashes of the next block; None where some are missing."""
        if number not in self._full:
            self._rest = hashes  # the last block, which has no node yet
            return
        stored = self._stored.get(number)
        made = whole(hashes) if hashes is not None else None
        if stored is None:
            yield Damage(where=f"node, level 1, index {number}", what="missing")
        elif made not in (None, stored) and len(self._doubts) < MOST:
            self._doubts.append(number)
        above = self._made.add(made or stored or _LOST)
        beside = self._told.add(stored or made or _LOST)
        for (level, index, one), (_, _, other) in zip(above, beside, strict=True):
            yield from self._node(level + 1, index, one, other)

    def verdict(self, head: Checkpoint | None, size: int, edge: bytes) -> Iterator[Damage]:
        """Yield what the signed head tells about the edge, and about whatever is in doubt."""
        try:
            stored = Edge.from_bytes(edge)
        except Tampered as error:
            yield Damage(where="log_state.edge", what=str(error))
            stored = None
        made, told = (self._whole(way) for way in (self._made, self._told))
        root = head.root if head is not None else stored.root() if stored is not None else None
        if made is not None and made.root() == root:
            yield from (_node_damage(number) for number in self._doubts)
            if stored is not None and stored.to_bytes() != made.to_bytes():
                yield Damage(where="log_state.edge", what="is not that of the entries and the signed head")
        else:
            yield from self._replaced(root, told, stored, size)

    def _replaced(
        self, root: bytes | None, told: Edge | None, stored: Edge | None, size: int
    ) -> Iterator[Damage]:
        """Yield where entries are not those that the head was signed over."""
        for number in self._doubts:
            where = f"leaf, entries {number * WIDTH} to {number * WIDTH + WIDTH - 1}"
            yield Damage(where=where, what="not those that the node above them was made of")
        if told is not None and told.root() == root:
            return
        if stored is not None and stored.size == size and stored.root() == root:
            yield from self._differing(stored, told)
        else:
            what = f"the {size} entries and the nodes above them do not lead to what the log signed"
            yield Damage(where="log_state.head", what=what)

    def _differing(self, stored: Edge, told: Edge | None) -> Iterator[Damage]:
        """Yield the parts of the log for which the edge, which is as it was signed, has other hashes."""
        if told is None:
            return  # entries are missing there, which has been told
        mine = told.subtrees()
        for (start, end), subtree in stored.subtrees().items():
            if mine[start, end] != subtree:
                yield Damage(where=f"leaf, entries {start} to {end - 1}", what=_DENIED)

    def _whole(self, blocks: Edge) -> Edge | None:
        """Return the edge over all blocks and the entries behind them, None where some are missing."""
        if self._rest is None:
            return None
        rest = Edge()
        for one in self._rest:
            rest.add(one)
        size = blocks.size * WIDTH + rest.size
        return Edge.from_bytes(size.to_bytes(8, "big") + blocks.to_bytes()[8:] + rest.to_bytes()[8:])

    def _node(self, level: int, index: int, made: bytes, told: bytes) -> Iterator[Damage]:
        where = f"node, level {level}, index {index}"
        stored = _level(self._tx, level, range(index, index + 1)).get(index)
        if stored is None:
            yield Damage(where=where, what="missing")
        elif stored not in (made, told):
            yield Damage(where=where, what="not the hash of the nodes below it")


def _node_damage(number: int) -> Damage:
    what = "not the hash of the entries below it, which lead to the signed head"
    return Damage(where=f"node, level 1, index {number}", what=what)


def _level(tx: Connection, level: int, indexes: range) -> dict[int, bytes]:
    between = (node.c.idx >= indexes.start, node.c.idx < indexes.stop)
    mine = select(node.c.idx, node.c.hash).where(node.c.log_id == LOG_ID, node.c.level == level, *between)
    return dict(tx.execute(mine).all())
