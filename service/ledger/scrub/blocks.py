"""Leaf hashes, 256 at a time, each compared with its entry: the bulk of the work, set by set.

PostgreSQL hashes in SQL and hands over 256 hashes as one value; SQLite hands over rows, which are hashed
here. Either way some half a million entries per second and core.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Final

from sqlalchemy import ColumnElement, Connection, Table, and_, text

from service.ledger.merkle import HASH_BYTES
from service.ledger.store import LOG_ID

WIDTH: Final = 256  # entries under one node of level 1
STEP: Final = 128 * WIDTH  # entries in one statement; what it sorts fits into 4 MB

_SQLITE = "SELECT idx, hash, entry FROM leaf WHERE log_id = ? AND idx >= ? AND idx < ? ORDER BY idx"
_POSTGRESQL = text(
    "SELECT idx / 256 AS number, count(*) AS rows, min(idx) AS first, max(idx) AS last, "
    "string_agg(hash, ''::bytea ORDER BY idx) AS hashes, "
    "array_agg(idx) FILTER (WHERE differs) AS wrong "
    "FROM (SELECT idx, hash, hash <> sha256('\\x00'::bytea || entry) AS differs FROM leaf "
    "WHERE log_id = :log_id AND idx >= :start AND idx < :stop OFFSET 0) AS one GROUP BY 1 ORDER BY 1"
)
_INDEXES = text("SELECT idx FROM leaf WHERE log_id = :log_id AND idx >= :start AND idx < :stop ORDER BY idx")


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """The rows of up to 256 neighbouring entries: which there are, their hashes, and which do not fit."""

    number: int
    indexes: Sequence[int]
    hashes: Sequence[bytes]
    wrong: Sequence[int]


def blocks(tx: Connection, start: int, stop: int) -> Iterator[Block]:
    """Yield the blocks of the entries from `start`, a multiple of 256, to `stop`; empty ones are left out."""
    if tx.dialect.name == "sqlite":
        return _from_rows(tx, start, stop)
    return _from_sets(tx, start, stop)


def outside(table: Table, size: int) -> tuple[ColumnElement[bool], ...]:
    """Return what rows behind `size` entries, or of another log, satisfy: one of these, found by the key."""
    log, index = table.c.log_id, table.c.idx
    return log < LOG_ID, log > LOG_ID, and_(log == LOG_ID, index < 0), and_(log == LOG_ID, index >= size)


def whole(hashes: Sequence[bytes]) -> bytes:
    """Return the root over 256 leaf hashes."""
    level = list(hashes)
    while len(level) > 1:
        level = [
            sha256(b"\x01" + left + right).digest()
            for left, right in zip(level[::2], level[1::2], strict=True)
        ]
    return level[0]


def _from_rows(tx: Connection, start: int, stop: int) -> Iterator[Block]:
    cursor = tx.connection.cursor()  # the driver's own: half the time went into rows of SQLAlchemy
    for first in range(start, stop, WIDTH):
        rows = cursor.execute(_SQLITE, (LOG_ID, first, min(first + WIDTH, stop))).fetchall()
        if not rows:
            continue
        indexes, hashes, entries = zip(*rows, strict=True)
        made = tuple([sha256(b"\0" + entry).digest() for entry in entries])
        wrong = [] if made == hashes else _differing(indexes, hashes, made)
        yield Block(number=first // WIDTH, indexes=indexes, hashes=hashes, wrong=wrong)


def _differing(indexes: Sequence[int], stored: Sequence[bytes], made: Sequence[bytes]) -> list[int]:
    return [index for index, one, other in zip(indexes, stored, made, strict=True) if one != other]


def _from_sets(tx: Connection, start: int, stop: int) -> Iterator[Block]:
    for row in tx.execute(_POSTGRESQL, {"log_id": LOG_ID, "start": start, "stop": stop}):
        indexes: Sequence[int] = range(row.first, row.last + 1)
        if row.rows != len(indexes):
            ends = {"start": row.first, "stop": row.last + 1}
            indexes = tx.scalars(_INDEXES, {"log_id": LOG_ID, **ends}).all()
        hashes = [row.hashes[at : at + HASH_BYTES] for at in range(0, len(row.hashes), HASH_BYTES)]
        if len(row.hashes) != HASH_BYTES * row.rows:
            hashes = [b""] * row.rows  # one of them is shorter or longer, and is among the wrong ones
        yield Block(number=row.number, indexes=indexes, hashes=hashes, wrong=sorted(row.wrong or ()))
