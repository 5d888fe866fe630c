"""Published checkpoints: each one as both keys signed it, of the tree as it was at its size, none missing."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from sqlalchemy import Connection, Row, func, select

from service.db import checkpoint
from service.errors import Tampered
from service.ledger.merkle import root
from service.ledger.note import Verifies
from service.ledger.proof import Checkpoint, open_checkpoint
from service.ledger.scrub import Count, Damage
from service.ledger.scrub.share import WHOLE, Share
from service.ledger.store import LOG_ID, Store

_FETCH = 1000  # rows in memory
_Row: TypeAlias = Row[int, int, int, bytes, bytes]


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """Looks at the published checkpoints of one log; `heads` are the keys that may have signed them."""

    store: Store
    heads: Sequence[Verifies]
    share: Share = WHOLE

    def look(self, tx: Connection, count: Count) -> Iterator[Damage]:
        """Yield what is damaged in checkpoint; the tree is believed, another part looks at it."""
        if not self.store.exists(tx):
            return
        first = self._first(tx)
        total = tx.execute(select(func.count()).select_from(checkpoint)).scalar_one() - first
        columns = (checkpoint.c.log_id, checkpoint.c.number, checkpoint.c.size, checkpoint.c.root)
        mine = [] if self.share.ends else [checkpoint.c.size <= self.share.stop]
        stored = select(*columns, checkpoint.c.note).order_by(checkpoint.c.log_id, checkpoint.c.number)
        if first:
            mine.append(checkpoint.c.number >= first)
        with tx.execute(stored.where(*mine), execution_options={"yield_per": _FETCH}) as rows:
            for done, damage in enumerate(self._judge(tx, rows, first)):
                yield from damage
                if done % _FETCH == 0:
                    count(done, total)

    def _first(self, tx: Connection) -> int:
        """Return the number with which this share begins: after those of sizes up to its start."""
        if not self.share.start:
            return 0
        before = select(func.max(checkpoint.c.number)).where(
            checkpoint.c.log_id == LOG_ID, checkpoint.c.size <= self.share.start
        )
        last = tx.scalar(before)
        return 0 if last is None else last + 1

    def _judge(self, tx: Connection, rows: Iterable[_Row], first: int) -> Iterator[list[Damage]]:
        """Yield what is wrong with each row, the first of which has this number."""
        seen, known = first, self.store.size(tx)
        before, proven = Checkpoint(self.store.origin, -1, b""), None
        for row in rows:
            damage = []
            if row.number != seen:
                damage.append(Damage(where=f"checkpoint, number {seen}", what="missing"))
            seen = row.number + 1
            if (row.size, row.root) != (before.size, before.root):
                before = Checkpoint(self.store.origin, row.size, row.root)
                proven = self._root(tx, row, known)
            if why := self._wrong(row, before, proven):
                damage.append(Damage(where=f"checkpoint, number {row.number}", what=why))
            yield damage

    def _root(self, tx: Connection, row: _Row, known: int) -> bytes | None:
        """Return the root of the tree at the row's size, None where the log does not reach so far."""
        return root(row.size, self.store.reader(tx)) if 0 <= row.size <= known else None

    def _wrong(self, row: _Row, said: Checkpoint, proven: bytes | None) -> str | None:
        """Return why a row is not what was published, None if it is."""
        try:
            signed = open_checkpoint(row.note, self.heads)
        except Tampered as error:
            return str(error)
        if signed != said or row.log_id != LOG_ID:
            return f"the row says {row.size} entries, its signed note {signed.size}, or their roots differ"
        if proven is None:
            return f"{row.size} entries were published, and the log is shorter"
        if proven != row.root:
            return f"the first {row.size} entries do not have the root that was published"
        return None
