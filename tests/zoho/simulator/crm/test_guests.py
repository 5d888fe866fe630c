"""A module of the organisation's own with an e-mail field: everything that Contacts can, it can."""

import httpx
import pytest

from service.zoho.simulator import names

V8 = "/crm/v8"
GUEST = {"Name": "Ada", "Email": "ada@example.com", "Secondary_Email": "lovelace@example.com"}


@pytest.fixture(autouse=True)
def _made(sim):
    sim.control("crm/remove", {"guests": True})
    sim.control("switches", {"crm.search_lag_s": 0, "bulk.duration_ms": 0})


@pytest.fixture
def guest(zoho):
    """The id of a guest."""
    (result,) = zoho.post(f"{V8}/Guests", json={"data": [GUEST]}).json()["data"]
    return result["details"]["id"]


def test_it_is_not_there_until_an_admin_makes_it(sim, zoho):
    sim.control("crm/remove", {})
    answers = [zoho.get(f"{V8}/Guests", params={"fields": "Email"})]
    answers.append(zoho.get(f"{V8}/settings/fields", params={"module": "Guests"}))
    assert [answer.json()["code"] for answer in answers] == ["INVALID_MODULE"] * 2
    listed = zoho.get(f"{V8}/settings/modules").json()["modules"]
    assert [module["api_name"] for module in listed] == ["Contacts", "Leads"]


def test_metadata_call_it_custom_and_show_its_fields_layout_and_view(zoho):
    (module,) = zoho.get(f"{V8}/settings/modules/Guests").json()["modules"]
    assert (module["generated_type"], module["api_name"]) == ("custom", "Guests")
    fields = {
        field["api_name"]: field
        for field in zoho.get(f"{V8}/settings/fields", params={"module": "Guests"}).json()["fields"]
    }
    assert fields["Email"]["data_type"] == fields["Secondary_Email"]["data_type"] == "email"
    assert fields["Name"]["system_mandatory"]
    assert not {"Last_Name", "First_Name", "Full_Name"} & set(fields)
    (layout,) = zoho.get(f"{V8}/settings/layouts", params={"module": "Guests"}).json()["layouts"]
    assert len(layout["sections"][0]["fields"]) == len(fields)
    (view,) = zoho.get(f"{V8}/settings/custom_views", params={"module": "Guests"}).json()["custom_views"]
    assert view["id"] == names.VIEWS["Guests"]


def test_a_guest_needs_a_name(zoho):
    answer = zoho.post(f"{V8}/Guests", json={"data": [{"Email": "x@example.com"}]})
    assert answer.json()["data"][0]["details"]["api_name"] == "Name"


def test_lists_search_and_coql_find_a_guest_by_either_address(zoho, guest):
    listed = zoho.get(f"{V8}/Guests", params={"fields": "Email"}).json()["data"]
    searches = [
        zoho.get(f"{V8}/Guests/search", params=how).json()["data"]
        for how in ({"email": GUEST["Secondary_Email"]}, {"word": "Ada"}, {"criteria": "(Name:equals:Ada)"})
    ]
    query = "select Email, Email_Opt_Out from Guests where Secondary_Email = 'lovelace@example.com'"
    asked = zoho.post(f"{V8}/coql", json={"select_query": query}).json()["data"]
    assert {found[0]["id"] for found in (listed, asked, *searches)} == {guest}


def test_writes_of_a_guest_are_told_to_a_channel_and_kept_in_the_timeline(sim, zoho, guest, receiver):
    watch = {"channel_id": "1", "events": ["Guests.all"], "notify_url": receiver.url}
    assert zoho.post(f"{V8}/actions/watch", json={"watch": [watch]}).status_code == 201
    zoho.put(f"{V8}/Guests", json={"data": [{"id": guest, "Email_Opt_Out": True}], "trigger": []})
    (news,) = receiver.wait(1)
    assert (news["module"], news["ids"], news["operation"]) == ("Guests", [guest], "update")
    history = zoho.get(f"{V8}/Guests/{guest}/__timeline").json()["__timeline"]
    assert history[0]["field_history"][0]["api_name"] == "Email_Opt_Out"
    assert sim.control("person", {"email": GUEST["Email"]})["crm"][0]["Email_Opt_Out"] is True


def test_upserts_merges_and_deletions_of_guests_are_like_those_of_contacts(zoho, guest):
    twin = {"Name": "Ada", "Email": "ada2@example.com"}
    (other,) = zoho.post(f"{V8}/Guests", json={"data": [twin]}).json()["data"]
    (same,) = zoho.post(f"{V8}/Guests/upsert", json={"data": [GUEST]}).json()["data"]
    assert (same["action"], same["details"]["id"]) == ("update", guest)
    ids = [{"id": other["details"]["id"]}]
    merged = zoho.post(f"{V8}/Guests/{guest}/actions/merge", json={"merge": [{"data": ids}]})
    assert merged.status_code == 200
    zoho.delete(f"{V8}/Guests", params={"ids": guest})
    gone = zoho.get(f"{V8}/Guests/deleted").json()["data"]
    assert {(one["id"], one["display_name"]) for one in gone} == {
        (guest, "Ada"),
        (other["details"]["id"], "Ada"),
    }


def test_a_bulk_read_takes_guests(zoho, guest):
    query = {"module": {"api_name": "Guests"}, "fields": ["Name", "Email"]}
    (item,) = zoho.post("/crm/bulk/v8/read", json={"query": query}).json()["data"]
    (job,) = zoho.get(f"/crm/bulk/v8/read/{item['details']['id']}").json()["data"]
    assert (job["state"], job["result"]["count"]) == ("COMPLETED", 1)


def test_the_scope_of_custom_modules_opens_it(sim, credentials):
    def status(scope):
        sim.control("switches", {"oauth.scopes": f"ZohoCRM.{scope}"})
        with httpx.Client(base_url=sim.url, trust_env=False) as client:
            token = client.post("/oauth/v2/token", data=credentials).json()["access_token"]
            client.headers["Authorization"] = f"Zoho-oauthtoken {token}"
            return client.get(f"{V8}/Guests", params={"fields": "Email"}).status_code

    scopes = ("modules.custom.READ", "modules.guests.READ", "modules.contacts.READ")
    assert [status(scope) for scope in scopes] == [204, 204, 401]
