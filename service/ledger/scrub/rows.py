"""Idempotency keys: each row as it was written, one for each entry that a source sent, and no other."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from sqlalchemy import ColumnElement, Connection, func, literal_column, select

from service.db import dedupe, log_state
from service.ledger.scrub import Count, Damage
from service.ledger.scrub.share import WHOLE, Share
from service.ledger.store import LOG_ID, Known, dedupe_digest

_FETCH: Final = 10_000  # rows in memory
_UNFIT: Final[ColumnElement[bool]] = literal_column(
    "digest <> substr(sha256(key || request || int8send(idx) || int8send(size)), 1, 8)"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rows:
    """Looks at the rows of `dedupe` whose keys are in the `share`."""

    share: Share = WHOLE

    def look(self, tx: Connection, count: Count) -> Iterator[Damage]:
        """Yield what is damaged in dedupe; whether each entry has its row is seen where entries are read."""
        size = tx.scalar(select(log_state.c.size).where(log_state.c.log_id == LOG_ID)) or 0
        mine = self._mine()
        total = tx.execute(select(func.count()).select_from(dedupe).where(*mine)).scalar_one()
        unfit = _unfit_sqlite if tx.dialect.name == "sqlite" else _unfit_postgresql
        for index in unfit(tx, mine):
            yield Damage(where=f"dedupe, of entry {index}", what="the row is not as it was written")
        outside = (dedupe.c.idx < 0) | (dedupe.c.idx >= dedupe.c.size) | (dedupe.c.size > size)
        wrong = [[outside, *mine]]
        if self.share.ends:
            wrong += [[dedupe.c.log_id < LOG_ID], [dedupe.c.log_id > LOG_ID]]
        for conditions in wrong:
            for index in tx.scalars(select(dedupe.c.idx).where(*conditions)):
                what = "names an entry or a receipt that there is not"
                yield Damage(where=f"dedupe, of entry {index}", what=what)
        count(total, total)

    def _mine(self) -> list[ColumnElement[bool]]:
        upto = [] if self.share.high is None else [dedupe.c.key < self.share.high]
        return [dedupe.c.log_id == LOG_ID, dedupe.c.key >= self.share.low, *upto]


def _unfit_postgresql(tx: Connection, mine: list[ColumnElement[bool]]) -> Iterator[int]:
    yield from tx.scalars(select(dedupe.c.idx).where(_UNFIT, *mine))


def _unfit_sqlite(tx: Connection, mine: list[ColumnElement[bool]]) -> Iterator[int]:
    columns = (dedupe.c.key, dedupe.c.request, dedupe.c.idx, dedupe.c.size, dedupe.c.digest)
    stored = select(*columns).where(*mine)
    with tx.execute(stored, execution_options={"yield_per": _FETCH}) as rows:
        for key, request, index, size, digest in rows:
            known = Known(request=request, index=index, size=size)
            if min(index, size) < 0 or dedupe_digest(key, known) != digest:
                yield index
