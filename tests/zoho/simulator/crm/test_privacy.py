"""Fields that privacy restricts and records that it froze."""

import pytest

V8 = "/crm/v8"
CONTACTS = f"{V8}/Contacts"


@pytest.fixture
def record(sim, zoho):
    """The id of a contact whose phone is restricted."""
    body = {"data": [{"Last_Name": "One", "Email": "one@example.com", "Phone": "1"}]}
    number = zoho.post(CONTACTS, json=body).json()["data"][0]["details"]["id"]
    sim.control("crm/restrict", {"module": "Contacts", "fields": ["Phone"]})
    return number


def test_a_restricted_field_is_described_and_shown_nowhere(zoho, record):
    fields = zoho.get(f"{V8}/settings/fields", params={"module": "Contacts"}).json()["fields"]
    assert {field["api_name"] for field in fields if (field["private"] or {}).get("restricted")} == {"Phone"}
    (one,) = zoho.get(f"{CONTACTS}/{record}").json()["data"]
    (listed,) = zoho.get(CONTACTS, params={"fields": "Email,Phone", "ids": record}).json()["data"]
    assert "Phone" not in one
    assert set(listed) == {"id", "Email", "$locked_for_me"}


def test_no_question_may_name_a_restricted_field(zoho, record):
    query = {"select_query": "select Phone from Contacts where id > 0"}
    answers = [
        zoho.get(f"{CONTACTS}/search", params={"criteria": "(Phone:equals:1)"}),
        zoho.post(f"{V8}/coql", json=query),
    ]
    assert [answer.json()["code"] for answer in answers] == ["INVALID_QUERY"] * 2
    bulk = {"query": {"module": {"api_name": "Contacts"}, "fields": ["Phone"]}}
    assert zoho.post("/crm/bulk/v8/read", json=bulk).json()["data"][0]["code"] == "FIELD_NOT_AVAILABLE"


def test_restrictions_are_lifted_and_make_sense(sim, zoho, record):
    sim.control("crm/restrict", {"module": "Contacts", "fields": []})
    assert zoho.get(f"{CONTACTS}/{record}").json()["data"][0]["Phone"] == "1"
    answer = zoho.post("/_control/crm/restrict", json={"module": "Contacts", "fields": ["id"]})
    assert answer.status_code == 400


def test_a_frozen_record_says_so_and_takes_no_write(sim, zoho, record):
    assert "$stop_processing" not in zoho.get(f"{CONTACTS}/{record}").json()["data"][0]
    sim.control("crm/lock", {"email": "one@example.com", "code": "FROZEN"})
    assert zoho.get(f"{CONTACTS}/{record}").json()["data"][0]["$stop_processing"] is True
    (item,) = zoho.put(CONTACTS, json={"data": [{"id": record, "Email_Opt_Out": True}]}).json()["data"]
    assert item["code"] == "CANNOT_PROCESS"
