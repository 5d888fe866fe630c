"""The token endpoint as the facts tell it."""

import httpx
import pytest

from service.zoho.simulator import names

TOKEN = "/oauth/v2/token"


@pytest.fixture
def accounts(sim):
    with httpx.Client(base_url=sim.url, trust_env=False) as client:
        yield client


def test_a_refresh_token_buys_an_hour_at_our_own_address(accounts, credentials, sim):
    answer = accounts.post(TOKEN, data=credentials)
    assert answer.status_code == 200
    body = answer.json()
    assert list(body) == ["access_token", "scope", "api_domain", "token_type", "expires_in"]
    assert body["expires_in"] == 3600
    assert body["api_domain"] == sim.url


def test_a_host_header_cannot_make_the_answer_name_a_real_zoho_host(accounts, credentials, sim):
    answer = accounts.post(TOKEN, data=credentials, headers={"Host": "www.zohoapis.com"})
    assert answer.json()["api_domain"] == sim.url


def test_the_parameters_may_stand_in_the_query(accounts, credentials):
    assert "access_token" in accounts.post(TOKEN, params=credentials).json()


@pytest.mark.parametrize(
    ("name", "error"),
    [
        ("client_id", "invalid_client"),
        ("client_secret", "invalid_client_secret"),
        ("refresh_token", "invalid_code"),
    ],
)
def test_a_wrong_credential_is_an_error_under_http_200(accounts, credentials, name, error):
    answer = accounts.post(TOKEN, data={**credentials, name: "wrong"})
    assert (answer.status_code, answer.json()) == (200, {"error": error})


def test_the_eleventh_token_in_ten_minutes_is_refused_and_later_ones_are_not(accounts, credentials, sim):
    for _ in range(10):
        assert accounts.post(TOKEN, data=credentials).status_code == 200
    refused = accounts.post(TOKEN, data=credentials)
    assert refused.status_code == 400
    assert refused.json() == {
        "error_description": "You have made too many requests continuously. "
        "Please try again after some time.",
        "error": "Access Denied",
        "status": "failure",
    }
    sim.control("clock", {"advance_s": 601})
    assert "access_token" in accounts.post(TOKEN, data=credentials).json()


def test_client_credentials_need_the_organisation_and_give_no_refresh_token(accounts):
    wanted = {
        "grant_type": "client_credentials",
        "client_id": names.CLIENT_ID,
        "client_secret": names.CLIENT_SECRET,
        "scope": "ZohoCRM.org.READ",
    }
    assert accounts.post(TOKEN, data=wanted).json() == {"error": "missing_org_info"}
    body = accounts.post(TOKEN, data={**wanted, "soid": f"ZohoCRM.{names.ORG_ZGID}"}).json()
    assert body["scope"] == "ZohoCRM.org.READ"
    assert "refresh_token" not in body


def test_a_revoked_refresh_token_buys_nothing(accounts, credentials):
    answer = accounts.post(f"{TOKEN}/revoke", params={"token": names.REFRESH_TOKEN})
    assert answer.json() == {"status": "success"}
    assert accounts.post(TOKEN, data=credentials).json() == {"error": "invalid_code"}


def test_a_token_dies_after_an_hour_in_both_products(sim, zoho):
    sim.control("clock", {"advance_s": 3601})
    crm = zoho.get("/crm/v8/org")
    assert (crm.status_code, crm.json()["code"]) == (401, "INVALID_TOKEN")
    assert zoho.get("/api/v1.1/getmailinglists").status_code == 401


def test_old_answers_count_the_expiry_in_milliseconds_by_switch(accounts, credentials, sim):
    sim.control("switches", {"oauth.legacy_expiry": True, "oauth.scope_in_token": False})
    body = accounts.post(TOKEN, data=credentials).json()
    assert (body["expires_in"], body["expires_in_sec"]) == (3_600_000, 3600)
    assert "scope" not in body
