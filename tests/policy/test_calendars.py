"""Business days end at local midnight, where it comes first; a holiday counts where all keep it."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service import policy
from service.policy.calendars import Calendar
from service.settings import HERE

SHIPPED = policy.load(HERE / "policies").jurisdictions
MOMENTS = st.datetimes(datetime(2000, 1, 1), datetime(2060, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001  # aware by the argument


def local(zone: str, *told: int) -> datetime:
    return datetime(*told, tzinfo=ZoneInfo(zone)).astimezone(UTC)


@pytest.mark.parametrize(
    ("received", "ends"),
    [
        # the last quarter of an hour of a Thursday, and the first of a Friday
        (local("Asia/Tokyo", 2026, 6, 4, 23, 59), local("Asia/Tokyo", 2026, 6, 6)),
        (local("Asia/Tokyo", 2026, 6, 5, 0, 0), local("Asia/Tokyo", 2026, 6, 9)),
        # on a Saturday and a Sunday the count begins with Monday
        (local("Asia/Tokyo", 2026, 6, 6, 12), local("Asia/Tokyo", 2026, 6, 9)),
        (local("Asia/Tokyo", 2026, 6, 7, 23, 59), local("Asia/Tokyo", 2026, 6, 9)),
    ],
)
def test_the_day_of_receipt_is_the_day_where_the_person_lives(received, ends):
    assert Calendar(country="JP", zones=("Asia/Tokyo",)).after(received, 1) == ends


def test_a_day_of_23_hours_ends_at_its_midnight():
    berlin = Calendar(country="DE", zones=("Europe/Berlin",))
    friday = local("Europe/Berlin", 2026, 3, 27, 12)  # the clocks go forward on the 29th
    assert berlin.after(friday, 1) == datetime(2026, 3, 30, 22, tzinfo=UTC)


def test_without_any_calendar_weekends_alone_count_in_utc():
    assert Calendar().after(datetime(2026, 12, 24, 12, tzinfo=UTC), 1) == datetime(2026, 12, 26, tzinfo=UTC)


def test_a_holiday_that_one_region_does_not_keep_is_a_business_day():
    received = local("America/Los_Angeles", 2026, 10, 9, 12)  # Columbus Day is on the 12th
    los_angeles = {"country": "US", "zones": ("America/Los_Angeles",)}
    later, sooner = (Calendar(regions=regions, **los_angeles) for regions in ((), ("CA",)))
    assert later.after(received, 1) - sooner.after(received, 1) == timedelta(days=1)


@given(moment=MOMENTS, count=st.integers(1, 20), code=st.sampled_from(["US", "CA", "AU", "NZ", "SG"]))
def test_of_several_zones_none_would_have_ended_sooner(moment, count, code):
    days = SHIPPED[code].days
    ends = days.after(moment, count)
    alone = [Calendar(country=days.country, regions=days.regions, zones=(zone,)) for zone in days.zones]
    assert ends == min(one.after(moment, count) for one in alone)
    assert ends - moment >= timedelta(days=count)


@pytest.mark.parametrize("law", [pytest.param(law, id=code) for code, law in SHIPPED.items()])
def test_every_country_that_ships_says_whose_clocks_count(law):
    assert bool(law.zones) is not bool(law.domains)
