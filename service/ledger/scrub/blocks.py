"""Leaf hashes, 256 at a time, each compared with its entry: the bulk of the work, set by set.

PostgreSQL hands over 256 entries as one value, SQLite as rows; they are hashed here, which is faster than
PostgreSQL's own sha256 where that is built without the processor's instructions for it.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha256
from itertools import accumulate
from struct import iter_unpack
from typing import Final

from sqlalchemy import ColumnElement, Connection, Table, and_

from service.ledger.store import LOG_ID

WIDTH: Final = 256  # entries under one node of level 1
STEP: Final = 128 * WIDTH  # entries whose nodes are read together

_SQLITE = "SELECT idx, hash, entry FROM leaf WHERE log_id = ? AND idx >= ? AND idx < ? ORDER BY idx"
_POSTGRESQL = (
    "SELECT idx / 256, string_agg(hash, ''::bytea), string_agg(entry, ''::bytea), "
    "string_agg(int8send(idx) || int4send(length(hash)) || int4send(length(entry)), ''::bytea) "
    "FROM (SELECT idx, hash, entry FROM leaf "
    "WHERE log_id = %s AND idx >= %s AND idx < %s ORDER BY idx OFFSET 0) AS one "
    "GROUP BY 1 ORDER BY 1"
)


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
    cursor = tx.connection.cursor(binary=True)  # SQLAlchemy asks for text, twice as many bytes
    # Streamed, so that the server goes on while we hash; to its end, before others use the connection.
    yield from [_joined(*row) for row in cursor.stream(_POSTGRESQL, (LOG_ID, start, stop))]


def _joined(number: int, hashes: bytes, entries: bytes, told: bytes) -> Block:
    indexes, widths, lengths = zip(*iter_unpack(">qII", told), strict=True)
    stored = _cut(hashes, widths)
    made = [sha256(b"\0" + entry).digest() for entry in _cut(entries, lengths)]
    wrong = [] if made == stored else _differing(indexes, stored, made)
    return Block(number=number, indexes=indexes, hashes=stored, wrong=wrong)


def _cut(joined: bytes, lengths: Sequence[int]) -> list[bytes]:
    ends = accumulate(lengths)
    return [joined[end - length : end] for end, length in zip(ends, lengths, strict=True)]
