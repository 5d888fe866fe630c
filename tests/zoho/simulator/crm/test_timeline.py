"""The timeline: who changed a record and how, filtered and paged."""

import json

import pytest


@pytest.fixture
def flipped(sim, zoho, somebody):
    """The address of a record's timeline that two users, the API and nobody else wrote."""
    (record,) = sim.control("person", {"email": somebody})["crm"]
    for by, value in (("Mona Ek", True), ("Mona Ek", False), ("Lars Dahl", True)):
        sim.control("clock", {"advance_s": 60})
        sim.control("crm/set", {"email": somebody, "fields": {"Email_Opt_Out": value}, "by": by})
    sim.control("clock", {"advance_s": 60})
    body = {"data": [{"id": record["id"], "Email_Opt_Out": False}], "trigger": []}
    zoho.put(f"/crm/v8/{record['module']}", json=body)
    return f"/crm/v8/{record['module']}/{record['id']}/__timeline"


def filtered(zoho, address, **node):
    return zoho.get(address, params={"filters": json.dumps(node)})


def sources(answer):
    return [entry["source"] for entry in answer.json()["__timeline"]]


def test_filters_let_through_one_source_one_person_or_one_time(zoho, flipped):
    everything = zoho.get(flipped).json()["__timeline"]
    assert [entry["source"] for entry in everything][:4] == ["crm_api", "crm_ui", "crm_ui", "crm_ui"]
    answer = filtered(zoho, flipped, comparator="equal", field={"api_name": "source"}, value="crm_api")
    assert sources(answer) == ["crm_api"]
    mona = everything[2]["done_by"]["id"]
    answer = filtered(zoho, flipped, comparator="equal", field={"api_name": "done_by.id"}, value=mona)
    assert {entry["done_by"]["name"] for entry in answer.json()["__timeline"]} == {"Mona Ek"}
    times = [everything[1]["audited_time"], everything[0]["audited_time"]]
    answer = filtered(zoho, flipped, comparator="between", field={"api_name": "audited_time"}, value=times)
    assert answer.json()["__timeline"] == everything[:2]


def test_filters_are_joined_in_groups(zoho, flipped):
    api = {"comparator": "equal", "field": {"api_name": "source"}, "value": "crm_api"}
    lars = {"comparator": "in", "field": {"api_name": "source"}, "value": ["crm_ui", "workflow"]}
    answer = filtered(zoho, flipped, group_operator="or", group=[api, lars])
    assert len(sources(answer)) == 4
    nothing = filtered(zoho, flipped, group_operator="and", group=[api, lars])
    assert (nothing.status_code, nothing.content) == (204, b"")


@pytest.mark.parametrize(
    "filters",
    [
        "no json",
        '{"comparator":"equal","field":{"api_name":"colour"},"value":"x"}',
        '{"comparator":"between","field":{"api_name":"audited_time"},"value":["yesterday","today"]}',
        '{"comparator":"less_than","field":{"api_name":"source"},"value":"x"}',
        '{"group_operator":"nor","group":[]}',
    ],
)
def test_a_filter_that_makes_no_sense_is_refused(zoho, flipped, filters):
    answer = zoho.get(flipped, params={"filters": filters})
    assert answer.status_code == 400
    assert answer.content == (
        b'{"code":"INVALID_DATA","details":{"param_name":"filters"},'
        b'"message":"invalid data","status":"error"}'
    )


def test_pages_follow_each_other_by_token_which_belongs_to_its_request(sim, zoho, flipped):
    whole = zoho.get(flipped).json()["__timeline"]
    seen, token, before = [], None, None
    while True:
        params = {"per_page": 2, "sort_by": "audited_time"} | ({"page_token": token} if token else {})
        page = zoho.get(flipped, params=params).json()
        seen += page["__timeline"]
        back = page["info"]["previous_page_token"]
        assert (back is None) == (before is None)
        if before is not None:
            again = zoho.get(flipped, params={**params, "page_token": back}).json()
            assert again["__timeline"] == before["__timeline"]
        before = page
        token = page["info"]["next_page_token"]
        if not page["info"]["more_records"]:
            break
    assert seen == whole
    first = zoho.get(flipped, params={"per_page": 2}).json()["info"]
    assert list(first) == [
        "per_page",
        "next_page_token",
        "count",
        "page",
        "previous_page_token",
        "more_records",
    ]
    other = zoho.get(flipped, params={"per_page": 3, "page_token": first["next_page_token"]})
    assert other.json()["code"] == "TOKEN_BOUND_DATA_MISMATCH"
    assert zoho.get(flipped, params={"sort_by": "id"}).json()["code"] == "INVALID_DATA"
