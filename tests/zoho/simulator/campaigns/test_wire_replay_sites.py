"""The requests of web sites, scripts inside the vendor's products and its own sample, as they send them."""

import json
from urllib.parse import quote, urlencode

import httpx
import pytest

from service.zoho.simulator import names
from tests.zoho.simulator.receiver import delivered

API = "/api/v1.1"
NOBODY = {"Authorization": ""}
SAMPLE = {
    "transmission_name": "Summer is here",
    "content": {
        "subject": "My first mail",
        "html": "<p>Welcome $[first_name|Customer]$!</p>",
        "from": {"address": "aron@example.org", "name": "Aron"},
    },
}


def info(email, **more):
    return json.dumps({"Contact Email": email, **more})


def person(sim, email):
    return sim.control("person", {"email": email})["campaigns"]


class TestNewsletterSite:
    """PHP by a French guide: a self client's code for tokens, then subscribing with too narrow a scope."""

    @pytest.mark.parametrize(("scope", "status"), [("CREATE,ZohoCampaigns.contact.READ", 401), ("ALL", 200)])
    def test_create_and_read_do_not_subscribe(self, sim, scope, status):
        code = sim.control("oauth/code", {"scope": f"ZohoCampaigns.contact.{scope}", "minutes": 10})["code"]
        who = {"code": code, "client_id": names.CLIENT_ID, "client_secret": names.CLIENT_SECRET}
        with httpx.Client(base_url=sim.url, trust_env=False) as client:
            given = client.post("/oauth/v2/token", data={**who, "grant_type": "authorization_code"}).json()
            assert given["refresh_token"]
            client.headers["Authorization"] = f"Zoho-oauthtoken {given['access_token']}"
            assert client.get(f"{API}/getmailinglists?resfmt=JSON").status_code == 200
            query = {"resfmt": "JSON", "listkey": names.LIST_KEY, "contactinfo": info("fr@example.com")}
            assert client.post(f"{API}/json/listsubscribe", params=query).status_code == status


class TestFormPlugin:
    """PHP, WordPress: the address of a form, subscribed by a POST without a body."""

    def test_it_lists_and_subscribes(self, sim, zoho):
        lists = zoho.get(f"{API}/getmailinglists?resfmt=JSON&range=100").json()["list_of_details"]
        assert {"listkey", "listname"} <= set(lists[0])
        where = f"{API}/json/listsubscribe?resfmt=JSON&listkey={names.LIST_KEY}&contactinfo="
        said = zoho.post(where + quote(info("cf7@example.com"))).json()
        assert said["status"] == "success"
        assert person(sim, "cf7@example.com")["lists"] == {names.LIST_KEY: "active"}


class TestDelugeScript:
    """Deluge: the list by its name, and a map as text, which is JSON with spaces as plus signs."""

    @pytest.mark.parametrize("confirmation", ["signup_form", "always"])
    def test_it_subscribes_to_the_list_of_that_name(self, sim, zoho, confirmation):
        sim.control("switches", {"campaigns.confirmation": confirmation})
        lists = zoho.get(f"{API}/getmailinglists?resfmt=JSON").json()["list_of_details"]
        (key,) = [one["listkey"] for one in lists if one["listname"] == names.LIST_NAME]
        text = urlencode({"contactinfo": info("dg@example.com", **{"First Name": "Deluge"})})
        answer = zoho.post(f"{API}/json/listsubscribe?resfmt=JSON&listkey={key}&{text}").json()
        asks = confirmation == "always"
        assert ("confirmation email" in answer["message"]) is asks
        assert person(sim, "dg@example.com")["lists"][key] == ("awaiting" if asks else "active")


class TestTokenOfOld:
    """PHP, given up in 2019: an `authtoken` in a form, which opens nothing any more."""

    def test_an_authtoken_is_unauthorized_in_xml_and_json(self, zoho):
        form = {"authtoken": "1234", "resfmt": "JSON", "scope": "CampaignsAPI", "sort": "desc"}
        answer = zoho.post(f"{API}/getmailinglists", data=form, headers=NOBODY)
        assert (answer.status_code, answer.json()["Code"]) == (401, "1007")
        bare = zoho.post(f"{API}/getmailinglists", data={"authtoken": "1234"}, headers=NOBODY)
        assert (bare.status_code, "<Code>1007</Code>" in bare.text) == (401, True)


class TestTransmissionSample:
    """The vendor's own sample for transmissions: a key with v2, a token with v1."""

    def body(self, *emails):
        people = [
            {"address": email, "additional_data": {"country": "GR"}, "merge_data": {"first_name": "S"}}
            for email in emails
        ]
        return {**SAMPLE, "recipients": people}

    @pytest.mark.parametrize("version", ["v1", "v2"])
    def test_a_transmission_is_accepted_for_all_but_the_suppressed(self, zoho, somebody, version):
        headers = {"Authorization": f"Zoho-zapikey {names.ZAPIKEY}"} if version == "v2" else {}
        suppress = {"recipients": [{"address": "no@example.com"}]}
        zoho.post(f"/emailapi/{version}/recipients/suppression", json=suppress, headers=headers)
        sent = self.body(somebody, "no@example.com")
        answer = zoho.post(f"/emailapi/{version}/transmission", json=sent, headers=headers).json()
        assert (answer["accepted_recipients"], answer["rejected_recipients"]) == (1, 1)
        assert int(answer["transmission_id"]) > 2**63

    def test_whoever_left_is_sent_nothing_and_the_delivered_are_told(self, sim, zoho, somebody, receiver):
        hook = {"name": "n", "type": "POST", "url": receiver.url, "webhook_actions": ["email_delivered"]}
        zoho.post("/emailapi/v1/settings/webhook", json=hook)
        zoho.post("/emailapi/v1/transmission", json=self.body(somebody))
        sim.control("campaigns/unsubscribe", {"email": somebody})
        refused = zoho.post("/emailapi/v1/transmission", json=self.body(somebody)).json()
        assert (refused["accepted_recipients"], refused["rejected_recipients"]) == (0, 1)
        assert len(delivered(sim, 1)) == 1
        (told,) = receiver.wait(1)
        assert told["data"][0]["transmission_name"] == "Summer is here"

    def test_a_transmission_without_content_is_an_error(self, zoho):
        answer = zoho.post("/emailapi/v1/transmission", json={"transmission_name": "x"}).json()
        assert answer["errors"][0]["code"] == 400101
