"""Each entry with its rows: the event, the sealed payload, the idempotency key.

What is sealed is opened and held against the commitment in the entry. Findings name an entry's index
and nothing that is sealed.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sqlalchemy import ColumnElement, Connection, RowMapping, Table, func, select

from service.consent import Category
from service.db import chunks, dedupe, erasure, happening, leaf, payload
from service.errors import Tampered
from service.intake.claim import corrected_by, kept_of
from service.intake.making import NOBODY
from service.ledger.entry import Entry, Opening, commit, decode
from service.ledger.scrub import Count, Damage
from service.ledger.scrub.blocks import outside
from service.ledger.scrub.share import WHOLE, Share
from service.ledger.store import LOG_ID
from service.vault import Vault

STEP: Final = 2000  # entries looked at together, some 2 MB
COUNTED: Final = 1 << 22  # entries whose idempotency rows are counted together, a byte for each


@dataclass(frozen=True, slots=True, kw_only=True)
class Rows:
    """Some entries that follow each other, by index, and what stands beside them.

    `payloads` tells whose each is, `keys` how many idempotency rows name an entry, `gone` who was erased.
    """

    entries: Mapping[int, Entry]
    events: Mapping[int, RowMapping]
    payloads: Mapping[int, bytes]
    keys: Mapping[int, int]
    gone: Collection[bytes]


@dataclass(frozen=True, slots=True, kw_only=True)
class Beside:
    """Looks at the rows beside each entry; `listed` are persons erased, as the list outside knows them.

    `opening` tells whether payloads are opened, which takes most of the time.
    """

    vault: Vault
    listed: Collection[bytes] = ()
    opening: bool = True
    share: Share = WHOLE

    def look(self, tx: Connection, count: Count) -> Iterator[Damage]:
        """Yield what is damaged, missing or too much in event, payload and dedupe."""
        last = tx.scalar(select(func.max(leaf.c.idx)).where(leaf.c.log_id == LOG_ID))
        end = self.share.upto(0 if last is None else last + 1)
        keys = _Keys(tx, end)
        for start in range(self.share.start, end, STEP):
            rows = self._read(tx, range(start, min(start + STEP, end)), keys)
            for index, entry in rows.entries.items():
                yield from _row_of(index, entry, rows)
                yield from _sealed(index, entry, rows)
                yield from _keyed(index, entry, rows.keys.get(index, 0))
            if self.opening:
                yield from self._opened(tx, rows)
            count(min(start + STEP, end), end)
        for table in (happening, payload) if self.share.ends else ():
            for index in _beyond(tx, table, end):
                yield Damage(where=f"{table.name}, entry {index}", what="there is no such entry")

    def _read(self, tx: Connection, part: range, keys: "_Keys") -> Rows:
        start, stop = part.start, part.stop
        entries: dict[int, Entry] = {}
        rows = select(leaf.c.idx, leaf.c.entry).where(*_within(leaf, start, stop)).order_by(leaf.c.idx)
        for index, data in tx.execute(rows):
            try:
                entries[index] = decode(data)
            except Tampered:
                continue  # the part that looks at the log names it
        events = tx.execute(select(happening).where(*_within(happening, start, stop))).mappings()
        sealed = select(payload.c.idx, payload.c.sub).where(*_within(payload, start, stop))
        return Rows(
            entries=entries,
            events={row["idx"]: row for row in events},
            payloads=dict(tx.execute(sealed).all()),
            keys={index: keys.of(index) for index in entries},
            gone=self._gone(tx, {one.subject for one in entries.values() if one.subject is not None}),
        )

    def _gone(self, tx: Connection, subs: Collection[bytes]) -> set[bytes]:
        found = {sub for sub in subs if sub in self.listed}
        for part in chunks(list(subs)):
            found.update(tx.scalars(select(erasure.c.sub).where(erasure.c.sub.in_(part))))
        return found

    def _opened(self, tx: Connection, rows: Rows) -> Iterator[Damage]:
        for index in self._unfit(tx, [one for one in rows.payloads if one in rows.entries], rows):
            what = "does not open under its person's key, or is not what the entry committed to"
            yield Damage(where=f"payload.sealed, entry {index}", what=what)

    def _unfit(self, tx: Connection, indexes: Sequence[int], rows: Rows) -> list[int]:
        """Return the entries whose payload does not open or fit; where one does not open, by halves."""
        try:
            found = self.vault.openings(tx, indexes)
        except Tampered:
            if len(indexes) == 1:
                return list(indexes)
            half = len(indexes) // 2
            return self._unfit(tx, indexes[:half], rows) + self._unfit(tx, indexes[half:], rows)
        return [index for index in indexes if index not in found or not _fits(index, found[index], rows)]


class _Keys:
    """How many idempotency rows name an entry; no index leads there, so those of many are counted at once."""

    def __init__(self, tx: Connection, end: int) -> None:
        self._tx, self._end = tx, end
        self._held = range(0)
        self._counts = bytearray()

    def of(self, index: int) -> int:
        """Return how many rows name this entry; more than 255 are told as 255."""
        if index not in self._held:
            self._count(range(index, min(index + COUNTED, self._end)))
        return self._counts[index - self._held.start]

    def _count(self, part: range) -> None:
        self._held, self._counts = part, bytearray(len(part))
        named = select(dedupe.c.idx).where(*_within(dedupe, part.start, part.stop))
        with self._tx.execute(named, execution_options={"yield_per": STEP}) as rows:
            for (index,) in rows:
                at = index - part.start
                self._counts[at] = min(self._counts[at] + 1, 255)


def _beyond(tx: Connection, table: Table, end: int) -> list[int]:
    """Return some entries that rows name although there are none."""
    rows = (tx.scalars(select(table.c.idx).where(one).limit(STEP)) for one in outside(table, end))
    return [index for part in rows for index in part]


def _row_of(index: int, entry: Entry, rows: Rows) -> Iterator[Damage]:
    """Yield whether the event row is the entry's; rows of `subject.opened` are the persons' concern."""
    stored, where = rows.events.get(index), f"event, entry {index}"
    expected = entry.subject not in (None, *rows.gone) and entry.category != Category.ERASURE
    if stored is None:
        if expected:
            yield Damage(where=where, what="missing")
        return
    if not expected and entry.category != Category.SUBJECT_OPENED:
        yield Damage(where=where, what="belongs to no entry that has one")
        return
    for name, value in _told(entry).items():
        if stored[name] != value:
            yield Damage(where=f"event.{name}, entry {index}", what="not what the entry says")


def _told(entry: Entry) -> dict[str, object]:
    """Return what an entry itself says of its event row."""
    said: dict[str, object] = {"category": entry.category, "recorded_at": _cut(entry.at)}
    if entry.category != Category.SUBJECT_OPENED:
        occurred = entry.at if entry.occurred_at is None else min(entry.occurred_at, entry.at)
        said.update(sub=entry.subject, source=entry.source, occurred_at=_cut(occurred))
    return said


def _sealed(index: int, entry: Entry, rows: Rows) -> Iterator[Damage]:
    """Yield whether there is a payload exactly where the entry commits to one, of the person it names."""
    sub = NOBODY if entry.subject is None else entry.subject
    stored, expected = rows.payloads.get(index), entry.commitment is not None and sub not in rows.gone
    if stored is None and expected:
        yield Damage(where=f"payload, entry {index}", what="missing")
    elif stored is not None and not expected:
        yield Damage(where=f"payload, entry {index}", what="belongs to no entry that has one")
    elif stored not in (None, sub):
        yield Damage(where=f"payload.sub, entry {index}", what="not the person whom the entry names")


def _keyed(index: int, entry: Entry, keys: int) -> Iterator[Damage]:
    """Yield whether what a source sent has its one idempotency row; a change of keys may have one.

    The first entry of a successor answers for every key of the log before that no other entry answers for.
    """
    if entry.category == Category.LOG_GENESIS and "before" in entry.extra:
        return
    sent = entry.source is not None
    if keys < int(sent):
        yield Damage(where=f"dedupe, entry {index}", what="missing: its source could record it twice")
    if keys > int(sent or entry.category == Category.KEY_ROTATED):
        yield Damage(where=f"dedupe, entry {index}", what=f"{keys} keys name this entry")


def _fits(index: int, opened: Opening, rows: Rows) -> bool:
    """Tell whether a payload is what the entry committed to, and what its event row repeats of it."""
    event = rows.events.get(index)
    if commit(opened.fields, opened.event_salt) != rows.entries[index].commitment:
        return False
    repeated = ("purpose", "provenance", "grade")
    if event is None:
        return True
    corrects = corrected_by(Category(event["category"]), opened.fields)
    if event["brought"] != kept_of(Category(event["category"]), opened.fields):
        return False
    if event["corrects"] != corrects and (corrects is None or "carried_index" not in opened.fields):
        return False
    return all(opened.fields.get(name) == event[name] for name in repeated)


def _within(table: Table, start: int, stop: int) -> tuple[ColumnElement[bool], ...]:
    return table.c.log_id == LOG_ID, table.c.idx >= start, table.c.idx < stop


def _cut(moment: datetime) -> datetime:
    """Return a time as it is stored: to the millisecond."""
    return moment.replace(microsecond=moment.microsecond // 1000 * 1000)
