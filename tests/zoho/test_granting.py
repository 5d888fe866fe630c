"""Codes for refresh tokens, and their end, where the accounts server says something else than yes."""

import json

import pytest
from pydantic import SecretStr

from service.errors import QuotaExhausted, Unreachable, ZohoDenied
from service.reconciler.port import Meter
from service.zoho.granting import Client, Desk, consent_url, exchange, revoke
from service.zoho.pace import utc_now
from service.zoho.quota import Alone
from service.zoho.scopes import ASKED
from service.zoho.wire import Line
from tests.zoho.stub import Said

TOKEN, REVOKE = "POST /oauth/v2/token", "POST /oauth/v2/token/revoke"
CODE = SecretStr("1000.the.code")


@pytest.fixture
def desk():
    line = Line()
    yield Desk(line, Alone(utc_now), Meter())
    line.close()


@pytest.fixture
def client(stub):
    return Client(accounts_url=stub.url + "/", client_id="1000.C", client_secret=SecretStr("s e&c"))


def says(**fields) -> Said:
    return Said(json.dumps(fields).encode())


def test_the_code_and_the_secret_travel_in_the_body_alone(stub, desk, client):
    stub.says(TOKEN, says(access_token="a", refresh_token="1000.r", scope="X.y.READ,X.z.READ"))
    granted = exchange(desk, client, CODE, redirect_uri="http://localhost:1/callback")
    assert (granted.refresh_token.get_secret_value(), granted.scopes) == ("1000.r", ("X.y.READ", "X.z.READ"))
    (heard,) = stub.calls(TOKEN)
    assert heard.path == "/oauth/v2/token"
    assert heard.body == (
        b"grant_type=authorization_code&client_id=1000.C&client_secret=s+e%26c&code=1000.the.code"
        b"&redirect_uri=http%3A%2F%2Flocalhost%3A1%2Fcallback"
    )


def test_a_self_clients_code_names_no_redirect(stub, desk, client):
    stub.says(TOKEN, says(access_token="a", refresh_token="1000.r"))
    assert exchange(desk, client, CODE).scopes is None
    assert b"redirect_uri" not in stub.calls(TOKEN)[0].body


@pytest.mark.parametrize("answer", [Said(status=0), Said(b"<html>", status=502), Said(b"<html>sign in")])
def test_a_code_whose_answer_was_lost_is_not_sent_again(stub, desk, client, answer):
    stub.says(TOKEN, answer)
    with pytest.raises(Unreachable) as caught:
        exchange(desk, client, CODE)
    assert len(stub.calls(TOKEN)) == 1
    assert "1000.the.code" not in str(caught.value)


def test_an_answer_without_a_refresh_token_is_no_success(stub, desk, client):
    stub.says(TOKEN, says(access_token="a"))
    with pytest.raises(ZohoDenied, match="no refresh token"):
        exchange(desk, client, CODE)


@pytest.mark.parametrize("status", [200, 400, 401])
def test_a_refusal_is_one_under_any_status(stub, desk, client, status):
    stub.says(TOKEN, Said(b'{"error":"invalid_redirect_uri"}', status=status))
    with pytest.raises(ZohoDenied, match="register exactly this redirect address"):
        exchange(desk, client, CODE)


def test_a_throttled_exchange_says_until_when(stub, desk, client):
    throttled = {"error": "Access Denied", "error_description": "You have made too many requests"}
    stub.says(TOKEN, Said(json.dumps(throttled).encode(), status=400))
    with pytest.raises(QuotaExhausted):
        exchange(desk, client, CODE)


def test_revoking_tells_whether_zoho_knew_the_token(stub, desk):
    stub.says(REVOKE, says(status="success"), says(error="invalid_code"), Said(status=0))
    assert revoke(desk, stub.url, SecretStr("1000.r")) is True
    assert revoke(desk, stub.url, SecretStr("1000.r")) is False
    with pytest.raises(Unreachable):
        revoke(desk, stub.url, SecretStr("1000.r"))
    heard = stub.calls(REVOKE)[0]
    assert (heard.path, heard.body) == ("/oauth/v2/token/revoke", b"token=1000.r")


def test_the_consent_page_is_asked_for_a_token_that_lasts():
    url = consent_url("https://accounts.zoho.eu/", "1000.C", redirect_uri="http://localhost:1/c", state="x y")
    assert url.startswith("https://accounts.zoho.eu/oauth/v2/auth?response_type=code&client_id=1000.C&scope=")
    assert "&access_type=offline&prompt=consent&state=x+y" in url
    assert ASKED.replace(",", "%2C") in url


def test_each_call_is_booked_before_it_is_sent_and_the_tenth_in_ten_minutes_is_not(stub, desk, client):
    stub.says(TOKEN, Said(b"<html>", status=502))
    for _ in range(9):
        with pytest.raises(Unreachable):
            exchange(desk, client, CODE)
    with pytest.raises(QuotaExhausted, match="run again after"):
        exchange(desk, client, CODE)
    assert len(stub.calls(TOKEN)) == 9
