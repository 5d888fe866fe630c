"""Where the last page of a long listing ended, so that the next one is not counted from the beginning.

The vendor pages by position; a million rows in pages of 500 would be skipped a thousand times each.
"""

from collections.abc import Hashable
from dataclasses import dataclass, field
from sqlite3 import Connection


@dataclass(slots=True)
class Bookmarks:
    """The end of the last page of each listing; it counts only while nothing whatever has changed since."""

    ends: dict[Hashable, tuple[int, int, int]] = field(default_factory=dict)

    def find(self, db: Connection, listing: Hashable, position: int) -> tuple[int, int]:
        """Return the id after which to go on for the row at `position` (from 0), and how many to skip."""
        changes, end, last = self.ends.get(listing, (-1, 0, 0))
        return (last, 0) if (changes, end) == (db.total_changes, position) else (0, position)

    def leave(self, db: Connection, listing: Hashable, end: int, last: int) -> None:
        """Remember that the rows before position `end` stop with the id `last`."""
        self.ends[listing] = db.total_changes, end, last
