"""The token endpoint as the facts tell it."""

import httpx
import pytest

from service.zoho.simulator import names, running

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
    unknown = {**wanted, "soid": f"ZohoCRM.{names.ORG_ZGID}", "scope": "ZohoCRM.org.READ,Nonsense.ALL"}
    assert accounts.post(TOKEN, data=unknown).json() == {"error": "invalid_scope"}


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


CALLBACK = "http://127.0.0.1:9/back?here=1"
CLIENT = {"client_id": names.CLIENT_ID, "client_secret": names.CLIENT_SECRET}
WANTED = {
    "response_type": "code",
    "client_id": names.CLIENT_ID,
    "scope": "ZohoCRM.org.READ,ZohoCampaigns.contact.READ",
    "redirect_uri": CALLBACK,
    "access_type": "offline",
    "prompt": "consent",
    "state": "s t",
}


def in_browser(accounts, **changed):
    """Return where the browser is sent, and what it carries there."""
    answer = accounts.get("/oauth/v2/auth", params={**WANTED, **changed})
    assert (answer.status_code, answer.content) == (302, b"")
    url = httpx.URL(answer.headers["location"])
    return url, dict(url.params)


def exchanged(accounts, code, **changed):
    form = {**CLIENT, "grant_type": "authorization_code", "code": code, **changed}
    return accounts.post(TOKEN, data=form)


def test_the_browser_comes_back_with_a_code_and_the_data_centre_of_the_person(accounts, sim):
    answer = accounts.get("/oauth/v2/auth", params=WANTED)
    (code,) = sim.world.tokens.codes
    assert answer.headers["location"] == (
        f"{CALLBACK}&state=s+t&code={code}&location=eu&accounts-server={sim.url.replace('://', '%3A%2F%2F')}"
    ).replace("%3A%2F%2F127.0.0.1:", "%3A%2F%2F127.0.0.1%3A")


def test_a_code_buys_a_refresh_token_once(accounts, sim):
    _, back = in_browser(accounts)
    answer = exchanged(accounts, back["code"], redirect_uri=CALLBACK)
    body = answer.json()
    assert (
        answer.content
        == (
            f'{{"access_token":"{body["access_token"]}","refresh_token":"{body["refresh_token"]}",'
            '"scope":"ZohoCRM.org.READ ZohoCampaigns.contact.READ",'
            f'"api_domain":"{sim.url}","token_type":"Bearer","expires_in":3600}}'
        ).encode()
    )
    again = exchanged(accounts, back["code"], redirect_uri=CALLBACK)
    assert (again.status_code, again.content) == (200, b'{"error":"invalid_code"}')
    more = accounts.post(
        TOKEN, data={**CLIENT, "grant_type": "refresh_token", "refresh_token": body["refresh_token"]}
    ).json()
    assert more["scope"] == "ZohoCRM.org.READ ZohoCampaigns.contact.READ"
    assert "refresh_token" not in more


def test_a_code_is_bound_to_where_it_was_sent_and_dies_after_three_minutes(accounts, sim):
    _, back = in_browser(accounts)
    answer = exchanged(accounts, back["code"], redirect_uri="http://127.0.0.1:9/elsewhere")
    assert answer.content == b'{"error":"invalid_redirect_uri"}'
    _, back = in_browser(accounts)
    sim.control("clock", {"advance_s": 181})
    answer = exchanged(accounts, back["code"], redirect_uri=CALLBACK)
    assert answer.content == b'{"error":"invalid_code"}'


@pytest.mark.parametrize("missing", [{"access_type": "online"}, {"access_type": ""}, {"prompt": ""}])
def test_without_offline_or_consent_there_is_no_second_refresh_token(accounts, missing):
    _, first = in_browser(accounts)
    exchanged(accounts, first["code"], redirect_uri=CALLBACK)
    _, back = in_browser(accounts, **missing)
    assert "refresh_token" not in exchanged(accounts, back["code"], redirect_uri=CALLBACK).json()


@pytest.mark.parametrize(
    ("changed", "error"), [({"scope": "ZohoCRM.no"}, "invalid_scope"), ({"scope": ""}, "invalid_scope")]
)
def test_what_the_client_may_be_told_comes_by_redirect(accounts, changed, error):
    _, back = in_browser(accounts, **changed)
    assert back == {"here": "1", "state": "s t", "error": error}


def test_a_person_who_refuses_sends_access_denied(accounts, sim):
    sim.control("switches", {"oauth.consent": "refuses"})
    assert in_browser(accounts)[1]["error"] == "access_denied"


@pytest.mark.parametrize(
    ("changed", "error"),
    [
        ({"client_id": "1000.OTHER"}, b"invalid_client"),
        ({"response_type": "token"}, b"invalid_response_type"),
        ({"redirect_uri": "https://elsewhere.example/"}, b"invalid_redirect_uri"),
    ],
)
def test_a_mistake_of_the_client_is_shown_and_sent_nowhere(accounts, changed, error):
    answer = accounts.get("/oauth/v2/auth", params={**WANTED, **changed})
    assert answer.status_code == 400
    assert error in answer.content


