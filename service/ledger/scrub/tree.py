"""The log itself: entries, their hashes, the nodes above them, the right edge and the signed head.

One pass over the entries from first to last. Where a stored hash and its entry disagree, the entry's own
signature tells which of the two was changed; where nodes and entries disagree, the signed head tells.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, and_, func, or_, select

from service.db import leaf, log_state, node
from service.errors import Tampered
from service.ledger import entry as entries
from service.ledger.merkle import leaf_hash
from service.ledger.note import Verifier, Verifies
from service.ledger.proof import Checkpoint, open_checkpoint
from service.ledger.scrub import Count, Damage
from service.ledger.scrub.blocks import STEP, WIDTH, Block, blocks, outside
from service.ledger.scrub.climb import Climb
from service.ledger.scrub.share import WHOLE, Share
from service.ledger.store import LOG_ID, Store


@dataclass(frozen=True, slots=True, kw_only=True)
class Tree:
    """Looks at one log; `heads` are the keys that may have signed its head, `ingest` those of entries.

    Entries outside the `share` are not read: the nodes above them stand for them, up to the signed head.
    """

    store: Store
    heads: Sequence[Verifies]
    ingest: Sequence[Verifier]
    share: Share = WHOLE

    def look(self, tx: Connection, count: Count) -> Iterator[Damage]:
        """Yield what is damaged in leaf, node and log_state."""
        columns = (log_state.c.origin, log_state.c.size, log_state.c.edge, log_state.c.head)
        state = tx.execute(select(*columns).where(log_state.c.log_id == LOG_ID)).one_or_none()
        if state is None:
            yield Damage(where="log_state", what="the row is missing")
            return
        head, damage = self._head(state.head, state.size, state.origin)
        yield from damage
        size = state.size if head is None else head.size
        climb = Climb(tx)
        for start in range(0, size, self.share.step):
            stop = min(start + self.share.step, size)
            if self.share.has(start) or stop == size:
                yield from self._step(tx, climb, start, stop)
            else:
                climb.begin(range(start // WIDTH, stop // WIDTH))
                yield from climb.skip(range(start // WIDTH, stop // WIDTH))
            count(stop, size)
        yield from climb.verdict(head, size, state.edge)
        yield from _beyond(tx, size)

    def _head(self, note: bytes, size: int, origin: str) -> tuple[Checkpoint | None, list[Damage]]:
        try:
            head = open_checkpoint(note, self.heads)
        except Tampered as error:
            return None, [Damage(where="log_state.head", what=str(error))]
        damage = []
        if {head.origin, origin} != {self.store.origin}:
            what = f"this is the log {origin} with a head of {head.origin}, not {self.store.origin}"
            damage.append(Damage(where="log_state.origin", what=what))
        if head.size != size:
            what = f"says {size} entries, but the signed head {head.size}"
            damage.append(Damage(where="log_state.size", what=what))
        return head, damage

    def _step(self, tx: Connection, climb: Climb, start: int, stop: int) -> Iterator[Damage]:
        """Look at the entries of one step, and climb from them."""
        climb.begin(range(start // WIDTH, stop // WIDTH))
        missing: list[int] = []
        expected = start
        for block in blocks(tx, start, stop):
            missing += range(expected, block.number * WIDTH)
            yield from climb.skip(range(expected // WIDTH, block.number))
            end = min((block.number + 1) * WIDTH, stop)
            absent = sorted({*range(block.number * WIDTH, end)} - {*block.indexes})
            hashes, damage = self._true(tx, block)
            yield from damage
            yield from climb.add(block.number, None if absent else hashes)
            missing += absent
            expected = end
        missing += range(expected, stop)
        yield from climb.skip(range(-(-expected // WIDTH), -(-stop // WIDTH)))
        yield from (Damage(where=f"leaf, {span}", what="missing") for span in spans(missing))

    def _true(self, tx: Connection, block: Block) -> tuple[Sequence[bytes], list[Damage]]:
        """Return the hashes of a block as they were signed, as far as can be told, and what is wrong."""
        if not block.wrong:
            return block.hashes, []
        found, damage = dict(zip(block.indexes, block.hashes, strict=True)), []
        for index, data in sorted(self.store.entries(tx, block.wrong).items()):
            if self._signed(data):
                found[index] = leaf_hash(data)
                what = "the stored hash is not that of the entry, whose own signature holds"
                damage.append(Damage(where=f"leaf.hash, entry {index}", what=what))
            else:
                what = "the bytes are not those that its hash stands for, nor what was signed"
                damage.append(Damage(where=f"leaf.entry, entry {index}", what=what))
        return list(found.values()), damage

    def _signed(self, data: bytes) -> bool:
        try:
            entries.check(data, self.ingest)
        except Tampered:
            return False
        return True


def spans(indexes: Sequence[int]) -> Iterator[str]:
    """Yield runs of neighbouring indexes as words."""
    first = last = None
    for index in indexes:
        if last is not None and index != last + 1:
            yield _span(first or 0, last)
            first = index
        first, last = index if first is None else first, index
    if last is not None:
        yield _span(first or 0, last)


def _span(first: int, last: int) -> str:
    return f"entry {first}" if first == last else f"entries {first} to {last}"


def _beyond(tx: Connection, size: int) -> Iterator[Damage]:
    """Yield what stands in the tables that no entry below `size` accounts for."""
    counts = select(func.count(), func.min(leaf.c.idx))
    counted = [tx.execute(counts.where(one)).one() for one in outside(leaf, size)]
    if extra := sum(number for number, _ in counted):
        first = min(first for number, first in counted if number)
        yield Damage(where=f"leaf, entry {first}", what=f"{extra} rows more than the log has entries")
    levels = range(1, 9)
    inside = [and_(node.c.level == level, node.c.idx < size >> 8 * level) for level in levels]
    within = and_(node.c.log_id == LOG_ID, node.c.idx >= 0, or_(*inside))
    for level, index in tx.execute(select(node.c.level, node.c.idx).where(~within).limit(STEP)):
        yield Damage(where=f"node, level {level}, index {index}", what="stands above no entries")
