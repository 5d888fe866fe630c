from datetime import timedelta

import pytest

from service.errors import QuotaExhausted
from service.reconciler.port import Member
from service.zoho.mapping import connect
from service.zoho.quota import CAMPAIGNS_LIMITS, Limit, Windows, coql_credits, write_credits
from tests.zoho.conftest import settings_for
from tests.zoho.stub import Said

LISTS = "GET /api/v1.1/getmailinglists"
DO_NOT_MAIL = "POST /api/v1.1/json/contactdonotmail"
OK = Said(b'{"status":"success","code":"0","message":"User successfully moved to Do-Not-Mail."}')


def test_a_window_slides(time):
    windows = Windows(lambda: time.now, usual=(Limit(2, 10),))
    began = time.now
    assert windows.reserve("a") is None
    time.now += timedelta(seconds=4)
    assert windows.reserve("a") is None
    assert windows.reserve("a") == began + timedelta(seconds=10)
    time.now = began + timedelta(seconds=10)
    assert windows.reserve("a") is None
    assert windows.reserve("a") == began + timedelta(seconds=14)


def test_each_endpoint_has_a_window_of_its_own(time):
    windows = Windows(lambda: time.now, usual=(Limit(1, 10),))
    assert windows.reserve("a") is None
    assert windows.reserve("b") is None


def test_subscribing_stops_at_450_a_minute_and_at_12000_an_hour(time):
    windows = Windows(lambda: time.now, special=CAMPAIGNS_LIMITS)
    began = time.now
    for call in range(450):
        assert windows.reserve("json/listsubscribe") is None, call
    assert windows.reserve("json/listsubscribe") == began + timedelta(minutes=1)
    for minute in range(1, 28):
        time.now = began + timedelta(minutes=minute)
        for _ in range(450):
            windows.reserve("json/listsubscribe")
    time.now = began + timedelta(minutes=30)
    assert windows.reserve("json/listsubscribe") == began + timedelta(hours=1)


def test_a_lock_ends_by_itself(time):
    windows = Windows(lambda: time.now)
    until = time.now + timedelta(minutes=30)
    windows.lock("a", until)
    assert windows.reserve("a") == until
    time.now = until
    assert windows.reserve("a") is None


@pytest.mark.parametrize(("limit", "cost"), [(1, 1), (200, 1), (201, 2), (1000, 2), (1001, 3), (2000, 3)])
def test_coql_is_paid_by_its_limit(limit, cost):
    assert coql_credits(limit) == cost


@pytest.mark.parametrize(("records", "cost"), [(1, 1), (10, 1), (11, 2), (100, 10)])
def test_writes_are_paid_by_begun_tens(records, cost):
    assert write_credits(records) == cost


def test_campaigns_is_not_called_beyond_nine_tenths_of_its_window(stub, told):
    stub.says(DO_NOT_MAIL, OK)
    for _ in range(450):
        assert told.campaigns.do_not_mail("ada@example.com").done
    refused = told.campaigns.do_not_mail("ada@example.com")
    assert (refused.done, refused.retry, refused.code) == (False, True, "OWN_WINDOW")
    assert len(stub.calls(DO_NOT_MAIL)) == 450


def test_with_patience_the_client_waits_for_its_own_window(stub, mapping, time):
    stub.says(DO_NOT_MAIL, OK)
    pace = time.pace(patience_s=300)
    with connect(settings_for(stub.url), mapping, pace=pace, campaigns_window=(Limit(2, 300),)) as zoho:
        for _ in range(5):
            assert zoho.campaigns.do_not_mail("ada@example.com").done
    assert time.slept == [300.0, 300.0]


@pytest.mark.parametrize("style", ["v11_2008", "gateway_400", "gateway_200", "http_429"])
def test_every_style_of_lock_out_is_exhausted_quota_for_half_an_hour(sim, mapping, time, style):
    sim.control("/_control/switches", {"throttle.style": style})
    with connect(settings_for(sim.url), mapping, pace=time.pace(), campaigns_window=()) as zoho:
        for _ in range(250):  # two calls each: the page, and the code for its end
            zoho.campaigns.lists()
        with pytest.raises(QuotaExhausted) as caught:
            zoho.campaigns.lists()
        assert caught.value.until == time.now + timedelta(minutes=30)
        assert caught.value.endpoint == "getmailinglists"
        before = zoho.meter.total
        with pytest.raises(QuotaExhausted, match="campaigns refused a while ago"):
            zoho.campaigns.lists()
        assert zoho.meter.total == before
        assert list(zoho.campaigns.members("newsletter", Member.BOUNCED))


def test_a_lock_out_of_one_endpoint_is_a_result_when_refusing_and_stops_no_other_step(stub, told):
    stub.says(
        "POST /api/v1.1/json/listunsubscribe", Said(b'{"status":"error","code":"2008","message":"limit"}')
    )
    stub.says(DO_NOT_MAIL, OK)
    left, kept_out = told.campaigns.refuse("ada@example.com", ["newsletter"], active_on=None)
    assert (left.done, left.retry, left.code) == (False, True, "2008")
    assert kept_out.done
