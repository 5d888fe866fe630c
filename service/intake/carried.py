"""Idempotency keys of a log that goes on in its successor: no retry is recorded a second time there.

A key is a keyed hash, under a secret that goes over with the persons. The key of an event that was carried
over names the entry that carries it. Every other key that the old log knew (look-ups, enforcement, events
of persons who were erased) names the successor's first entry, which says where the old log ended.
"""

from collections.abc import Mapping, Sequence
from typing import Final, TypeAlias

from sqlalchemy import select

from service.consent import SubjectId
from service.db import chunks, dedupe, happening
from service.intake import Intake
from service.intake.journal import CONSENT
from service.ledger.store import LOG_ID, Known

FETCH: Final = 10_000  # rows in memory while the old log's keys are read, some 1 MB
PAGE: Final = 1_000  # keys bound in one transaction

Keyed: TypeAlias = Mapping[int, tuple[bytes, bytes]]
"""By index of the old log's entry: its idempotency key, and the hash of what was asked under it."""


def keys_of(old: Intake, subs: Sequence[SubjectId]) -> Keyed:
    """Return the keys of what these persons said; reads all keys once, as no index leads there."""
    told = happening.c.category.in_([one.value for one in CONSENT])
    rows = select(dedupe.c.idx, dedupe.c.key, dedupe.c.request).where(dedupe.c.log_id == LOG_ID)
    wanted: set[int] = set()
    with old.db.read() as tx:
        for part in chunks(subs):
            wanted.update(tx.scalars(select(happening.c.idx).where(happening.c.sub.in_(part), told)))
        with tx.execute(rows, execution_options={"yield_per": FETCH}) as found:
            return {index: (key, request) for index, key, request in found if index in wanted}


def bind_the_rest(old: Intake, new: Intake) -> None:
    """Bind the keys that no carried entry answers to the successor's first entry; can be done again."""
    rows = select(dedupe.c.key, dedupe.c.request).where(dedupe.c.log_id == LOG_ID).order_by(dedupe.c.key)
    after = b""
    while True:
        with old.db.read() as tx:
            page = tx.execute(rows.where(dedupe.c.key > after).limit(PAGE)).all()
        if not page:
            return
        with new.db.begin() as tx:
            new.lock(tx)
            known = new.store.known(tx, [key for key, _ in page])
            left = [(key, request) for key, request in page if key not in known]
            first = [(key, Known(request=request, index=0, size=1)) for key, request in left]
            new.store.remember(tx, first)
        after = page[-1].key
