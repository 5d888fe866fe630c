import json
import traceback
from datetime import timedelta

import pytest

from service.errors import QuotaExhausted, Unreachable, ZohoDenied
from service.reconciler.port import CrmChange
from service.zoho.mapping import connect
from tests.zoho.conftest import settings_for
from tests.zoho.stub import Said

ORG = "GET /crm/v8/org"
PUT = "PUT /crm/v8/Contacts"
TOKEN = "POST /oauth/v2/token"
GOOD_ORG = Said(b'{"org":[{"zgid":"7000000001","company_name":"Example"}]}')
SCOPE = Said(
    b'{"code":"OAUTH_SCOPE_MISMATCH","details":{},"message":"Unauthorized","status":"error"}', status=401
)
BUSY = b'{"code":"TOO_MANY_REQUESTS","details":{},"message":"too many requests","status":"error"}'
ADA = "ada.lovelace@example.com"


def unauthorized(code: str) -> Said:
    return Said(
        json.dumps({"code": code, "details": {}, "message": "no", "status": "error"}).encode(), status=401
    )


@pytest.mark.parametrize("code", ["INVALID_TOKEN", "AUTHENTICATION_FAILURE"])
def test_a_token_that_crm_does_not_know_is_renewed_once_and_the_call_repeated(stub, told, code):
    stub.says(TOKEN, Said(b'{"access_token":"1000.old"}'), Said(b'{"access_token":"1000.new"}'))
    stub.says(ORG, unauthorized(code), GOOD_ORG)
    assert told.crm.org().zgid == "7000000001"
    sent = [call.headers["authorization"] for call in stub.calls(ORG)]
    assert sent == ["Zoho-oauthtoken 1000.old", "Zoho-oauthtoken 1000.new"]


def test_a_second_refusal_is_a_denial_that_speaks_of_the_data_centre(stub, told):
    stub.says(ORG, unauthorized("INVALID_TOKEN"))
    with pytest.raises(ZohoDenied, match="one data centre") as caught:
        told.crm.org()
    assert caught.value.code == "INVALID_TOKEN"
    assert len(stub.calls(ORG)) == 2
    assert len(stub.calls(TOKEN)) == 2


def test_a_missing_scope_is_denied_without_asking_for_another_token(stub, told):
    stub.says(ORG, SCOPE)
    with pytest.raises(ZohoDenied, match=r"ZohoCRM\.coql\.READ"):
        told.crm.org()
    assert len(stub.calls(TOKEN)) == 1


def test_a_missing_scope_of_the_simulated_organisation_is_denied(sim, zoho):
    sim.control("/_control/switches", {"oauth.scopes": "ZohoCRM.coql.READ"})
    with pytest.raises(ZohoDenied) as caught:
        zoho.crm.org()
    assert caught.value.code == "OAUTH_SCOPE_MISMATCH"
    assert zoho.meter.calls["oauth"] == 1


def test_campaigns_unauthorized_in_capital_keys_renews_once_and_then_names_the_scopes(stub, told):
    refusal = b'{"message":"Unauthorized request.","version":"1.1","URI":"/x","Code":"1007","status":"error"}'
    stub.says("GET /api/v1.1/getmailinglists", Said(refusal, status=401))
    with pytest.raises(ZohoDenied, match=r"ZohoCampaigns\.contact\.UPDATE") as caught:
        told.campaigns.lists()
    assert caught.value.code == "1007"
    assert len(stub.calls(TOKEN)) == 2


def test_a_429_is_waited_out_as_long_as_retry_after_asks(stub, told, time):
    stub.says(ORG, Said(BUSY, status=429, headers={"Retry-After": "7"}), GOOD_ORG)
    assert told.crm.org().zgid == "7000000001"
    assert time.slept == [7.0]


def test_a_retry_after_in_http_date_format_is_understood(stub, told, time):
    when = (time.now + timedelta(seconds=9)).strftime("%a, %d %b %Y %H:%M:%S GMT")
    stub.says(ORG, Said(b"<html>busy</html>", status=503, headers={"Retry-After": when}), GOOD_ORG)
    told.crm.org()
    assert time.slept == [9.0]


def test_a_429_that_does_not_pass_is_exhausted_quota_and_rests_the_endpoint(stub, told, time):
    stub.says(ORG, Said(BUSY, status=429))
    with pytest.raises(QuotaExhausted) as caught:
        told.crm.org()
    assert caught.value.code == "TOO_MANY_REQUESTS"
    assert len(stub.calls(ORG)) == 4
    with pytest.raises(QuotaExhausted):
        told.crm.org()
    assert len(stub.calls(ORG)) == 4
    time.now = caught.value.until
    stub.says(ORG, GOOD_ORG)
    assert told.crm.org().zgid == "7000000001"


def test_a_wait_of_hours_is_not_sat_out(stub, told, time):
    stub.says(ORG, Said(BUSY, status=429, headers={"Retry-After": "7200"}))
    began = time.now
    with pytest.raises(QuotaExhausted) as caught:
        told.crm.org()
    assert time.slept == []
    assert caught.value.until == began + timedelta(hours=2)


@pytest.mark.parametrize(
    "body",
    [
        BUSY,
        BUSY.replace(b"TOO_MANY_REQUESTS", b"RATE_LIMIT_EXCEEDED"),
        b'{"code":429,"error":"TOO_MANY_REQUESTS","error_info":"Many requests fired","details":[]}',
        b"<html>slow down</html>",
    ],
)
def test_every_body_of_a_429_means_the_same(stub, told, body):
    stub.says(ORG, Said(body, status=429))
    with pytest.raises(QuotaExhausted):
        told.crm.org()


