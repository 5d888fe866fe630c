"""Upsert: whom it matches, and what it tells; unique fields refuse a second record."""

import pytest

CONTACTS = "/crm/v8/Contacts"


@pytest.fixture
def two(sim, zoho):
    """Two Contacts: one has the address, the other the phone."""
    records = [
        {"Last_Name": "One", "Email": "one@example.com", "Phone": "1", "First_Name": "A"},
        {"Last_Name": "Two", "Email": "two@example.com", "Phone": "2", "First_Name": "B"},
    ]
    answer = zoho.post(CONTACTS, json={"data": records})
    sim.control("crm/unique", {"module": "Contacts", "fields": ["Phone", "First_Name"]})
    return [result["details"]["id"] for result in answer.json()["data"]]


def upsert(zoho, record, **more):
    return zoho.post(f"{CONTACTS}/upsert", json={"data": [record], "trigger": [], **more})


def test_without_a_match_it_inserts(zoho):
    answer = upsert(zoho, {"Last_Name": "New", "Email": "new@example.com"})
    (result,) = answer.json()["data"]
    assert (answer.status_code, result["action"], result["duplicate_field"]) == (200, "insert", None)
    assert result["message"] == "record added"


def test_with_a_match_it_updates_and_names_the_field(zoho, two):
    (result,) = upsert(zoho, {"Last_Name": "Uno", "Email": "ONE@example.com"}).json()["data"]
    assert list(result) == ["code", "duplicate_field", "action", "details", "message", "status"]
    assert (result["action"], result["duplicate_field"]) == ("update", "Email")
    assert result["details"]["id"] == two[0]
    assert zoho.get(f"{CONTACTS}/{two[0]}").json()["data"][0]["Last_Name"] == "Uno"


@pytest.mark.parametrize(
    ("listed", "field", "which"),
    [
        ([], "Email", 0),
        (["Email"], "Email", 0),
        (["Phone"], "Phone", 1),
        (["First_Name"], "First_Name", 1),
        (["Phone", "First_Name"], "Phone", 1),
    ],
)
def test_the_first_field_in_order_decides(zoho, two, listed, field, which):
    record = {"id": None, "Last_Name": "X", "Email": "one@example.com", "Phone": "2", "First_Name": "B"}
    (result,) = upsert(zoho, record, duplicate_check_fields=listed).json()["data"]
    if field == "Email":
        assert (result["code"], result["details"]["id"]) == ("DUPLICATE_DATA", two[1])
        return
    assert (result["duplicate_field"], result["details"]["id"]) == (field, two[which])


def test_the_system_field_is_ignored_when_only_unique_ones_are_listed(zoho, two):
    record = {"Last_Name": "X", "Email": "one@example.com", "Phone": "9"}
    (result,) = upsert(zoho, record, duplicate_check_fields=["Phone"]).json()["data"]
    assert result["action"] == "insert"


def test_a_field_that_is_not_unique_may_not_be_listed(zoho, two):
    record = {"Last_Name": "X", "Email": "one@example.com"}
    answer = upsert(zoho, record, duplicate_check_fields=["Lead_Source"])
    assert (answer.status_code, answer.json()["code"]) == (400, "INVALID_DATA")


def test_only_one_of_the_records_that_share_an_address_is_updated(sim, zoho):
    sim.control("switches", {"crm.search_lag_s": 0})
    body = {"data": [{"Last_Name": name, "Email": "both@example.com"} for name in "ab"]}
    zoho.post(CONTACTS, json=body)
    upsert(zoho, {"Last_Name": "c", "Email": "both@example.com", "Email_Opt_Out": True})
    records = sim.control("person", {"email": "both@example.com"})["crm"]
    assert sorted(record["Email_Opt_Out"] for record in records) == [False, True]


def test_a_second_record_with_a_unique_value_is_refused_with_the_first_ones_id(sim, zoho, two):
    sim.control("crm/unique", {"module": "Contacts", "fields": ["Email"]})
    (error,) = zoho.post(CONTACTS, json={"data": [{"Last_Name": "X", "Email": "one@example.com"}]}).json()[
        "data"
    ]
    assert (error["code"], error["message"]) == ("DUPLICATE_DATA", "duplicate data")
    assert error["details"]["duplicate_record"]["id"] == error["details"]["id"] == two[0]
    assert error["details"]["json_path"] == "$.data[0].Email"
    fields = zoho.get("/crm/v8/settings/fields", params={"module": "Contacts"}).json()["fields"]
    assert [f["api_name"] for f in fields if f["unique"]] == ["Email"]


@pytest.mark.parametrize("code", ["RECORD_LOCKED", "NOT_APPROVED", "NOT_REVIEWED"])
def test_a_record_that_is_withheld_is_not_written_until_it_is_released(sim, zoho, somebody, code):
    (record, *_) = sim.control("person", {"email": somebody})["crm"]
    sim.control("crm/lock", {"email": somebody, "code": code})
    body = {"data": [{"id": record["id"], "Email_Opt_Out": True}]}
    answer = zoho.put(f"/crm/v8/{record['module']}", json=body)
    assert (answer.status_code, answer.json()["data"][0]["code"]) == (400, code)
    sim.control("crm/lock", {"email": somebody, "locked": False})
    assert zoho.put(f"/crm/v8/{record['module']}", json=body).status_code == 200
