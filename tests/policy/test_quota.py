from datetime import UTC, datetime, timedelta

import msgspec
import pytest

from service.policy.limits import Permissive
from service.policy.quota import QuotaRules

NIGHT = Permissive(off_hours=(20, 6))


@pytest.mark.parametrize(
    ("zone", "utc_hour", "waits_h"),
    [
        ("Asia/Kolkata", 15, 0),  # 20:30 there
        ("Asia/Kolkata", 14, 0.5),  # 19:30
        ("Asia/Kolkata", 1, 13.5),  # 06:30
        ("America/New_York", 22, 2),  # 18:00, in summer
        (None, 19, 1),
        (None, 20, 0),
        ("no such place", 19, 1),
    ],
)
def test_off_hours_are_counted_by_the_clock_of_the_organisation(zone, utc_hour, waits_h):
    now = datetime(2026, 5, 10, utc_hour, tzinfo=UTC)
    assert NIGHT.opens(QuotaRules().local(now, zone)) - now == timedelta(hours=waits_h)


def test_our_own_choice_of_a_zone_comes_before_the_organisations():
    now = datetime(2026, 5, 10, 12, tzinfo=UTC)
    assert QuotaRules(time_zone="Europe/Berlin").local(now, "Asia/Kolkata").hour == 14


def test_a_zone_that_does_not_exist_is_refused_when_the_rules_are_read():
    with pytest.raises(msgspec.ValidationError, match="no time zone"):
        msgspec.toml.decode(b'time_zone = "Europe/Nowhere"', type=QuotaRules)


@pytest.mark.parametrize("reserve", ["1.0", "-0.1"])
def test_a_reserve_that_leaves_nothing_or_less_is_refused(reserve):
    with pytest.raises(msgspec.ValidationError):
        msgspec.toml.decode(f"withdrawal_reserve = {reserve}".encode(), type=QuotaRules)
