"""Business days by the public holidays of a country. Pure."""

from collections.abc import Mapping
from datetime import date, datetime, time, timedelta
from functools import lru_cache

import holidays

_SATURDAY = 5  # date.weekday()


def is_known(calendar: str) -> bool:
    """Return whether the public holidays of an ISO country code are known."""
    return calendar in holidays.list_supported_countries()


def after_business_days(moment: datetime, count: int, calendar: str) -> datetime:
    """Return the end (midnight UTC) of the last of so many business days after a moment."""
    day = _after(moment.date(), count, calendar)
    return datetime.combine(day + timedelta(days=1), time(), tzinfo=moment.tzinfo)


@lru_cache(maxsize=4096)
def _after(day: date, count: int, calendar: str) -> date:
    for _ in range(count):
        day += timedelta(days=1)
        while day.weekday() >= _SATURDAY or day in _holidays(calendar):
            day += timedelta(days=1)
    return day


@lru_cache(maxsize=64)
def _holidays(calendar: str) -> Mapping[date, str]:
    """Return the public holidays of an ISO country code, expanded as years are asked for."""
    return holidays.country_holidays(calendar) if calendar else {}
