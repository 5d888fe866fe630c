"""What the times that others gave the log say about one moment: which entries were surely there.

Pure (tlog.md 3.9 d). A witness or a time-stamping authority attests a size of the log with a time of its
own. The largest size attested before a moment was in the log by then; what the first attestation after it
does not hold was not yet published then; for what lies between, nobody's clock but ours tells.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Protocol


class Anchor(Protocol):
    """A size of the log, the time that somebody outside gave it, and who."""

    @property
    def size(self) -> int:
        """How many entries the attested checkpoint has."""

    @property
    def at(self) -> datetime:
        """The time by the clock of whoever attested it; aware, UTC."""

    @property
    def who(self) -> str:
        """The witness or authority."""


class Place(StrEnum):
    """Where an entry stands in relation to a moment."""

    SURELY = "surely"
    UNDECIDED = "undecided"
    LATER = "later"


@dataclass(frozen=True, slots=True, kw_only=True)
class Bracket:
    """The last anchor up to a moment and the first one after it; None where there is none."""

    moment: datetime
    before: Anchor | None
    after: Anchor | None

    @property
    def trusted(self) -> bool:
        """Return whether anybody else's clock says anything at all."""
        return self.before is not None or self.after is not None

    def place(self, index: int) -> Place:
        """Return whether the entry at this index was in the published log at the moment."""
        if self.before is not None and index < self.before.size:
            return Place.SURELY
        if self.after is not None and index >= self.after.size:
            return Place.LATER
        return Place.UNDECIDED

    def words(self) -> str:
        """Return what brackets the moment, as one sentence for people."""
        if not self.trusted:
            return "no trusted time: by our own clock only."
        first = "no trusted time before it" if self.before is None else f"before it: {_told(self.before)}"
        last = "no trusted time after it" if self.after is None else f"after it: {_told(self.after)}"
        return f"{first}; {last}. Entries between the two are undecided."


def bracket(anchors: Iterable[Anchor], moment: datetime) -> Bracket:
    """Return what brackets a moment: the largest size attested by then, and the first one attested later.

    A later attestation of a smaller size says nothing about the moment and is passed over.
    """
    known = list(anchors)
    before = max(
        (one for one in known if one.at <= moment), key=lambda one: (one.size, moment - one.at), default=None
    )
    floor = 0 if before is None else before.size
    later = (one for one in known if one.at > moment and one.size >= floor)
    return Bracket(
        moment=moment, before=before, after=min(later, key=lambda one: (one.at, one.size), default=None)
    )


def _told(anchor: Anchor) -> str:
    return f"{anchor.size} entries at {anchor.at:%Y-%m-%d %H:%M:%S} UTC by {anchor.who}"
