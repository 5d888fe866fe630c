"""CRM's door: tokens, scopes, credits, and the shapes of its refusals."""

import httpx

EMPTY = {"details": {}, "status": "error"}


def test_no_authorization_and_a_bad_token_are_told_apart(still):
    with httpx.Client(base_url=still.url, trust_env=False) as client:
        nobody = client.get("/crm/v8/org")
        wrong = client.get("/crm/v8/org", headers={"Authorization": "Zoho-oauthtoken 1000.x.y"})
    assert nobody.status_code == wrong.status_code == 401
    assert nobody.json() == {"code": "AUTHENTICATION_FAILURE", "message": "Authentication failed", **EMPTY}
    assert wrong.json() == {"code": "INVALID_TOKEN", "message": "invalid oauth token", **EMPTY}


def test_bearer_opens_nothing(reader):
    token = reader.headers["Authorization"].split()[1]
    assert reader.get("/crm/v8/org", headers={"Authorization": f"Bearer {token}"}).status_code == 401


def test_a_token_without_the_scope_is_401_scope_mismatch(sim, credentials):
    sim.control("switches", {"oauth.scopes": "ZohoCRM.modules.contacts.READ ZohoCRM.coql.READ"})
    with httpx.Client(base_url=sim.url, trust_env=False) as client:
        token = client.post("/oauth/v2/token", data=credentials).json()["access_token"]
        client.headers["Authorization"] = f"Zoho-oauthtoken {token}"
        assert client.get("/crm/v8/Contacts?fields=Email").status_code == 200
        leads = client.get("/crm/v8/Leads?fields=Email")
        write = client.put("/crm/v8/Contacts", json={"data": [{"id": "1"}]})
    assert (leads.status_code, leads.json()["code"]) == (401, "OAUTH_SCOPE_MISMATCH")
    assert (write.status_code, write.json()["code"]) == (401, "OAUTH_SCOPE_MISMATCH")


def test_calls_cost_what_the_price_list_says(sim, zoho):
    def cost(method, path, **kwargs):
        before = sim.control("meter")["credits"]
        zoho.request(method, path, **kwargs)
        return sim.control("meter")["credits"] - before

    def coql(limit):
        query = f"select id from Contacts where id > 0 {limit}"
        return cost("POST", "/crm/v8/coql", json={"select_query": query})

    assert [coql(""), coql("limit 200"), coql("limit 201"), coql("limit 1000"), coql("limit 2000")] == [
        1,
        1,
        2,
        2,
        3,
    ]
    assert cost("GET", "/crm/v8/Contacts?fields=Email") == 1
    assert cost("GET", "/crm/v8/Contacts?fields=Email&cvid=5725767000000087501") == 3
    assert cost("GET", "/crm/v8/Contacts/deleted") == 2
    records = [{"id": str(number)} for number in range(100)]
    assert cost("PUT", "/crm/v8/Contacts", json={"data": records}) == 10
    assert cost("PUT", "/crm/v8/Contacts", json={"data": records[:11]}) == 2
    assert cost("PUT", "/crm/v8/Contacts", json={"data": records[:1]}) == 1


def test_the_remaining_credits_are_told_only_from_half_of_the_day_on(sim, zoho):
    sim.control("switches", {"crm.credits_per_day": 4})
    told = [zoho.get("/crm/v8/org").headers.get("X-API-CREDITS-REMAINING") for _ in range(4)]
    assert told == [None, "2", "1", "0"]


def test_without_credits_everything_is_429_until_the_window_has_rolled(sim, zoho):
    sim.control("switches", {"crm.credits_per_day": 1})
    zoho.get("/crm/v8/org")
    refused = zoho.get("/crm/v8/org")
    assert refused.status_code == 429
    assert refused.json() == {
        "code": "TOO_MANY_REQUESTS",
        "details": {},
        "message": "too many requests. please try again after some time",
        "status": "error",
    }
    assert "retry-after" not in refused.headers
    sim.control("switches", {"crm.throttle_body": "old", "crm.throttle_code": "RATE_LIMIT_EXCEEDED"})
    assert zoho.get("/crm/v8/org").json() == {
        "code": 429,
        "error": "RATE_LIMIT_EXCEEDED",
        "error_info": "Many requests fired than the allowed limit for the past 24 hours.",
        "details": [],
    }
    sim.control("clock", {"advance_s": 86_401})
    assert zoho.get("/crm/v8/org").status_code == 401
    assert sim.control("meter")["credits"] == 1


def test_an_address_or_method_that_crm_does_not_have_is_said_in_its_own_way(reader):
    nowhere, wrong = reader.get("/crm/v8/settings/nothing"), reader.patch("/crm/v8/Contacts")
    assert (nowhere.status_code, nowhere.json()["code"]) == (404, "INVALID_URL_PATTERN")
    assert (wrong.status_code, wrong.json()["code"]) == (400, "INVALID_REQUEST_METHOD")


def test_an_unknown_module_is_refused_by_name(reader):
    answer = reader.get("/crm/v8/Gnomes?fields=Email")
    assert answer.status_code == 400
    assert answer.json() == {
        "code": "INVALID_MODULE",
        "details": {"resource_path_index": 0},
        "message": "the module name given seems to be invalid",
        "status": "error",
    }
