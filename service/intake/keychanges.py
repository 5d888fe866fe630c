"""Where the log says that keys changed: what it was begun with, and every change since."""

from collections.abc import Iterator

from sqlalchemy import Connection, insert, select

from service.db import key_change
from service.ledger.canonical import Json
from service.ledger.entry import decode
from service.ledger.store import LOG_ID, Store

GENESIS = 0


def changes(tx: Connection) -> list[int]:
    """Return the indexes of the entries that say that keys changed, in the order of the log."""
    return list(
        tx.scalars(select(key_change.c.idx).where(key_change.c.log_id == LOG_ID).order_by(key_change.c.idx))
    )


def last_change(tx: Connection, kind: str) -> int | None:
    """Return the index of the last change of one kind, None before the first."""
    return tx.scalar(
        select(key_change.c.idx)
        .where(key_change.c.log_id == LOG_ID, key_change.c.kind == kind)
        .order_by(key_change.c.idx.desc())
        .limit(1)
    )


def note_change(tx: Connection, *, index: int, kind: str, generation: int) -> None:
    """Remember where a change stands, in the transaction that records it."""
    tx.execute(insert(key_change).values(log_id=LOG_ID, idx=index, kind=kind, generation=generation))


def keys_told(tx: Connection, store: Store) -> dict[str, Json]:
    """Return what the log says about the keys in use: the first entry's words, as changes replaced them."""
    told: dict[str, Json] = {}
    for extra in _words(tx, store):
        told.update(extra)
    return told


def _words(tx: Connection, store: Store) -> Iterator[dict[str, Json]]:
    indexes = [GENESIS, *changes(tx)]
    stored = store.entries(tx, indexes)
    for index in indexes:
        yield dict(decode(stored[index]).extra)
