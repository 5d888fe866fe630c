"""Records that are named by the organisation's own ids, through `X-EXTERNAL`."""

import pytest

CONTACTS = "/crm/v8/Contacts"
OURS = {"X-EXTERNAL": "Leads.Customer_Number,Contacts.Customer_Number"}


@pytest.fixture
def numbered(zoho):
    """The id of a contact whose customer number is K-7."""
    record = {"Last_Name": "Seven", "Email": "seven@example.com", "Customer_Number": "K-7"}
    (result,) = zoho.post(CONTACTS, json={"data": [record]}).json()["data"]
    return result["details"]["id"]


def test_the_field_says_that_it_is_external(zoho):
    fields = zoho.get("/crm/v8/settings/fields", params={"module": "Contacts"}).json()["fields"]
    shown = {field["api_name"]: field["external"] for field in fields}
    assert {name for name, external in shown.items() if external} == {"Customer_Number"}


def test_a_record_is_read_listed_and_changed_by_its_own_number(zoho, numbered):
    (one,) = zoho.get(f"{CONTACTS}/K-7", headers=OURS).json()["data"]
    listed = zoho.get(CONTACTS, params={"fields": "Email", "ids": "K-7"}, headers=OURS).json()["data"]
    assert [one["id"], *(record["id"] for record in listed)] == [numbered, numbered]
    body = {"data": [{"id": "K-7", "Email_Opt_Out": True}, {"id": "K-8"}], "trigger": []}
    answer = zoho.put(CONTACTS, json=body, headers=OURS)
    assert answer.status_code == 207
    assert [item["code"] for item in answer.json()["data"]] == ["SUCCESS", "INVALID_DATA"]
    assert zoho.get(f"{CONTACTS}/{numbered}").json()["data"][0]["Email_Opt_Out"] is True


def test_a_record_is_deleted_by_its_own_number(zoho, numbered):
    assert zoho.delete(CONTACTS, params={"ids": "K-7"}, headers=OURS).status_code == 200
    assert zoho.get(f"{CONTACTS}/{numbered}").status_code == 204


def test_a_field_that_is_not_external_names_nobody(zoho, numbered):
    answer = zoho.get(f"{CONTACTS}/K-7", headers={"X-EXTERNAL": "Contacts.Email"})
    assert (answer.status_code, answer.json()["details"]) == (400, {"header_name": "X-EXTERNAL"})


def test_without_the_header_an_own_number_is_no_id(zoho, numbered):
    assert zoho.get(f"{CONTACTS}/K-7").status_code == 204
