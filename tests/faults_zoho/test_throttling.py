"""Being told to wait: storms of 429, lock-outs in the middle of a list, and what waits meanwhile."""

from datetime import timedelta

import pytest

from service.errors import QuotaExhausted, ServiceError
from service.reconciler.enforce import carry_out
from tests.faults_zoho.conftest import A_DAY, Midway
from tests.reconciler.conftest import stopped
from tests.running import withdrawal

AN_HOUR = 12
FIVE_MINUTES = timedelta(minutes=5)
TOO_MANY = '{"code":"TOO_MANY_REQUESTS","details":{},"status":"error","message":"too many requests"}'
OLD = '{"code":4820,"error":"RATE_LIMIT_EXCEEDED"}'


def calls(made) -> int:
    return sum(made.zoho.meter.calls.values())


@pytest.mark.parametrize("body", [TOO_MANY, OLD, ""], ids=["new", "old", "bare"])
def test_a_storm_of_an_hour_costs_few_calls_and_nobody_who_said_stop_meanwhile(org, figures, body):
    org.run()
    email, before, began = org.ordinary(), org.writes(), calls(org)
    org.breaks("", "status", 1_000_000, status=429, body=body)
    for turn in range(AN_HOUR):
        if turn == 2:
            org.intake.record([withdrawal(email, received_at=org.clock())])
        assert carry_out(org.context, worker="a").done == 0
        if turn % 4 == 0:
            assert isinstance(org.attempt(), ServiceError)
        org.later(FIVE_MINUTES)
    spent = calls(org) - began
    figures("storm of 429 for an hour", calls=spent, turns=AN_HOUR)
    assert spent <= 10 * AN_HOUR
    assert org.writes() == before
    org.mends()
    org.later(timedelta(hours=1))
    assert carry_out(org.context, worker="a").done == 1
    assert stopped(org, email)
    org.converges()


@pytest.mark.parametrize(("asked", "least_s"), [("", 0.2), ("20", 20), ("soon", 0.2)])
def test_a_call_that_is_told_to_wait_comes_again_no_sooner_than_it_was_asked(org, asked, least_s):
    org.breaks("POST /crm/v8/coql", "status", 2, status=429, body=TOO_MANY, retry_after=asked)
    assert dict(org.run().found) == org.planted()
    times = [row[0] for row in org.sim.world.requests if row[2].startswith("/crm/v8/coql")][:3]
    first, second, third = times
    assert second - first >= least_s
    assert third - second >= least_s


def test_a_wait_that_nobody_can_mean_is_kept_to_for_a_day_at_most(org):
    org.breaks("POST /crm/v8/coql", "status", 1_000_000, status=429, body=TOO_MANY, retry_after="9" * 12)
    ended = org.attempt()
    assert isinstance(ended, QuotaExhausted)
    assert ended.until - org.clock() <= timedelta(days=1)
    assert isinstance(org.attempt(), QuotaExhausted)
    assert [row[2] for row in org.sim.world.requests].count("/crm/v8/coql") == 1
    org.mends()
    org.later(A_DAY)
    org.converges()


def test_credits_that_others_used_up_stop_crm_for_the_day_and_campaigns_not_at_all(org):
    org.run()
    email = org.ordinary()
    org.switch(crm__credits_per_day=1)
    org.intake.record([withdrawal(email, received_at=org.clock())])
    assert carry_out(org.context, worker="a").postponed == 1
    assert org.person(email)["campaigns"]["dnm"]
    assert not any(record["Email_Opt_Out"] for record in org.person(email)["crm"])
    assert isinstance(org.attempt(), QuotaExhausted)
    org.later(A_DAY)
    org.switch(crm__credits_per_day=60_000)
    assert carry_out(org.context, worker="a").done == 1
    assert stopped(org, email)
    org.converges()


@pytest.mark.parametrize("style", ["v11_2008", "gateway_400", "gateway_200", "http_429"])
def test_a_lock_out_in_the_middle_of_a_list_ends_the_run_and_is_kept_to(org, style):
    org.switch(throttle__style=style)

    def lock() -> None:
        org.sim.world.meter._locked["/api/v1.1/getlistsubscribers"] = org.sim.world.clock.now() + 1_800

    before = org.products()
    ended = org.attempt(progress=org.at("read list active", lock))
    assert isinstance(ended, QuotaExhausted)
    assert timedelta(minutes=29) < ended.until - org.clock() <= timedelta(minutes=31)
    assert org.products() == before
    asked = org.sim.control("meter")["by_endpoint"]["GET /api/v1.1/getlistsubscribers"]
    assert isinstance(org.attempt(), QuotaExhausted)
    assert org.sim.control("meter")["by_endpoint"]["GET /api/v1.1/getlistsubscribers"] == asked
    org.later(timedelta(minutes=31))
    assert dict(org.run().found) == org.planted()
    org.converges()


def test_a_lock_out_between_two_pages_believes_nothing_of_the_half_that_was_read(org):
    org.switch(campaigns__largest_range=20)
    endpoint, before = "/api/v1.1/getlistsubscribers", org.products()

    def lock() -> None:
        org.sim.world.meter._locked[endpoint] = org.sim.world.clock.now() + 1_800

    half = Midway(org.zoho.campaigns, lock)
    assert isinstance(org.attempt(campaigns=half), QuotaExhausted)
    assert half.act is None
    assert org.sim.control("meter")["by_endpoint"][f"GET {endpoint}"] == 3
    assert org.products() == before
    assert not org.enforcements()
    org.later(timedelta(minutes=31))
    assert dict(org.run().found) == org.planted()
    org.converges()


@pytest.mark.parametrize("endpoint", ["json/listsubscribe", "json/contactdonotmail"])
def test_a_lock_out_of_one_writing_endpoint_leaves_the_rest_for_later_and_opens_nothing(org, endpoint):
    def lock() -> None:
        org.sim.world.meter._locked[f"/api/v1.1/{endpoint}"] = org.sim.world.clock.now() + 1_800

    ended = org.attempt(progress=org.at("planned", lock))
    assert ended.remaining
    org.converges()
