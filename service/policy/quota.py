"""The table `[quota]` of `enforcement.toml`: what is kept for withdrawals, what waits for off-hours. Pure."""

from datetime import UTC, datetime, tzinfo
from typing import Annotated
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import msgspec

Share = Annotated[float, msgspec.Meta(ge=0, lt=1)]
Count = Annotated[int, msgspec.Meta(ge=0)]


class QuotaRules(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How the organisation's allowance of calls is used.

    `withdrawal_reserve` is the share of every window that nothing but withdrawals may touch.
    `credits_per_day` replaces the edition's own number; 0 takes that. `time_zone` is where off-hours are
    counted; empty means the organisation's own. Pushes to lists of more than `large_push` people, and
    readings that take more than `large_sweep` of a day's credits, wait for off-hours. Of people who were
    opened again, a run asks CRM for `timelines_per_run` timelines at most.
    """

    withdrawal_reserve: Share = 0.2
    credits_per_day: Count = 0
    time_zone: str = ""
    large_push: Count = 200
    large_sweep: Share = 0.1
    timelines_per_run: Count = 50

    def __post_init__(self) -> None:
        if self.time_zone and _zone(self.time_zone) is None:
            raise ValueError(f"{self.time_zone!r} is no time zone; they look like Europe/Berlin")

    def zone(self, organisation: str | None) -> tzinfo:
        """Return where off-hours are counted: our own choice, else the organisation's zone, else UTC."""
        return _zone(self.time_zone) or _zone(organisation or "") or UTC

    def local(self, moment: datetime, organisation: str | None) -> datetime:
        """Return a moment as the clocks of the organisation show it."""
        return moment.astimezone(self.zone(organisation))


def _zone(name: str) -> tzinfo | None:
    try:
        return ZoneInfo(name) if name else None
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return None
