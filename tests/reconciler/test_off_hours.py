from dataclasses import replace
from datetime import timedelta

import msgspec
import pytest

from service.errors import QuotaExhausted
from service.policy.limits import Permissive
from service.zoho.estimate import require_off_hours
from service.zoho.shared import SharedQuota

LONGEST = timedelta(hours=5)


@pytest.fixture
def made(small):
    """An organisation that was read once, beside whose credits of a day a reading is large."""
    small.run(applying=False)
    return small


def judge(made, *, begins_in_h: int, large_sweep: float = 0.1, allowance: int = 20) -> None:
    """Ask whether a reading may begin, with off-hours of an hour that begin so many hours from now."""
    quota = SharedQuota(made.db, clock=made.clock, own_allowance=allowance)
    hour = (made.clock().hour + begins_in_h) % 24
    enforcement = msgspec.structs.replace(
        made.context.policy.enforcement,
        permissive=Permissive(off_hours=(hour, (hour + 1) % 24)),
        quota=msgspec.structs.replace(made.context.policy.enforcement.quota, large_sweep=large_sweep),
    )
    policy = msgspec.structs.replace(made.context.policy, enforcement=enforcement)
    require_off_hours(replace(made.context, policy=policy), quota, longest=LONGEST)


def test_a_large_reading_waits_for_off_hours_and_says_until_when(made):
    with pytest.raises(QuotaExhausted, match="off-hours") as caught:
        judge(made, begins_in_h=3)
    assert timedelta(hours=2) < caught.value.until - made.clock() <= timedelta(hours=3)


@pytest.mark.parametrize(
    "more",
    [{"begins_in_h": 0}, {"begins_in_h": 8}, {"begins_in_h": 3, "allowance": 60_000}],
    ids=["off-hours", "they begin too late", "a small reading"],
)
def test_it_goes_at_once_in_off_hours_where_waiting_would_lose_the_night_or_where_it_is_small(made, more):
    judge(made, **more)


def test_nothing_waits_before_the_first_reading(small):
    judge(small, begins_in_h=3)


def test_permissive_writes_open_by_the_clock_of_the_organisation(made):
    now = made.clock().replace(hour=15, minute=0, second=0, microsecond=0)
    enforcement = msgspec.structs.replace(
        made.context.policy.enforcement, permissive=Permissive(off_hours=(20, 6))
    )
    policy = msgspec.structs.replace(made.context.policy, enforcement=enforcement)
    there = replace(made.context, policy=policy, time_zone=lambda: "Asia/Kolkata")
    assert there.opens(now) == now
    assert replace(there, time_zone=lambda: None).opens(now) - now == timedelta(hours=5)