def test_only_registered_addresses_are_redirected_to_by_switch(accounts, sim):
    sim.control("switches", {"oauth.redirect_uris": "http://127.0.0.1:8/one http://127.0.0.1:9/two"})
    assert accounts.get("/oauth/v2/auth", params=WANTED).status_code == 400
    assert in_browser(accounts, redirect_uri="http://127.0.0.1:9/two")[1]["location"] == "eu"


def test_a_code_of_the_self_client_needs_no_redirect_and_lives_as_long_as_was_chosen(accounts, sim):
    made = [
        sim.control("oauth/code", {"scope": "ZohoCRM.org.READ", "minutes": minutes}) for minutes in (3, 10)
    ]
    sim.control("clock", {"advance_s": 200})
    assert exchanged(accounts, made[0]["code"]).content == b'{"error":"invalid_code"}'
    assert exchanged(accounts, made[1]["code"]).json()["scope"] == "ZohoCRM.org.READ"


def test_the_twenty_first_refresh_token_drops_the_first(accounts, sim):
    bought = []
    for _ in range(21):
        code = sim.control("oauth/code", {"scope": "ZohoCRM.org.READ"})["code"]
        bought.append(exchanged(accounts, code).json()["refresh_token"])
    form = {**CLIENT, "grant_type": "refresh_token"}
    first = accounts.post(TOKEN, data={**form, "refresh_token": bought[0]})
    assert first.content == b'{"error":"invalid_code"}'
    assert "access_token" in accounts.post(TOKEN, data={**form, "refresh_token": bought[1]}).json()


def test_a_revoked_token_of_either_kind_opens_nothing_any_more(accounts, sim):
    code = sim.control("oauth/code", {"scope": "ZohoCRM.org.READ"})["code"]
    body = exchanged(accounts, code).json()
    for kind in ("access_token", "refresh_token"):
        answer = accounts.post(f"{TOKEN}/revoke", params={"token": body[kind]})
        assert (answer.status_code, answer.content) == (200, b'{"status":"success"}')
    header = {"Authorization": f"Zoho-oauthtoken {body['access_token']}"}
    assert accounts.get("/crm/v8/org", headers=header).json()["code"] == "INVALID_TOKEN"
    form = {**CLIENT, "grant_type": "refresh_token", "refresh_token": body["refresh_token"]}
    assert accounts.post(TOKEN, data=form).content == b'{"error":"invalid_code"}'


def test_errors_other_than_a_bad_code_may_have_a_status_of_their_own(accounts, credentials, sim):
    sim.control("switches", {"oauth.error_status": 400})
    wrong = accounts.post(TOKEN, data={**credentials, "client_secret": "wrong"})
    assert (wrong.status_code, wrong.content) == (400, b'{"error":"invalid_client_secret"}')
    assert accounts.post(TOKEN, data={**credentials, "refresh_token": "wrong"}).status_code == 200


@pytest.fixture(scope="module")
def world():
    """Three of the eight data centres; the organisation lives in the one called `dc.home`."""
    with running(contacts=40, seed=5, centres=("us", "eu", "in")) as simulator:
        yield simulator


@pytest.mark.parametrize("home", ["us", "in"])
def test_a_token_opens_its_own_data_centre_and_no_other(world, credentials, home):
    world.control("switches", {"dc.home": home})
    with httpx.Client(trust_env=False) as client:
        answer = client.post(world.centres[home] + TOKEN, data=credentials).json()
        assert answer["api_domain"] == world.centres[home]
        client.headers["Authorization"] = f"Zoho-oauthtoken {answer['access_token']}"
        for name, url in world.centres.items():
            crm = client.get(f"{url}/crm/v8/org")
            campaigns = client.get(f"{url}/api/v1.1/getmailinglists?resfmt=JSON")
            if name == home:
                assert (crm.status_code, campaigns.status_code) == (200, 200)
                continue
            assert (crm.status_code, crm.content) == (
                401,
                b'{"code":"INVALID_TOKEN","details":{},"message":"invalid oauth token","status":"error"}',
            )
            assert campaigns.status_code == 401
            assert list(campaigns.json()) == ["message", "version", "URI", "Code", "status"]
            refused = client.post(url + TOKEN, data=credentials)
            assert (refused.status_code, refused.content) == (200, b'{"error":"invalid_client"}')


def test_the_redirect_and_serverinfo_name_the_accounts_host_of_the_persons_centre(world):
    world.control("switches", {"dc.home": "in"})
    with httpx.Client(base_url=world.url, trust_env=False) as client:
        _, back = in_browser(client)
        assert (back["location"], back["accounts-server"]) == ("in", world.centres["in"])
        answer = client.get("/oauth/serverinfo")
        assert answer.json() == {"result": "success", "locations": dict(world.centres)}


def test_an_organisation_that_moved_leaves_its_tokens_behind(world, credentials):
    world.control("switches", {"dc.home": "us"})
    with httpx.Client(base_url=world.url, trust_env=False) as client:
        answer = client.post(TOKEN, data=credentials).json()
        client.headers["Authorization"] = f"Zoho-oauthtoken {answer['access_token']}"
        world.control("switches", {"dc.home": "eu"})
        assert client.get("/crm/v8/org").status_code == 401
