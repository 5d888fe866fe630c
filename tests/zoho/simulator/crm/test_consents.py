"""Compliance in CRM: a basis of processing beside each record, which COQL reads and every write keeps."""

import pytest

BASIS, DETAILS = "Data_Processing_Basis", "Data_Processing_Basis_Details"
OBTAINED = "Consent - Obtained"
GIVEN = {
    "Consent_Through": "Email",
    "Consent_Date": "2026-05-10",
    "Contact_Through_Email": True,
    BASIS: OBTAINED,
}


def ask(zoho, select, where=f"{DETAILS} is not null"):
    query = f"select {select} from Contacts where {where}"
    return zoho.post("/crm/v8/coql", json={"select_query": query})


def add(zoho, **values):
    body = {"data": [{"Last_Name": "Kept", "Email": "kept@example.com", **values}]}
    return zoho.post("/crm/v8/Contacts/upsert", json=body).json()["data"][0]


@pytest.fixture
def compliant(sim, zoho):
    sim.control("switches", {"crm.privacy_settings": True})
    return zoho


def test_without_compliance_the_fields_do_not_exist(zoho):
    number = add(zoho, **{DETAILS: GIVEN})["details"]["id"]
    assert zoho.get("/crm/v8/org").json()["org"][0]["privacy_settings"] is False
    assert not {BASIS, DETAILS} & set(zoho.get(f"/crm/v8/Contacts/{number}").json()["data"][0])
    assert ask(zoho, "Email").json()["code"] == "INVALID_QUERY"


def test_the_organisation_and_its_fields_tell_of_compliance(compliant):
    assert compliant.get("/crm/v8/org").json()["org"][0]["privacy_settings"] is True
    fields = compliant.get("/crm/v8/settings/fields", params={"module": "Leads"}).json()["fields"]
    kinds = {field["api_name"]: field["data_type"] for field in fields[-2:]}
    assert kinds == {BASIS: "picklist", DETAILS: "consent_lookup"}
    assert len({field["id"] for field in fields}) == len(fields)


def test_the_documented_query_finds_what_an_upsert_wrote(compliant):
    number = add(compliant, **{DETAILS: GIVEN})["details"]["id"]
    select = f"Email, {DETAILS}.Contact_Through_Email, {DETAILS}.{BASIS}"
    body = (
        f'{{"data":[{{"id":"{number}","Email":"kept@example.com","{DETAILS}.Contact_Through_Email":true,'
        f'"{DETAILS}.{BASIS}":"{OBTAINED}"}}],"info":{{"count":1,"more_records":false}}}}'
    )
    assert ask(compliant, select).text == body
    assert ask(compliant, select, f"{DETAILS}.Contact_Through_Email = 'true'").text == body
    assert ask(compliant, select, f"{BASIS} = 'Contract'").status_code == 204


def test_an_upsert_changes_the_details_it_names_and_keeps_the_others(compliant):
    first = add(compliant, **{DETAILS: GIVEN})
    again = add(compliant, **{DETAILS: {"Contact_Through_Phone": True}})
    assert (first["action"], again["action"]) == ("insert", "update")
    record = compliant.get(f"/crm/v8/Contacts/{again['details']['id']}").json()["data"][0]
    assert record[BASIS] == OBTAINED
    assert record[DETAILS].items() >= {**GIVEN, "Contact_Through_Phone": True}.items()
    assert {"id", "Owner", "Consent_Remarks", "Created_Time", "Modified_By"} <= set(record[DETAILS])


@pytest.mark.parametrize(
    ("spelling", "taken"),
    [("waiting", "Consent - Waiting"), ("awaiting", "Consent - Awaiting"), ("short", "Waiting")],
)
def test_only_the_picklists_own_spelling_is_taken(sim, compliant, spelling, taken):
    sim.control("switches", {"crm.basis_spelling": spelling})
    spellings = ("Consent - Waiting", "Consent - Awaiting", "Waiting")
    answers = {text: add(compliant, **{BASIS: text}) for text in spellings}
    assert {text for text, one in answers.items() if one["code"] == "SUCCESS"} == {taken}
    wrong = next(one for one in answers.values() if one["code"] != "SUCCESS")
    assert (wrong["code"], wrong["details"]["json_path"]) == ("INVALID_DATA", f"$.data[0].{BASIS}")
    assert taken in wrong["details"]["supported_values"]
