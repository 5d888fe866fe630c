"""Lists, topics and fields, as an admin's tool handles them."""

import json

import pytest

from service.zoho.simulator import names

API = "/api/v1.1"


def call(zoho, path, **params):
    return zoho.post(f"{API}/{path}", params={"resfmt": "JSON", **params}).json()


def test_a_list_is_made_with_contacts_renamed_and_deleted(sim, zoho, somebody):
    made = {"signupform": "private", "mode": "newlist", "emailids": f"{somebody},info@example.com"}
    answer = call(zoho, "addlistandcontacts", listname="Fair", **made)
    key = answer["listkey"]
    assert sim.control("person", {"email": somebody})["campaigns"]["lists"][key] == "active"
    assert call(zoho, "addlistandcontacts", listname="Fair", **made)["code"] == "2205"
    assert (
        call(zoho, "updatelistdetails", listkey=key, newlistname="Fair 2", signupform="public")["code"] == "0"
    )
    details = call(zoho, "getlistadvanceddetails", listkey=key)["list_details"]
    assert (details["listname"], details["is_public"], details["sentcampaigns"]) == ("Fair 2", "true", [])
    assert call(zoho, "deletemailinglist", listkey=key, deletecontacts="on")["code"] == "0"
    assert key not in sim.control("person", {"email": somebody})["campaigns"]["lists"]
    assert call(zoho, "getlistsubscribers", listkey=key)["code"] == "2501"


@pytest.mark.parametrize(("path", "code"), [("updatelistdetails", "2102"), ("deletemailinglist", "2202")])
def test_an_unknown_list_has_another_code_on_every_call(zoho, path, code):
    assert call(zoho, path, listkey="3zno", newlistname="x", signupform="public")["code"] == code


def test_the_details_of_a_list_name_its_campaigns_of_the_kind_and_range_asked_for(zoho):
    def told(kind, **more):
        answer = call(zoho, "getlistadvanceddetails", listkey=names.LIST_KEY, filtertype=kind, **more)
        return [one["campaign_key"] for one in answer["list_details"][kind]]

    every = told("sentcampaigns", range=500)
    assert len(every) > 2
    assert told("recentcampaigns", fromindex=2, range=1) == every[1:2]
    assert told("scheduledcampaigns") == []
    wrong = call(zoho, "getlistadvanceddetails", listkey=names.LIST_KEY, filtertype="drafts")
    assert wrong["code"] == "1001"


def test_a_topic_is_made_once(zoho):
    details = json.dumps({"topic_name": "Fairs", "topic_desc": "x"})
    assert call(zoho, "topics", details=details)["code"] == "200"
    assert call(zoho, "topics", details=details)["code"] == "4011"
    listed = zoho.get(f"{API}/topics", params={"details": "{from_index:0,range:100}"}).json()
    assert [topic["topicName"] for topic in listed["topicDetails"]] == [names.TOPIC_NAME, "Fairs"]


def test_a_topic_is_made_as_the_page_writes_it_and_told_in_json(zoho):
    answer = zoho.post(f"{API}/topics", params={"details": "{topic_name:Open days,topic_desc:All of them}"})
    assert (answer.json()["code"], answer.json()["message"]) == ("200", "Success")
    refused = zoho.post(f"{API}/topics", params={"details": "{topic_name:Open days}"})
    assert refused.json()["code"] == "4011"


def test_a_contact_field_is_added_once_and_listed(zoho):
    assert call(zoho, "custom/add", type="json", fieldname="Shoe size")["response"]["status"] == "success"
    assert call(zoho, "custom/add", type="json", fieldname="Shoe size")["code"] == "916"
    listed = zoho.get(f"{API}/contact/allfields", params={"type": "json"}).json()
    labels = [field["DISPLAY_NAME"] for field in listed["response"]["fieldnames"]["fieldname"]]
    assert "Shoe size" in labels


def test_the_last_campaigns_and_their_figures_are_told(zoho):
    sent = call(zoho, "recentsentcampaigns", limit=2)["recent_sent_campaigns"]
    assert [campaign["campaign_name"] for campaign in sent] == ["Letter 6", "Letter 5"]
    last = call(zoho, "getlastcampaignreport")["campaign-reports"][0]
    assert last["campaign_name"] == "Letter 6"
    assert call(zoho, "recentsentcampaigns")["code"] == "903"


@pytest.mark.parametrize("code", ["2501", "2203", "2206"])
def test_a_deleted_list_may_have_a_code_of_its_own(sim, zoho, code):
    sim.control("switches", {"campaigns.deleted_list": code})
    call(zoho, "deletemailinglist", listkey=names.SIGNUP_LIST_KEY, deletecontacts="off")
    assert call(zoho, "getlistsubscribers", listkey=names.SIGNUP_LIST_KEY)["code"] == code
    assert call(zoho, "getlistsubscribers", listkey="3zno")["code"] == "2501"
