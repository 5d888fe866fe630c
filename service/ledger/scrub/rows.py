"""Idempotency keys: each row as it was written, one for each entry that a source sent, and no other."""

from collections.abc import Iterator
from typing import Final

from sqlalchemy import Connection, func, select, text

from service.db import dedupe, log_state
from service.ledger.scrub import Count, Damage
from service.ledger.store import LOG_ID, Known, dedupe_digest

_FETCH: Final = 10_000  # rows in memory
_UNFIT: Final = text(
    "SELECT idx FROM dedupe "
    "WHERE digest <> substr(sha256(key || request || int8send(idx) || int8send(size)), 1, 8)"
)


def look(tx: Connection, count: Count) -> Iterator[Damage]:
    """Yield what is damaged in dedupe; whether each entry has its row is seen where entries are read."""
    size = tx.scalar(select(log_state.c.size).where(log_state.c.log_id == LOG_ID)) or 0
    total = tx.execute(select(func.count()).select_from(dedupe)).scalar_one()
    unfit = _unfit_sqlite(tx) if tx.dialect.name == "sqlite" else tx.scalars(_UNFIT)
    for index in unfit:
        yield Damage(where=f"dedupe, of entry {index}", what="the row is not as it was written")
    outside = (dedupe.c.idx < 0) | (dedupe.c.idx >= dedupe.c.size) | (dedupe.c.size > size)
    for index in tx.scalars(select(dedupe.c.idx).where(outside | (dedupe.c.log_id != LOG_ID))):
        yield Damage(where=f"dedupe, of entry {index}", what="names an entry or a receipt that there is not")
    count(total, total)


def _unfit_sqlite(tx: Connection) -> Iterator[int]:
    columns = (dedupe.c.key, dedupe.c.request, dedupe.c.idx, dedupe.c.size, dedupe.c.digest)
    with tx.execution_options(yield_per=_FETCH).execute(select(*columns)) as rows:
        for key, request, index, size, digest in rows:
            known = Known(request=request, index=index, size=size)
            if min(index, size) < 0 or dedupe_digest(key, known) != digest:
                yield index
