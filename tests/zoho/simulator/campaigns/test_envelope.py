"""The envelopes that lie, byte for byte where the bytes are known."""

import json
import re

import httpx
import pytest

from service.zoho.simulator import names

LIST = {"listkey": names.LIST_KEY}
JSON = {"resfmt": "JSON"}


def test_an_unauthorised_call_is_the_one_honest_status_with_capital_keys(still):
    expected = (
        b'{"message":"Unauthorized request.","version":"1.1","URI":"/api/v1.1/getmailinglists",'
        b'"Code":"1007","status":"error"}'
    )
    with httpx.Client(base_url=still.url, trust_env=False) as client:
        for headers in ({}, {"Authorization": "Zoho-oauthtoken dead"}, {"Authorization": "Bearer x"}):
            answer = client.get("/api/v1.1/getmailinglists", params=JSON, headers=headers)
            assert (answer.status_code, answer.content) == (401, expected)


def test_a_path_that_does_not_exist_is_xml_and_http_200_even_without_a_token(still):
    with httpx.Client(base_url=still.url, trust_env=False) as client:
        for path in ("/api/v1.1/json/getmailinglists", "/api/v1.1/nothing"):
            answer = client.get(path, params=JSON)
            assert answer.status_code == 200
            assert answer.headers["content-type"].startswith("text/xml")
            assert answer.text.startswith(f'<response uri="{path}" version="1"><code>1004</code>')
            assert "Wrong URL entered." in answer.text


@pytest.mark.parametrize("params", [{}, {"restfmt": "json"}, {"resfmt": "XML"}])
def test_without_resfmt_or_with_a_typo_in_it_the_answer_is_xml(reader, params):
    answer = reader.get("/api/v1.1/getlistsubscribers", params={**LIST, **params, "range": 2})
    assert answer.text.startswith(
        '<response uri="/api/v1.1/getlistsubscribers" version="1.1"><status>success</status>'
    )
    assert answer.text.count("<contact>") == 2
    assert '<fl val="contact_email">' in answer.text


@pytest.mark.parametrize("value", ["JSON", "json", "Json"])
def test_resfmt_is_read_in_any_case(reader, value):
    answer = reader.get("/api/v1.1/getlistsubscribers", params={**LIST, "resfmt": value, "range": 2})
    assert list(answer.json()) == ["status", "code", "requestdetails", "list_of_details", "uri", "version"]


def test_an_error_is_http_200_with_status_error(reader):
    answer = reader.get("/api/v1.1/getlistsubscribers", params={"listkey": "3zwrong", **JSON})
    assert answer.status_code == 200
    assert answer.json() == {
        "status": "error",
        "code": "2501",
        "message": "Listkey is empty or invalid.",
        "uri": "/api/v1.1/getlistsubscribers",
        "version": "1.1",
    }


def test_query_and_form_are_merged_and_a_json_body_is_ignored(reader):
    path = "/api/v1.1/getlistsubscribers"
    assert reader.post(path, params=JSON, data=LIST).json()["status"] == "success"
    assert reader.post(path, params={**JSON, **LIST}).json()["status"] == "success"
    ignored = reader.post(path, params=JSON, json=LIST).json()
    assert (ignored["status"], ignored["code"]) == ("error", "903")


def test_codes_are_text_here_and_numbers_there(sim, zoho):
    def codes():
        return [
            zoho.get("/api/v1.1/getmailinglists", params=JSON).json()["code"],
            zoho.get("/api/v1.1/listsubscriberscount", params={**LIST, **JSON}).json()["code"],
            zoho.get("/api/v1.1/topics").json()["code"],
        ]

    assert codes() == ["0", 0, "200"]
    sim.control("switches", {"campaigns.codes": "number"})
    assert codes() == [0, 0, 200]
    sim.control("switches", {"campaigns.codes": "string"})
    assert codes() == ["0", "0", "200"]


