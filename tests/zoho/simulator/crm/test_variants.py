"""Where the sources on CRM contradict each other, a switch gives each of the answers."""

import httpx
import pytest

V8 = "/crm/v8"
CONTACTS = f"{V8}/Contacts"


@pytest.fixture
def switch(sim):
    return lambda name, value: sim.control("switches", {name: value})


@pytest.fixture
def record(zoho):
    """The id of a contact."""
    body = {"data": [{"Last_Name": "One", "Email": "one@example.com", "Phone": "1"}]}
    return zoho.post(CONTACTS, json=body).json()["data"][0]["details"]["id"]


@pytest.mark.parametrize("code", ["INVALID_TOKEN", "AUTHENTICATION_FAILURE"])
def test_a_bad_token_has_either_code(zoho, switch, code):
    switch("crm.bad_token", code)
    answer = zoho.get(f"{V8}/org", headers={"Authorization": "Zoho-oauthtoken x"})
    assert (answer.status_code, answer.json()["code"]) == (401, code)


@pytest.mark.parametrize(
    ("told", "message", "details"),
    [
        ("usual", "invalid oauth scope to access this URL", {}),
        ("unauthorized", "Unauthorized", {}),
        ("address", "invalid oauth scope to access this URL", {"method": "GET", "url": f"{V8}/org"}),
    ],
)
def test_a_missing_scope_is_told_in_three_ways(sim, switch, credentials, told, message, details):  # noqa: PLR0917
    switch("crm.scope_mismatch", told)
    switch("oauth.scopes", "ZohoCRM.users.READ")
    token = httpx.post(f"{sim.url}/oauth/v2/token", data=credentials, trust_env=False).json()["access_token"]
    headers = {"Authorization": f"Zoho-oauthtoken {token}"}
    answer = httpx.get(f"{sim.url}{V8}/org", headers=headers, trust_env=False)
    assert (answer.status_code, answer.json()["code"]) == (401, "OAUTH_SCOPE_MISMATCH")
    assert (answer.json()["message"], answer.json()["details"]) == (message, details)


@pytest.mark.parametrize("status", [400, 405])
def test_a_wrong_method_has_either_status(zoho, switch, status):
    switch("crm.wrong_method_status", status)
    answer = zoho.patch(f"{V8}/org")
    assert (answer.status_code, answer.json()["code"]) == (status, "INVALID_REQUEST_METHOD")


@pytest.mark.parametrize("status", [400, 409])
def test_a_locked_record_has_either_status(sim, zoho, switch, record, status):
    switch("crm.locked_status", status)
    sim.control("crm/lock", {"email": "one@example.com"})
    answer = zoho.put(CONTACTS, json={"data": [{"id": record, "Phone": "2"}]})
    assert (answer.status_code, answer.json()["data"][0]["code"]) == (status, "RECORD_LOCKED")


def test_a_record_in_a_blueprint_says_so(sim, zoho, record):
    sim.control("crm/lock", {"email": "one@example.com", "code": "RECORD_IN_BLUEPRINT"})
    answer = zoho.put(CONTACTS, json={"data": [{"id": record, "Phone": "2"}]})
    assert (answer.status_code, answer.json()["data"][0]["code"]) == (400, "RECORD_IN_BLUEPRINT")


@pytest.mark.parametrize(
    "told", ["NO_PERMISSION 403", "AUTHORIZATION_FAILED 400", "AUTHORIZATION_FAILED 403"]
)
def test_a_profile_that_forbids_is_told_in_three_ways(zoho, switch, record, told):
    switch("crm.denied_as", told)
    switch("crm.denied", "PUT:Contacts GET:Leads")
    answers = [
        zoho.put(CONTACTS, json={"data": [{"id": record, "Phone": "2"}]}),
        zoho.get(f"{V8}/Leads", params={"fields": "Email"}),
    ]
    code, status = told.split()
    assert [(answer.status_code, answer.json()["code"]) for answer in answers] == [(int(status), code)] * 2
    assert zoho.get(f"{CONTACTS}/{record}").json()["data"][0]["Phone"] == "1"


def test_several_errors_of_a_record_come_as_one(zoho, record):
    wrong = {"id": record, "Email": "nonsense", "Email_Opt_Out": "yes", "Created_Time": "x"}
    (item,) = zoho.put(CONTACTS, json={"data": [wrong]}).json()["data"]
    assert item["code"] == "MULTIPLE_OR_MULTI_ERRORS"
    assert [error["details"]["api_name"] for error in item["details"]["errors"]] == list(wrong)[1:]


@pytest.mark.parametrize(
    ("name", "value", "length"),
    [("Email", f"{'x' * 90}@example.com", 100), ("Last_Name", "x" * 81, 80), ("Phone", "1" * 31, 30)],
)
def test_a_value_that_is_too_long_names_the_most_there_is(zoho, record, name, value, length):
    (item,) = zoho.put(CONTACTS, json={"data": [{"id": record, name: value}]}).json()["data"]
    assert item["code"] == "INVALID_DATA"
    assert item["details"] == {"api_name": name, "json_path": f"$.data[0].{name}", "maximum_length": length}


def test_a_value_that_a_picklist_lacks_names_those_it_has(zoho, record):
    (item,) = zoho.put(CONTACTS, json={"data": [{"id": record, "Lead_Source": "Moon"}]}).json()["data"]
    assert item["code"] == "INVALID_DATA"
    assert item["details"] == {
        "api_name": "Lead_Source",
        "json_path": "$.data[0].Lead_Source",
        "supported_values": ["Web", "Fair", "Partner"],
    }
    (good,) = zoho.put(CONTACTS, json={"data": [{"id": record, "Lead_Source": "Fair"}]}).json()["data"]
    assert good["code"] == "SUCCESS"


