"""Where in a long listing a position lies, so that no page is counted from the beginning.

The vendor pages by position: a million rows in pages of 500 would be skipped a thousand times each. So the
rows of a listing are counted once, in blocks of contact numbers; triggers tell which blocks were
touched since, and those alone are counted again. Any position is found by adding up counts.
"""

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from sqlite3 import Connection

BLOCK_BITS = 8
MOST_LISTINGS = 64
"""Counted listings that are kept; the one that was asked for longest ago is forgotten."""
MOST_RECOUNTED = 500
"""Touched blocks above which counting all rows again is less work."""
_CHANGES = (
    ("members", "INSERT", "NEW.contact_id"),
    ("members", "DELETE", "OLD.contact_id"),
    ("members", "UPDATE", "NEW.contact_id"),
    ("contacts", "UPDATE OF permission", "NEW.id"),
    ("contacts", "DELETE", "OLD.id"),
    ("outcomes", "INSERT", "NEW.contact_id"),
    ("outcomes", "DELETE", "OLD.contact_id"),
)
"""What moves rows into a listing or out of it; nobody's number is ever changed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """Rows in the order of their contacts' numbers: `FROM` and `WHERE` as SQL, and the number's column."""

    rows: str
    column: str
    values: tuple[object, ...]


@dataclass(slots=True)
class _Counts:
    """The rows of one listing by block, as they were when the blocks had been touched `seen` times."""

    seen: int
    by_block: dict[int, int]
    blocks: list[int] = field(default_factory=list)
    ends: list[int] = field(default_factory=list)
    """How many rows lie in the first blocks, the block's own included."""

    def add_up(self) -> None:
        self.blocks = sorted(self.by_block)
        self.ends = list(accumulate(self.by_block[block] for block in self.blocks))


@dataclass(slots=True)
class Ranks:
    """Counts the listings of one organisation's tables; nothing is watched before it is first asked."""

    db: Connection
    touches: int = 0
    touched: dict[int, int] = field(default_factory=dict)
    """When each block was touched last."""
    counted: dict[Listing, _Counts] = field(default_factory=dict)
    watching: bool = False

    def size(self, listing: Listing) -> int:
        """Return how many rows a listing has."""
        ends = self._counts(listing).ends
        return ends[-1] if ends else 0

    def page(self, listing: Listing, position: int, count: int, *, descending: bool = False) -> list[int]:
        """Return the numbers of `count` contacts from a position (the first row is 0) on."""
        if descending:
            return self._page_down(listing, position, count)
        bound, skip = self._find(listing, position) if position else (0, 0)
        return self._rows(listing, f"{listing.column} >= ? ORDER BY {listing.column}", bound, count, skip)

    def _page_down(self, listing: Listing, position: int, count: int) -> list[int]:
        """Return the same rows as going up, from the other end."""
        size = self.size(listing)
        first = max(0, size - position - count)
        return self.page(listing, first, max(0, size - position - first))[::-1]

    def _find(self, listing: Listing, position: int) -> tuple[int, int]:
        """Return the number at which the block of a position begins, and how many rows of it to skip."""
        counts = self._counts(listing)
        at = bisect_right(counts.ends, position)
        if at == len(counts.blocks):
            return (counts.blocks[-1] + 1 if counts.blocks else 0) << BLOCK_BITS, 0
        return counts.blocks[at] << BLOCK_BITS, position - (counts.ends[at - 1] if at else 0)

    def _rows(self, listing: Listing, condition: str, bound: int, count: int, skip: int) -> list[int]:
        query = f"SELECT {listing.column} FROM {listing.rows} AND {condition} LIMIT ? OFFSET ?"
        return [number for (number,) in self.db.execute(query, (*listing.values, bound, count, skip))]

    def _counts(self, listing: Listing) -> _Counts:
        self._watch()
        counts = self.counted.pop(listing, None)
        touched = [] if counts is None else self._touched_since(counts.seen)
        if counts is None or len(touched) > MOST_RECOUNTED:
            counts = self._count(listing)
        elif touched:
            self._recount(listing, counts, touched)
        self.counted[listing] = counts
        if len(self.counted) > MOST_LISTINGS:
            del self.counted[next(iter(self.counted))]
        return counts

    def _touched_since(self, seen: int) -> list[int]:
        return [] if seen == self.touches else [block for block, at in self.touched.items() if at > seen]

    def _count(self, listing: Listing) -> _Counts:
        query = f"SELECT {listing.column} >> {BLOCK_BITS}, count(*) FROM {listing.rows} GROUP BY 1"
        counts = _Counts(self.touches, dict(self.db.execute(query, listing.values)))
        counts.add_up()
        return counts

    def _recount(self, listing: Listing, counts: _Counts, blocks: Sequence[int]) -> None:
        query = f"SELECT count(*) FROM {listing.rows} AND {listing.column} BETWEEN ? AND ?"
        for block in blocks:
            first = block << BLOCK_BITS
            last = first + (1 << BLOCK_BITS) - 1
            (counts.by_block[block],) = self.db.execute(query, (*listing.values, first, last)).fetchone()
        counts.seen = self.touches
        counts.add_up()

    def _watch(self) -> None:
        """Have SQLite tell whose rows change, from now on."""
        if self.watching:
            return
        self.db.create_function("touch", 1, self._touch)
        for table, change, number in _CHANGES:
            name = f"touch_{table}_{change.split()[0].lower()}"
            self.db.execute(
                f"CREATE TEMP TRIGGER {name} AFTER {change} ON {table} BEGIN SELECT touch({number}); END"
            )
        self.watching = True

    def _touch(self, number: int) -> None:
        self.touches += 1
        self.touched[number >> BLOCK_BITS] = self.touches
