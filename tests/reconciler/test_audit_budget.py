"""Gotcha 6 against planted truth: what others took of the day's credits is found, and the hour it ends."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

import pytest

from service.reconciler.audit import Asked, Point, Verdict, audit
from service.reconciler.audit.fields import Metadata
from service.reconciler.audit.spending import spending
from service.zoho.mapping import connect
from service.zoho.pace import Pace
from service.zoho.shared import SharedQuota
from tests.reconciler.conftest import World, settings

ALLOWANCE = 60_000


@contextmanager
def budgeted(made: World, who: str) -> Iterator[SharedQuota]:
    """A client whose calls are booked in the database, as a node's are."""
    quota = SharedQuota(made.db, clock=made.clock)
    pace = Pace(sleep=lambda _seconds: None, who=who)
    with connect(settings(made.sim.url), made.intake.policy, pace=pace, quota=quota) as zoho:
        quota.learn(zoho.transports["crm"])
        made.run(applying=False, crm=zoho.crm, campaigns=zoho.campaigns)
        quota.settle()
        yield quota


def others_took(made: World, credits_: int, *, hours_ago: float = 2.0) -> None:
    """Let another application have spent so much of the day's allowance."""
    world = made.sim.world
    world.meter.remember(world.clock.now() - hours_ago * 3600, credits_)


def audited(made: World, *, push: int = 0) -> Point:
    with made.db.begin() as tx:
        spent = spending(tx, now=made.clock())
        asked = Asked(metadata=Metadata(crm={}, campaigns={}), spending=spent, push=push)
        points = audit(tx, made.context.policy, asked, now=made.clock()).points
    return next(point for point in points if point.key == "budget")


def figures(point: Point) -> dict[str, int]:
    return {one.label: one.value for one in point.figures}


def charged(made: World) -> int:
    """What Zoho holds against the day: ours and others'."""
    world = made.sim.world
    return ALLOWANCE - world.meter.left(ALLOWANCE, world.clock.now())


def test_in_a_clean_organisation_all_that_was_used_is_ours_and_nothing_is_wrong(small):
    with budgeted(small, "nightly"):
        point = audited(small)
    told = figures(point)
    assert point.verdict is Verdict.PASS
    assert told["used in the last 24 hours"] == told["used by nightly"] == charged(small)
    assert told["allowance of 24 hours (credits)"] == ALLOWANCE
    assert "used by other applications" not in told
    assert not point.advice


@pytest.mark.parametrize(("planted", "verdict"), [(40_000, Verdict.PASS), (49_000, Verdict.WARN)])
def test_in_a_messy_organisation_what_other_applications_used_is_found_to_the_credit(small, planted, verdict):
    others_took(small, planted)
    with budgeted(small, "nightly"):
        point = audited(small)
    told = figures(point)
    assert told["used by other applications"] == planted
    assert told["used in the last 24 hours"] == charged(small)
    assert point.verdict is verdict


def test_in_an_adversarial_organisation_the_end_of_the_allowance_is_told_before_it_comes(small):
    """Others took nearly all of it: the next run of the night no longer fits."""
    with budgeted(small, "nightly") as quota:
        others_took(small, ALLOWANCE - 2 * quota.used().total - 10)
    with budgeted(small, "watch"):
        point = audited(small, push=1_000)
    told = figures(point)
    assert point.verdict is Verdict.FAIL
    assert told["used in the last 24 hours"] == charged(small)
    assert {"used by nightly", "used by watch", "used by other applications"} <= set(told)
    assert "they end at" in point.summary
    assert any("Postpone pushes" in line for line in point.advice)


def test_what_falls_out_of_the_day_is_counted_no_more(small):
    others_took(small, 40_000, hours_ago=23.9)
    with budgeted(small, "nightly"):
        assert figures(audited(small))["used by other applications"] == 40_000
    small.clock.ahead = timedelta(days=1)
    assert figures(audited(small))["used in the last 24 hours"] == 0


def test_who_spent_it_by_hand_reads_as_a_sentence(small):
    with budgeted(small, "by hand"):
        told = figures(audited(small))
    assert "used by hand" in told
    assert "used by by hand" not in told
