"""The simulator's own time, which a test may move forward."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone

ORG_ZONE = timezone(timedelta(hours=5, minutes=30))
"""The organisation's offset in CRM answers: not whole hours, so that nobody drops it unseen."""


@dataclass(slots=True)
class Clock:
    """Seconds since the epoch, ahead of the real ones by `ahead_s`."""

    source: Callable[[], float] = time.time
    ahead_s: float = 0.0

    def now(self) -> float:
        """Return the time in seconds since the epoch."""
        return self.source() + self.ahead_s

    def seconds(self) -> int:
        """Return the time in whole seconds, which is as fine as Zoho's times are."""
        return int(self.now())


def iso(seconds: int | None) -> str | None:
    """Return CRM's text of a time, `2026-05-10T01:10:47+05:30`."""
    return None if seconds is None else datetime.fromtimestamp(seconds, ORG_ZONE).isoformat()


def display(seconds: int | None, offset_min: int) -> str:
    """Return Campaigns' text of a time, `12 Feb 2026, 12:01 PM`, without a zone."""
    if seconds is None:
        return ""
    moment = datetime.fromtimestamp(seconds, UTC) + timedelta(minutes=offset_min)
    return moment.strftime("%d %b %Y, %I:%M %p")


def timeline(seconds: int, offset_min: int) -> str:
    """Return Campaigns' text of an open or a click, `Feb 12, 2026 12:08 PM`, without a zone."""
    moment = datetime.fromtimestamp(seconds, UTC) + timedelta(minutes=offset_min)
    return moment.strftime("%b %d, %Y %I:%M %p")


def epoch_ms(seconds: int | None) -> str:
    """Return Campaigns' epoch: milliseconds as text."""
    return "" if seconds is None else f"{seconds}000"


def parse(text: str) -> int | None:
    """Return the seconds of an ISO time that carries an offset, None for anything else."""
    try:
        moment = datetime.fromisoformat(text.strip())
    except ValueError:
        return None
    return None if moment.utcoffset() is None else int(moment.timestamp())