@pytest.mark.parametrize(("needed", "status"), [(False, 204), (True, 400)])
def test_channels_may_have_to_be_asked_for_by_number(zoho, switch, needed, status):
    switch("watch.details_need_channel", needed)
    assert zoho.get(f"{V8}/actions/watch").status_code == status
    assert zoho.get(f"{V8}/actions/watch", params={"channel_id": "7"}).status_code == 204


@pytest.mark.parametrize(("told", "keys"), [("old", {"api_name", "id"}), ("new", {"duplicate_record"})])
def test_a_duplicate_names_its_record_or_only_its_field(sim, zoho, switch, told, keys):
    switch("crm.duplicate_details", told)
    sim.control("crm/unique", {"module": "Contacts", "fields": ["Phone"]})
    twin = {"Last_Name": "Two", "Phone": "7"}
    zoho.post(CONTACTS, json={"data": [twin]})
    (item,) = zoho.post(CONTACTS, json={"data": [twin]}).json()["data"]
    assert item["code"] == "DUPLICATE_DATA"
    assert keys <= set(item["details"])
    assert ("duplicate_record" in item["details"]) is (told == "new")


@pytest.mark.parametrize(("told", "value"), [("text", ("true", "false")), ("boolean", (True, False))])
def test_a_timeline_shows_a_checkbox_as_text_or_as_it_is(zoho, switch, record, told, value):
    switch("crm.timeline_values", told)
    zoho.put(CONTACTS, json={"data": [{"id": record, "Email_Opt_Out": True, "Phone": "2"}]})
    changes = zoho.get(f"{CONTACTS}/{record}/__timeline").json()["__timeline"][0]["field_history"]
    shown = {change["api_name"]: change["_value"] for change in changes}
    assert (shown["Email_Opt_Out"]["new"], shown["Email_Opt_Out"]["old"]) == value
    assert shown["Phone"] == {"new": "2", "old": "1"}


@pytest.mark.parametrize(("reach", "status"), [(100_000, 204), (10_000, 400)])
def test_coql_reaches_as_far_as_either_page_says(zoho, switch, reach, status):
    switch("crm.coql_reach", reach)
    query = {"select_query": "select id from Contacts where id > 0 limit 200 offset 9900"}
    assert zoho.post(f"{V8}/coql", json=query).status_code == status


@pytest.mark.parametrize("version", ["v2", "v8"])
def test_a_notification_names_either_version(zoho, switch, receiver, version):
    switch("watch.resource_version", version)
    watch = {"channel_id": "7", "events": ["Contacts.create"], "notify_url": receiver.url}
    zoho.post(f"{V8}/actions/watch", json={"watch": [watch]})
    zoho.post(CONTACTS, json={"data": [{"Last_Name": "Two"}]})
    (news,) = receiver.wait(1)
    assert f"/crm/{version}/Contacts" in news["resource_uri"]


def test_a_result_may_expire_and_have_either_type(sim, zoho, switch):
    switch("bulk.duration_ms", 0)
    switch("bulk.media_type", "application/zip")
    query = {"module": {"api_name": "Contacts"}, "fields": ["Email"]}
    (made,) = zoho.post("/crm/bulk/v8/read", json={"query": query}).json()["data"]
    path = f"/crm/bulk/v8/read/{made['details']['id']}/result"
    assert zoho.get(path).headers["content-type"] == "application/zip"
    switch("bulk.result_lasts_s", 60)
    sim.control("clock", {"advance_s": 61})
    assert (zoho.get(path).status_code, zoho.get(path).json()["code"]) == (404, "RESOURCE_NOT_FOUND")


def test_uploads_may_go_to_a_host_of_their_own(sim, zoho, switch):
    switch("bulk.upload_host", "apart")
    assert zoho.post(f"{V8}/upload").json()["code"] == "INVALID_URL_PATTERN"
    apart = sim.url.replace("127.0.0.1", "localhost")
    answer = zoho.post(f"{apart}{V8}/upload")
    assert (answer.status_code, answer.json()["code"]) == (400, "MANDATORY_NOT_FOUND")


def test_only_so_many_tokens_of_a_source_may_live(sim, switch, credentials):
    switch("oauth.live_tokens", 10)
    switch("oauth.tokens_per_10_min", 30)
    with httpx.Client(base_url=sim.url, trust_env=False) as client:
        tokens = [client.post("/oauth/v2/token", data=credentials).json()["access_token"] for _ in range(12)]
        statuses = [
            client.get(f"{V8}/org", headers={"Authorization": f"Zoho-oauthtoken {token}"}).status_code
            for token in tokens
        ]
    assert statuses == [401, 401, *[200] * 10]


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ({"type": "unused"}, 204),
        ({"type": "strange"}, 400),
        ({"include": "all"}, 400),
        ({"type": "used"}, 200),
    ],
)
def test_fields_are_asked_for_by_their_use(reader, query, status):
    assert reader.get(f"{V8}/settings/fields", params={"module": "Leads", **query}).status_code == status


def test_fields_tell_what_an_admin_may_change(reader):
    asked = {"module": "Leads", "include": "allowed_permissions_to_update"}
    fields = reader.get(f"{V8}/settings/fields", params=asked).json()["fields"]
    assert all(field["allowed_permissions_to_update"]["hidden"] is False for field in fields)
    (removable,) = [field["api_name"] for field in fields if "removal" in field["customizable_properties"]]
    assert removable == "Email_Opt_Out"
