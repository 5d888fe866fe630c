"""The index: each row of its two lists against the entries it was made of, and against its own sum.

For a person who was erased nothing tells any more which entries are theirs; their row is held by the
sum of all rows alone.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Final, TypeAlias

from sqlalchemy import Connection, Row, func, select

from service.consent import Category
from service.db import happening, index_node, index_row, index_state, leaf
from service.errors import Tampered
from service.ledger import merkle
from service.ledger.index import (
    DIRECTORY,
    ROW_BYTES,
    SUBJECTS,
    directory_row,
    event_leaf,
    key_of,
    opening_of,
    read_line,
    subject_row,
)
from service.ledger.lists import KINDS, state
from service.ledger.merkle import Edge
from service.ledger.scrub import Count, Damage
from service.ledger.scrub.share import WHOLE, Share
from service.ledger.store import LOG_ID, Store
from service.ledger.whole import read_whole

_FETCH: Final = 500  # rows of a list looked at together
_CHANGED: Final = "not what the entries make of it"
_Row: TypeAlias = Row[int, bytes, bytes, bytes | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Lists:
    """Looks at the index of one log; `key_commitment` is dkc, which epochs state too."""

    store: Store
    key_commitment: bytes
    share: Share = WHOLE

    def look(self, tx: Connection, count: Count) -> Iterator[Damage]:
        """Yield what is damaged in index_row, index_node and index_state."""
        if not self.store.exists(tx):
            return
        if tx.scalar(select(index_state.c.log_id).where(index_state.c.log_id == LOG_ID)) is None:
            if tx.scalar(select(index_row.c.kind).limit(1)) is not None:
                yield Damage(where="index_state", what="the row is missing")
            return
        found = state(tx)
        if found.edge.size > self.store.size(tx):
            yield Damage(where="index_state", what="covers more entries than the log has")
            return
        if merkle.root(found.edge.size, self.store.reader(tx)) != found.edge.root():
            yield Damage(where="index_state.edge", what="was made of other entries than the log holds")
        named = False
        total = tx.execute(select(func.count()).select_from(index_row)).scalar_one()
        for done, rows in enumerate(_parts(tx, self.share)):
            for damage in self._rows(tx, rows, found.edge.size):
                named = True
                yield damage
            count(min((done + 1) * _FETCH, total), total)
        if self.share.ends and not named:
            yield from self._whole(tx, found.epoch)

    def _whole(self, tx: Connection, epoch: int | None) -> Iterator[Damage]:
        """Yield what only the whole tells: rows that are gone or too many, and nodes of other rows."""
        try:
            stated = read_whole(tx, self.store, self.key_commitment)
        except Tampered as error:
            yield Damage(where="index_row", what=str(error))
            return
        if epoch is None:
            return
        made = {
            (one["kind"], one["level"], one["idx"]): (one["hash"], one["last_key"]) for one in stated.nodes
        }
        columns = (index_node.c.kind, index_node.c.level, index_node.c.idx)
        stored = {
            (row.kind, row.level, row.idx): (row.hash, row.last_key)
            for row in tx.execute(select(*columns, index_node.c.hash, index_node.c.last_key))
        }
        for place in sorted(made.keys() | stored.keys()):
            if made.get(place) != stored.get(place):
                where = f"index_node, list {place[0]}, level {place[1]}, index {place[2]}"
                yield Damage(where=where, what="not the hash of the rows below it")

    def _rows(self, tx: Connection, rows: Sequence[_Row], covered: int) -> Iterator[Damage]:
        subjects = [row for row in rows if row.kind == KINDS[SUBJECTS]]
        openings = [row for row in rows if row.kind == KINDS[DIRECTORY]]
        leaves = _leaves(tx, [row.key for row in subjects], covered)
        entries = self.store.entries(
            tx, [opening_of(row.row)[2] for row in openings if _sound(row, DIRECTORY)]
        )
        for row in subjects:
            if not _sound(row, SUBJECTS) or not _right_subject(row, leaves.get(row.key)):
                yield Damage(where=f"index_row, subject {row.key.hex()}", what=_CHANGED)
        for row in openings:
            if not _sound(row, DIRECTORY) or not _right_opening(row, entries):
                yield Damage(where=f"index_row, opening {row.key.hex()}", what=_CHANGED)


def _parts(tx: Connection, share: Share) -> Iterator[Sequence[_Row]]:
    columns = (index_row.c.kind, index_row.c.key, index_row.c.row, index_row.c.edge)
    mine = [] if share == WHOLE else [index_row.c.kind.in_(KINDS.values()), index_row.c.key >= share.low]
    if share.high is not None:
        mine.append(index_row.c.key < share.high)
    stored = select(*columns).where(*mine).order_by(index_row.c.kind, index_row.c.key)
    with tx.execute(stored, execution_options={"yield_per": _FETCH}) as rows:
        while part := list(islice(rows, _FETCH)):
            yield part


def _sound(row: _Row, kind: bytes) -> bool:
    return len(row.row) == ROW_BYTES and row.row.startswith(kind) and key_of(row.row) == row.key


def _right_subject(row: _Row, leaves: Sequence[bytes] | None) -> bool:
    """Tell whether a row says what its stored edge says, and what the person's entries make of it."""
    try:
        edge = Edge.from_bytes(row.edge or b"")
    except Tampered:
        return False
    if row.row != subject_row(row.key, edge.size, edge.root()):
        return False
    made = Edge()
    for one in leaves or ():
        made.add(one)
    return leaves is None or made.to_bytes() == row.edge


def _right_opening(row: _Row, entries: dict[int, bytes]) -> bool:
    index = opening_of(row.row)[2]
    opened = read_line(entries[index])[1] if index in entries else None
    return opened is not None and directory_row(*opened, index) == row.row


def _leaves(tx: Connection, subs: Sequence[bytes], covered: int) -> dict[bytes, list[bytes]]:
    """Return the hashes of these persons' entries as leaves of their own trees; the erased have none."""
    found: dict[bytes, list[bytes]] = {}
    rows = tx.execute(
        select(happening.c.sub, happening.c.idx, leaf.c.hash)
        .join(leaf, (leaf.c.log_id == happening.c.log_id) & (leaf.c.idx == happening.c.idx))
        .where(
            happening.c.log_id == LOG_ID,
            happening.c.sub.in_(subs),
            happening.c.idx < covered,
            happening.c.category != Category.SUBJECT_OPENED.value,
        )
        .order_by(happening.c.sub, happening.c.idx)
    )
    for sub, index, hashed in rows:
        found.setdefault(sub, []).append(event_leaf(index, hashed))
    return found
