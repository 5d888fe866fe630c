"""Search: the language of criteria, its limits, an index that lags behind; and counting."""

import pytest

from service.zoho.simulator.crm.criteria import CriteriaError, parse
from service.zoho.simulator.crm.fields import MODULES

CONTACTS = "/crm/v8/Contacts"


@pytest.fixture
def zed(sim, zoho):
    """A record that the index knows."""
    record = {"Last_Name": "Zed (x)", "First_Name": "a,b", "Email": "zed@example.com", "Phone": "77"}
    answer = zoho.post(CONTACTS, json={"data": [record]}).json()["data"][0]
    sim.control("clock", {"advance_s": 60})
    return answer["details"]["id"]


def found(zoho, **params):
    answer = zoho.get(f"{CONTACTS}/search", params=params)
    return [record["id"] for record in answer.json()["data"]] if answer.status_code == 200 else []


@pytest.mark.parametrize(
    "criteria",
    [
        "(Last_Name:equals:zed)",
        r"(Last_Name:starts_with:Zed \(x\))",
        r"((First_Name:equals:a\,b)and(Email:equals:zed@example.com))",
        "((Last_Name:equals:Nobody)or((Phone:in:76,77)and(Email_Opt_Out:equals:false)))",
        "((Created_Time:greater_than:2020-01-01T00:00:00+00:00)and(Phone:equals:77))",
    ],
)
def test_criteria_find_the_record(zoho, zed, criteria):
    assert found(zoho, criteria=criteria) == [zed]


@pytest.mark.parametrize(
    "criteria",
    [
        "Last_Name:equals:x",
        "(Last_Name:equals:x",
        "(No_Such:equals:x)",
        "(Last_Name:resembles:x)",
        "(Email_Opt_Out:equals:perhaps)",
        "(Full_Name:equals:x)",
        "((Last_Name:equals:x)(Last_Name:equals:y))",
    ],
)
def test_other_criteria_are_refused(zoho, criteria):
    answer = zoho.get(f"{CONTACTS}/search", params={"criteria": criteria})
    assert (answer.status_code, answer.json()["code"]) == (400, "INVALID_QUERY")


def test_more_criteria_than_the_limit_are_refused(sim, zoho):
    criteria = "(" + "or".join(["(Last_Name:equals:x)"] * 11) + ")"
    assert zoho.get(f"{CONTACTS}/search", params={"criteria": criteria}).json()["code"] == "LIMIT_EXCEEDED"
    sim.control("switches", {"crm.search_criteria": 15})
    assert zoho.get(f"{CONTACTS}/search", params={"criteria": criteria}).status_code == 204


def test_a_value_is_data_and_never_sql():
    criteria = parse("(Last_Name:equals:100%_')", MODULES["Contacts"])
    assert criteria.sql == "Last_Name LIKE ? ESCAPE '\\'"
    assert criteria.values == ["%100\\%\\_'%"]
    with pytest.raises(CriteriaError):
        parse("(id:greater_than:0 or 1=1)", MODULES["Contacts"])


def test_phone_and_word_search_too(zoho, zed):
    assert found(zoho, phone="77") == [zed]
    assert found(zoho, word="zed@") == [zed]


def test_a_new_record_is_found_only_when_the_index_has_caught_up(sim, zoho):
    zoho.post(CONTACTS, json={"data": [{"Last_Name": "Late", "Email": "late@example.com"}]})
    assert found(zoho, email="late@example.com") == []
    sim.control("clock", {"advance_s": 11})
    assert len(found(zoho, email="late@example.com")) == 1


def test_a_changed_record_is_searched_in_its_old_state_meanwhile(sim, zoho, zed):
    zoho.put(CONTACTS, json={"data": [{"id": zed, "Email": "new@example.com", "Email_Opt_Out": True}]})
    (old,) = zoho.get(f"{CONTACTS}/search", params={"email": "zed@example.com"}).json()["data"]
    assert old["Email_Opt_Out"] is False
    assert zoho.get(f"{CONTACTS}/{zed}").json()["data"][0]["Email_Opt_Out"] is True
    sim.control("clock", {"advance_s": 11})
    assert found(zoho, email="zed@example.com") == []
    assert found(zoho, email="new@example.com") == [zed]


def test_counting_takes_a_view_a_search_or_nothing(sim, zoho, zed):
    def count(**params):
        return zoho.get(f"{CONTACTS}/actions/count", params=params).json()["count"]

    assert count(email="zed@example.com") == 1
    view = zoho.get("/crm/v8/settings/custom_views", params={"module": "Contacts"}).json()["info"]["default"]
    assert count(cvid=view) == count() - count(criteria="(Newsletter:equals:false)")


def test_an_answer_without_chosen_fields_shows_the_keys_of_the_system(zoho, zed):
    (record,) = zoho.get(f"{CONTACTS}/search", params={"email": "zed@example.com"}).json()["data"]
    assert (record["$approval_state"], record["Record_Status__s"]) == ("approved", "Available")
    chosen = {"email": "zed@example.com", "fields": "Email,Tag"}
    (record,) = zoho.get(f"{CONTACTS}/search", params=chosen).json()["data"]
    assert record == {"id": zed, "Email": "zed@example.com", "Tag": []}


def test_a_search_sorts_and_leaves_out_what_waits_for_approval(zoho, zed):
    by_email = {"word": "example", "fields": "Email", "sort_by": "Modified_Time"}
    up, down = (found(zoho, **by_email, sort_order=order) for order in ("asc", "desc"))
    assert up == down[::-1] != []
    assert down[0] == zed
    assert found(zoho, **by_email, approved="false") == []
    assert zoho.get(f"{CONTACTS}/search", params={"word": "x", "sort_by": "Phone"}).status_code == 400


def test_converted_leads_are_found_where_they_are_asked_for(zoho, sim):
    lead = {"Last_Name": "Leda", "Email": "leda@example.com"}
    (made,) = zoho.post("/crm/v8/Leads", json={"data": [lead]}).json()["data"]
    number = made["details"]["id"]
    zoho.post(f"/crm/v8/Leads/{number}/actions/convert", json={"data": [{}]})
    sim.control("clock", {"advance_s": 60})
    answers = {
        which: zoho.get("/crm/v8/Leads/search", params={"email": lead["Email"], "converted": which})
        for which in ("false", "true", "both")
    }
    assert [answer.status_code for answer in answers.values()] == [204, 200, 200]