def test_used_up_credits_of_the_simulated_organisation_are_exhausted_quota(sim, zoho):
    sim.control("/_control/switches", {"crm.credits_per_day": 1, "crm.throttle_body": "old"})
    zoho.crm.org()
    with pytest.raises(QuotaExhausted):
        zoho.crm.org()


@pytest.mark.parametrize("broken", [Said(b"<html>502</html>", status=502), Said(status=0)])
def test_a_read_survives_broken_answers_with_growing_pauses(stub, told, time, broken):
    stub.says(ORG, broken, broken, broken, GOOD_ORG)
    assert told.crm.org().zgid == "7000000001"
    assert time.slept == [0.4, 0.8, 1.6]


def test_a_read_that_never_succeeds_is_unreachable_with_the_code_that_crm_gave(stub, told):
    stub.says(ORG, Said(b'{"code":"INTERNAL_ERROR","details":{},"message":"x","status":"error"}', status=500))
    with pytest.raises(Unreachable) as caught:
        told.crm.org()
    assert caught.value.code == "INTERNAL_ERROR"


def test_a_server_that_is_not_there_is_unreachable(stub, mapping, time):
    settings = settings_for(stub.url).model_copy(update={"zoho_crm_url": "http://127.0.0.1:9"})
    with (
        connect(settings, mapping, pace=time.pace()) as zoho,
        pytest.raises(Unreachable, match="ConnectError"),
    ):
        zoho.crm.org()


def test_a_redirect_is_not_followed_with_the_token(stub, told):
    stub.says(ORG, Said(b"", status=302, headers={"Location": stub.url + "/elsewhere"}))
    with pytest.raises(Unreachable):
        told.crm.org()
    assert stub.calls("GET /elsewhere") == []


def test_every_attempt_is_booked_before_it_is_sent(sim, mapping, time):
    booked = []
    with connect(
        settings_for(sim.url), mapping, pace=time.pace(), budget=lambda *call: booked.append(call)
    ) as zoho:
        sim.control("/_control/break", {"match": "GET /crm/v8/org", "times": 2, "how": "drop_before"})
        zoho.crm.org()
    assert booked == [("oauth", TOKEN, 0), *[("crm", ORG, 1)] * 3]
    assert zoho.meter.calls == {"oauth": 1, "crm": 3}


def test_a_budget_that_says_no_keeps_the_call_from_being_sent(stub, mapping, time):
    def budget(product: str, endpoint: str, credit: int) -> None:
        if credit:
            raise QuotaExhausted("the reserve for withdrawals begins here", endpoint=endpoint)

    with (
        connect(settings_for(stub.url), mapping, pace=time.pace(), budget=budget) as zoho,
        pytest.raises(QuotaExhausted, match="reserve"),
    ):
        zoho.crm.org()
    assert stub.calls(ORG) == []


def test_our_count_of_calls_and_credits_is_the_simulators(sim, zoho):
    list(zoho.crm.observe())
    zoho.campaigns.lists()
    counted = sim.control("/_control/meter")
    assert zoho.meter.calls == counted["calls"]
    assert zoho.meter.credits == counted["credits"]


def test_a_conditional_write_whose_answer_is_lost_is_not_repeated(stub, told, time):
    stub.says(PUT, Said(status=0))
    change = CrmChange(module="Contacts", record_id="1", opted_out=True, unmodified_since=time.now)
    (result,) = told.crm.enforce([change])
    assert (result.done, result.retry, result.code) == (False, True, "UNREACHABLE")
    assert "read it back" in result.reason
    assert len(stub.calls(PUT)) == 1


def test_a_repeated_go_could_lift_a_new_opt_out_and_is_not_sent(stub, told):
    stub.says(PUT, Said(b"<html>", status=500))
    (result,) = told.crm.enforce([CrmChange(module="Contacts", record_id="1", opted_out=False)])
    assert result.code == "HTTP_500"
    assert len(stub.calls(PUT)) == 1


@pytest.mark.parametrize("how", ["drop_before", "drop_after"])
def test_neither_address_nor_token_stands_in_any_log_error_or_traceback(sim, zoho, caplog, how):
    caplog.set_level("DEBUG")
    sim.control("/_control/break", {"match": "POST /crm/v8/coql", "times": 4, "how": how})
    sim.control("/_control/break", {"match": "POST /api/v1.1/json/listsubscribe", "times": 1, "how": how})
    with pytest.raises(Unreachable) as caught:
        zoho.crm.find(ADA)
    results = zoho.campaigns.refuse(ADA, ["newsletter"], active_on="newsletter")
    zoho.campaigns.is_refused(ADA)
    error = caught.value
    told = caplog.text + "".join(traceback.format_exception(error)) + repr(results) + repr(vars(error))
    assert error.__cause__ is None
    assert error.__context__ is None
    assert "lovelace" not in told
    assert zoho.oauth.token().value not in told
    assert "simulator.refresh" not in told


def test_no_address_stands_in_any_request_line(stub, told):
    stub.says("POST /crm/v8/coql", Said(status=204))
    for path in ("listsubscribe", "listunsubscribe", "contactdonotmail"):
        stub.says(f"POST /api/v1.1/json/{path}", Said(b'{"status":"success","code":"0","message":"ok"}'))
    told.crm.find(ADA)
    told.campaigns.refuse(ADA, ["newsletter"], active_on="newsletter")
    assert len(stub.heard) == 6
    assert not [heard.path for heard in stub.heard if "lovelace" in heard.path or "%40" in heard.path]
