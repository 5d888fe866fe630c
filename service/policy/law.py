"""Deadlines by which mail must have stopped, and the calendars that they follow. Pure."""

from collections.abc import Mapping
from datetime import date, datetime, time, timedelta
from functools import lru_cache
from typing import Literal

import holidays

from service.policy.shapes import Strict

_SATURDAY = 5  # date.weekday()


class Deadline(Strict, frozen=True, kw_only=True):
    """By when mail must have stopped after a withdrawal was received; exactly one unit is given."""

    id: str
    business_days: int | None = None
    days: int | None = None
    hours: int | None = None
    law: str
    citation: str
    confidence: Literal["primary", "secondary", "memory"]
    status: Literal["draft", "active", "retired"]
    verified_by: str = ""

    def __post_init__(self) -> None:
        if sum(unit is not None for unit in (self.business_days, self.days, self.hours)) != 1:
            raise ValueError("a deadline is given in exactly one of business_days, days and hours")

    @property
    def counts(self) -> bool:
        """Return whether this rule may set a deadline: not from memory alone, and not retired."""
        return self.confidence != "memory" and self.status != "retired"

    def ends(self, received_at: datetime, calendar: str) -> datetime:
        """Return the moment (UTC) when this deadline passes; `calendar` is an ISO country code.

        Business days follow the public holidays of the country and end at midnight UTC.
        """
        if self.hours is not None:
            return received_at + timedelta(hours=self.hours)
        if self.days is not None:
            return received_at + timedelta(days=self.days)
        day = _after_business_days(received_at.date(), self.business_days or 0, calendar)
        return datetime.combine(day + timedelta(days=1), time(), tzinfo=received_at.tzinfo)


class Jurisdiction(Strict, frozen=True, kw_only=True):
    """`jurisdictions/<code>.toml`: names as CRM writes the country, mailbox domains, deadlines."""

    code: str
    title: str
    calendar: str = ""
    names: tuple[str, ...] = ()
    domains: tuple[str, ...] = ()
    deadlines: tuple[Deadline, ...] = ()

    def __post_init__(self) -> None:
        if self.calendar and self.calendar not in holidays.list_supported_countries():
            raise ValueError("calendar must be a two-letter country code whose public holidays are known")

    @property
    def counted(self) -> tuple[Deadline, ...]:
        """Return the deadlines that count."""
        return tuple(deadline for deadline in self.deadlines if deadline.counts)


@lru_cache(maxsize=4096)
def _after_business_days(day: date, count: int, calendar: str) -> date:
    for _ in range(count):
        day += timedelta(days=1)
        while day.weekday() >= _SATURDAY or day in _holidays(calendar):
            day += timedelta(days=1)
    return day


@lru_cache(maxsize=64)
def _holidays(calendar: str) -> Mapping[date, str]:
    """Return the public holidays of an ISO country code, expanded as years are asked for."""
    return holidays.country_holidays(calendar) if calendar else {}
