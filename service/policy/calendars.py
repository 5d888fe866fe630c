"""Business days: by the public holidays of a country, and by the clocks on its walls. Pure.

The day on which somebody spoke, and the midnight that ends the last day, are local. Where a country has
several zones nobody knows in which of them the person lives: the one whose last day ends first counts.
"""

from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo, available_timezones

import holidays

_SATURDAY = 5  # date.weekday()
_SLOT_S = 900
"""No zone's clock differs from UTC by anything but quarters of an hour, or is put forward within one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Calendar:
    """Whose holidays count, and whose midnights; by itself: weekends alone, in UTC.

    Of the holidays of a `country` (ISO code) only those count that every one of the `regions` keeps as
    well: a holiday that some of them do not keep would give us a day that others do not give. `zones` are
    names as "America/New_York".
    """

    country: str = ""
    regions: tuple[str, ...] = ()
    zones: tuple[str, ...] = ()

    def after(self, moment: datetime, count: int) -> datetime:
        """Return when (UTC) the last of so many business days after the day of `moment` is over."""
        return _after(int(moment.timestamp()) // _SLOT_S, count, self)


def is_known(country: str) -> bool:
    """Return whether the public holidays of an ISO country code are known."""
    return country in holidays.list_supported_countries()


def regions_of(country: str) -> AbstractSet[str]:
    """Return the codes of the regions of a country whose own holidays are known."""
    return frozenset(holidays.list_supported_countries().get(country, ()))


def is_zone(name: str) -> bool:
    """Return whether a time zone of this name exists."""
    return name in available_timezones()


@lru_cache(maxsize=65536)
def _after(slot: int, count: int, calendar: Calendar) -> datetime:
    moment = datetime.fromtimestamp(slot * _SLOT_S, UTC)
    zones = (ZoneInfo(name) for name in calendar.zones or ("UTC",))
    return min(_end_of(moment.astimezone(zone).date(), zone, count, calendar) for zone in zones)


@lru_cache(maxsize=16384)
def _end_of(day: date, zone: ZoneInfo, count: int, calendar: Calendar) -> datetime:
    """Return when the last business day after a local day is over."""
    after = _last_day(day, count, calendar) + timedelta(days=1)
    return datetime.combine(after, time(), tzinfo=zone).astimezone(UTC)


@lru_cache(maxsize=4096)
def _last_day(day: date, count: int, calendar: Calendar) -> date:
    for _ in range(count):
        day += timedelta(days=1)
        while day.weekday() >= _SATURDAY or _is_holiday(day, calendar):
            day += timedelta(days=1)
    return day


def _is_holiday(day: date, calendar: Calendar) -> bool:
    return bool(calendar.country) and all(
        day in _holidays(calendar.country, region) for region in ("", *calendar.regions)
    )


@lru_cache(maxsize=128)
def _holidays(country: str, region: str) -> Mapping[date, str]:
    """Return the public holidays of a country, or of its region, expanded as years are asked for."""
    return holidays.country_holidays(country, subdiv=region or None)
