"""Which part of the log tonight's look is at, so that a long log is looked at in a number of nights; pure."""

from dataclasses import dataclass
from datetime import date
from typing import Final

from service.ledger.scrub.blocks import STEP

LEAST: Final = 2  # steps; a log up to this long is looked at every night
_KEY_BYTES: Final = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """The entries from `start` up to `stop`, and the rows whose keys lie from `low` up to `high`.

    None means up to the end. Keys are random or keyed hashes, hence evenly spread: the same part of them.
    Shares begin and end at multiples of `step`, a multiple of 256; so many entries are read at once.
    """

    start: int = 0
    stop: int | None = None
    low: bytes = b""
    high: bytes | None = None
    step: int = STEP

    @property
    def ends(self) -> bool:
        """Return whether the end is reached: then comes what only the whole can tell."""
        return self.stop is None

    def has(self, index: int) -> bool:
        """Return whether an entry is in this share."""
        return self.start <= index and (self.stop is None or index < self.stop)

    def upto(self, size: int) -> int:
        """Return where this share of a log of `size` entries ends."""
        return size if self.stop is None else min(self.stop, size)


WHOLE: Final = Share()


@dataclass(frozen=True, slots=True, kw_only=True)
class Round:
    """One round over the log: the night of its first share, and where the newest share ended.

    `stop` and `high` are None once the end was reached; `damaged` tells whether anything was found.
    """

    began: date
    stop: int | None
    high: bytes | None
    damaged: bool


def plan(last: Round | None, size: int, night: date, days: int, *, step: int = STEP) -> tuple[Share, date]:
    """Return tonight's share of a log of `size` entries, and the night on which its round began.

    A round goes on where the last share ended and ends within `days` nights, however many were missed and
    however the log grew. After damage everything is looked at, every night, until nothing is found.
    """
    if last is not None and last.damaged:
        return Share(step=step), night
    if last is None or last.stop is None:
        last = Round(began=night, stop=0, high=b"", damaged=False)
    start = last.stop or 0
    nights = max(1, days - (night - last.began).days)
    wanted = max(LEAST * step, -(-max(size - start, 0) // nights))
    stop = start + -(-wanted // step) * step
    low = last.high or b""
    if stop >= size or nights == 1:
        return Share(start=start, low=low, step=step), last.began
    return Share(start=start, stop=stop, low=low, high=_key(stop, size), step=step), last.began


def _key(stop: int, size: int) -> bytes:
    """Return the key before which as large a part of all keys lies as of the entries before `stop`.

    A log only grows, so the next share's keys begin no later than this one's ended.
    """
    return ((stop << 8 * _KEY_BYTES) // size).to_bytes(_KEY_BYTES, "big")
