import json
import traceback
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest

from service.errors import QuotaExhausted, Unreachable, ZohoDenied
from service.zoho.mapping import connect
from tests.zoho.conftest import settings_for
from tests.zoho.stub import Said

TOKEN = "POST /oauth/v2/token"


def says(**fields) -> Said:
    return Said(json.dumps(fields).encode())


def test_twenty_threads_fetch_one_token(stub, told):
    stub.says(TOKEN, Said(b'{"access_token":"1000.one","expires_in":3600}', delay_s=0.1))
    with ThreadPoolExecutor(20) as pool:
        values = {token.value for token in pool.map(lambda _: told.oauth.token(), range(20))}
    assert values == {"1000.one"}
    assert len(stub.calls(TOKEN)) == 1
    assert told.meter.calls == {"oauth": 1}


def test_twenty_threads_with_a_dead_token_renew_it_once(stub, told):
    stub.says(TOKEN, says(access_token="1000.old"), says(access_token="1000.new"))
    stale = told.oauth.token()
    with ThreadPoolExecutor(20) as pool:
        values = {token.value for token in pool.map(lambda _: told.oauth.renew(stale), range(20))}
    assert values == {"1000.new"}
    assert len(stub.calls(TOKEN)) == 2


def test_a_token_is_renewed_five_minutes_before_it_ends(stub, told, time):
    stub.says(
        TOKEN, says(access_token="1000.a", expires_in=3600), says(access_token="1000.b", expires_in=3600)
    )
    told.oauth.token()
    time.now += timedelta(minutes=54, seconds=59)
    assert told.oauth.token().value == "1000.a"
    time.now += timedelta(seconds=1)
    assert told.oauth.token().value == "1000.b"


@pytest.mark.parametrize(
    "life",
    [
        {"expires_in": 3_600_000, "expires_in_sec": 3600},
        {"expires_in": 3_600_000},
        {"expires_in": "3600"},
        {},
        {"expires_in": "soon"},
    ],
)
def test_however_the_lifetime_is_written_it_is_one_hour(stub, told, time, life):
    stub.says(TOKEN, says(access_token="1000.a", **life))
    assert told.oauth.token().renew_at == time.now + timedelta(minutes=55)


def test_a_short_lived_token_is_used_for_half_its_life(stub, told, time):
    stub.says(TOKEN, says(access_token="1000.a", expires_in=200))
    assert told.oauth.token().renew_at == time.now + timedelta(seconds=100)


def test_success_is_a_token_whatever_the_status_says(stub, told):
    stub.says(TOKEN, Said(b'{"access_token":"1000.a"}', status=400))
    assert told.oauth.token().value == "1000.a"


def test_an_error_under_http_200_is_a_denial_that_names_the_setting(stub, told):
    stub.says(TOKEN, says(error="invalid_code"))
    with pytest.raises(ZohoDenied, match="CONSENT_ZOHO_REFRESH_TOKEN") as caught:
        told.oauth.token()
    assert caught.value.code == "invalid_code"
    assert caught.value.endpoint == TOKEN


def test_a_wrong_secret_is_told_apart_from_a_wrong_token(sim, mapping):
    settings = settings_for(sim.url).model_copy(update={"zoho_client_id": "1000.OTHER"})
    with connect(settings, mapping) as zoho, pytest.raises(ZohoDenied, match="CONSENT_ZOHO_CLIENT_ID"):
        zoho.oauth.token()


def test_a_denial_is_remembered_for_a_minute_so_that_nobody_asks_again(stub, told, time):
    stub.says(TOKEN, says(error="invalid_code"), says(access_token="1000.a"))
    for _ in range(5):
        with pytest.raises(ZohoDenied):
            told.oauth.token()
    assert len(stub.calls(TOKEN)) == 1
    time.now += timedelta(minutes=1)
    assert told.oauth.token().value == "1000.a"


def test_the_throttle_of_accounts_closes_the_door_for_ten_minutes(stub, told, time):
    throttled = {
        "error_description": "You have made too many requests continuously.",
        "error": "Access Denied",
        "status": "failure",
    }
    stub.says(TOKEN, Said(json.dumps(throttled).encode(), status=400), says(access_token="1000.a"))
    with pytest.raises(QuotaExhausted) as caught:
        told.oauth.token()
    assert caught.value.until == time.now + timedelta(minutes=10)
    with pytest.raises(QuotaExhausted) as again:
        told.oauth.token()
    assert again.value.until == caught.value.until
    assert len(stub.calls(TOKEN)) == 1
    time.now += timedelta(minutes=10)
    assert told.oauth.token().value == "1000.a"


def test_we_stop_before_the_tenth_token_would_block_the_refresh_token(sim, zoho, time):
    token = zoho.oauth.token()
    for _ in range(8):
        token = zoho.oauth.renew(token)
    with pytest.raises(QuotaExhausted, match="data centre") as caught:
        zoho.oauth.renew(token)
    assert caught.value.until == time.now + timedelta(minutes=10)
    assert sim.control("/meter")["calls"]["oauth"] == 9


@pytest.mark.parametrize("answer", [Said(b"<html>bad gateway", status=502), Said(status=0)])
def test_a_failing_accounts_server_is_asked_four_times_and_then_unreachable(stub, told, time, answer):
    stub.says(TOKEN, answer)
    with pytest.raises(Unreachable, match="CONSENT_ZOHO_ACCOUNTS_URL"):
        told.oauth.token()
    assert len(stub.calls(TOKEN)) == 4
    assert time.slept == [0.4, 0.8, 1.6]


def test_an_html_page_instead_of_a_token_is_unreachable(stub, told):
    stub.says(TOKEN, Said(b"<html>sign in</html>"))
    with pytest.raises(Unreachable):
        told.oauth.token()


def test_secrets_travel_in_the_body_and_stand_in_no_error_log_or_repr(stub, told, caplog):
    caplog.set_level("DEBUG")
    stub.says(TOKEN, says(access_token="1000.visible.secret"), says(error="invalid_code"))
    token = told.oauth.token()
    assert "1000.visible" not in repr(token)
    with pytest.raises(ZohoDenied) as caught:
        told.oauth.renew(token)
    everything = caplog.text + "".join(traceback.format_exception(caught.value)) + repr(told.oauth.__dict__)
    assert "1000.visible" not in everything
    assert "simulator.refresh" not in everything
    assert "simulator-secret" not in everything
    assert "?" not in stub.heard[0].path
    assert b"refresh_token=1000.simulator.refresh" in stub.heard[0].body
