"""Converting leads: what becomes of the person, of the opt-out, and of the lead."""

import pytest


@pytest.fixture
def lead(sim, zoho):
    """A lead who has opted out, as its id and its address."""
    record = {"Last_Name": "Lund", "First_Name": "Ina", "Email": "ina@example.com", "Email_Opt_Out": True}
    record |= {"Country": "Germany", "Newsletter": True}
    added = zoho.post("/crm/v8/Leads", json={"data": [record], "trigger": []}).json()
    return added["data"][0]["details"]["id"]


def convert(zoho, lead, **order):
    return zoho.post(f"/crm/v8/Leads/{lead}/actions/convert", json={"data": [order]})


def contact_of(zoho, answer):
    number = answer.json()["data"][0]["details"]["Contacts"]["id"]
    return zoho.get(f"/crm/v8/Contacts/{number}").json()["data"][0]


def test_a_lead_becomes_a_contact_for_five_credits(sim, zoho, lead):
    before = sim.control("meter")["credits"]
    answer = convert(zoho, lead)
    assert sim.control("meter")["credits"] - before == 5
    number = answer.json()["data"][0]["details"]["Contacts"]["id"]
    assert (answer.status_code, answer.content) == (
        200,
        (
            b'{"data":[{"code":"SUCCESS","details":{"Contacts":{"name":"Ina Lund","id":"%s"},"Deals":null,'
            b'"Accounts":null},"message":"The record has been converted successfully","status":"success"}]}'
            % number.encode()
        ),
    )
    contact = contact_of(zoho, answer)
    assert (contact["Email"], contact["Mailing_Country"]) == ("ina@example.com", "Germany")
    assert contact["Newsletter"] is False


@pytest.mark.parametrize("carries", [False, True])
def test_whether_the_opt_out_survives_is_a_switch(sim, zoho, lead, carries):
    sim.control("switches", {"crm.conversion_carries_optout": carries})
    assert contact_of(zoho, convert(zoho, lead))["Email_Opt_Out"] is carries


def test_a_converted_lead_is_only_listed_where_it_is_asked_for_and_never_as_deleted(zoho, lead):
    convert(zoho, lead)

    def listed(converted):
        params = {"fields": "Email", "converted": converted, "per_page": 200}
        answer = zoho.get("/crm/v8/Leads", params=params)
        return [row["id"] for row in answer.json()["data"]] if answer.content else []

    assert lead not in listed("false")
    assert listed("true") == [lead]
    assert lead in listed("both")
    assert zoho.get("/crm/v8/Leads/deleted").status_code == 204
    one = zoho.get(f"/crm/v8/Leads/{lead}").json()["data"][0]
    assert (one["$converted"], one["Email_Opt_Out"]) == (True, True)
    query = f"select id from Leads where id = {lead}"
    assert zoho.post("/crm/v8/coql", json={"select_query": query}).status_code == 204
    timeline = zoho.get(f"/crm/v8/Leads/{lead}/__timeline").json()["__timeline"]
    assert timeline[0]["action"] == "converted"


def test_a_lead_goes_into_a_contact_that_is_named_and_overwrites_only_if_told(zoho, lead):
    record = {"Last_Name": "Berg", "Email": "b@example.com", "Phone": "1"}
    added = zoho.post("/crm/v8/Contacts", json={"data": [record]}).json()
    number = added["data"][0]["details"]["id"]
    answer = convert(zoho, lead, Contacts={"id": number})
    assert contact_of(zoho, answer)["Last_Name"] == "Berg"
    more = {"data": [{"Last_Name": "Dahl", "Email": "d@example.com"}]}
    second = zoho.post("/crm/v8/Leads", json=more).json()["data"][0]["details"]["id"]
    found = contact_of(zoho, convert(zoho, second, Contacts=number, overwrite=True))
    assert (found["id"], found["Last_Name"], found["Phone"]) == (number, "Dahl", "1")


def test_an_unknown_or_converted_lead_and_an_unknown_contact_are_refused(zoho, lead):
    answer = convert(zoho, lead, Contacts={"id": "1"})
    assert answer.status_code == 400
    assert answer.json()["data"][0]["details"] == {"api_name": "Contacts", "json_path": "$.data[0].Contacts"}
    convert(zoho, lead)
    again = convert(zoho, lead)
    assert again.content == (
        b'{"data":[{"code":"INVALID_DATA","details":{"id":"%s"},'
        b'"message":"the id given seems to be invalid","status":"error"}]}' % lead.encode()
    )


def test_a_contact_with_the_same_unique_address_stops_a_conversion(sim, zoho, lead):
    zoho.post("/crm/v8/Contacts", json={"data": [{"Last_Name": "Twin", "Email": "ina@example.com"}]})
    sim.control("crm/unique", {"module": "Contacts", "fields": ["Email"]})
    assert convert(zoho, lead).json()["data"][0]["code"] == "DUPLICATE_DATA"