def test_xml_escapes_what_people_are_called(sim, zoho, somebody):
    info = json.dumps({"Contact Email": somebody, "First Name": '<b>&"x'})
    zoho.post("/api/v1.1/json/listsubscribe", params={**LIST, **JSON, "contactinfo": info})
    text = zoho.get("/api/v1.1/getlistsubscribers", params={**LIST, "range": 650}).text
    assert '<fl val="firstname">&lt;b&gt;&amp;"x</fl>' in text


def test_a_read_scope_cannot_subscribe_and_the_refusal_is_the_same_401(sim, credentials):
    sim.control("switches", {"oauth.scopes": "ZohoCampaigns.contact.CREATE ZohoCampaigns.contact.READ"})
    with httpx.Client(base_url=sim.url, trust_env=False) as client:
        token = client.post("/oauth/v2/token", data=credentials).json()["access_token"]
        client.headers["Authorization"] = f"Zoho-oauthtoken {token}"
        assert client.get("/api/v1.1/getmailinglists", params=JSON).status_code == 200
        refused = client.post("/api/v1.1/json/listsubscribe", params=JSON)
        assert (refused.status_code, refused.json()["Code"]) == (401, "1007")
        assert client.get("/api/v1.1/recentcampaigns", params=JSON).status_code == 401


def test_the_xml_of_subscribers_is_the_documented_one_to_the_byte(sim, zoho, somebody):
    info = json.dumps({"Contact Email": somebody, "First Name": "Ada", "Last Name": "L", "Phone": "1"})
    zoho.post("/api/v1.1/json/listsubscribe", params={**LIST, **JSON, "contactinfo": info})
    count = zoho.get("/api/v1.1/listsubscriberscount", params={**LIST, **JSON}).json()["no_of_contacts"]
    asked = {**LIST, "range": 1}
    row = zoho.get("/api/v1.1/getlistsubscribers", params={**asked, **JSON}).json()["list_of_details"][0]
    cells = "".join(f'<fl val="{name}">{value}</fl>' for name, value in row.items())
    assert zoho.get("/api/v1.1/getlistsubscribers", params=asked).text == (
        '<response uri="/api/v1.1/getlistsubscribers" version="1.1"><status>success</status><code>0</code>'
        "<requestdetails><fromindex>1</fromindex><range>1</range><sort>asc</sort><status>active</status>"
        '</requestdetails><list_details><fl val="ispublic">false</fl>'
        f'<fl val="noofcontacts">{count}</fl><fl val="listname">{names.LIST_NAME}</fl></list_details>'
        f"<result_of_subscribers><contact>{cells}</contact></result_of_subscribers></response>"
    )


def test_recently_sent_campaigns_have_a_root_of_their_own(reader):
    text = reader.get("/api/v1.1/recentsentcampaigns", params={"limit": 1}).text
    assert text.startswith(
        '<recent-sent-campaigns uri="/api/v1.1/recentsentcampaigns" version="1.1"><status>success</status>'
        '<code>0</code><campaign><fl val="campaign_key">'
    )
    assert text.endswith("</fl></campaign></recent-sent-campaigns>")
    refused = reader.get("/api/v1.1/recentsentcampaigns").text
    assert refused.startswith('<response uri="/api/v1.1/recentsentcampaigns"')


def test_a_timeline_tells_when_a_mail_was_opened_and_nothing_else_does(reader):
    sent = reader.get("/api/v1.1/recentcampaigns", params={**JSON, "range": 10}).json()["recent_campaigns"]
    asked = {"campaignkey": sent[-1]["campaign_key"], "action": "openedcontacts"}
    path = "/api/v1.1/getcampaignrecipientsdata"
    told = reader.get(path, params={**asked, "type": "open_timeline", "range": 1}).text
    assert re.search(
        r'</fl><reports><report><fl val="time">[A-Z][a-z]{2} \d\d, \d{4} \d\d:\d\d [AP]M</fl></report>'
        "</reports></contact></contacts>",
        told,
    )
    assert "<reports>" not in reader.get(path, params=asked).text
    assert "<reports>" not in reader.get(path, params={**asked, "type": "click_timeline"}).text
    assert (
        "reports"
        in reader.get(path, params={**asked, **JSON, "type": "open_timeline"}).json()["list_of_details"][0]
    )
