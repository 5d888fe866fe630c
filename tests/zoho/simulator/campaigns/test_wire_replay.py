"""The requests of public Campaigns clients, as they send them, and what each client then reads."""

import json
from urllib.parse import quote, urlencode

import pytest

from service.zoho.simulator import names

API = "/api/v1.1"
FORM = {"Content-Type": "application/x-www-form-urlencoded"}
JSON_TYPE = {"Content-Type": "application/json"}


def info(email, **more):
    return json.dumps({"Contact Email": email, **more})


class TestKeepsuit:
    """PHP, Laravel: everything in the query of a POST, whose body is an empty JSON list called a form."""

    def post(self, zoho, path, **params):
        query = urlencode({"listkey": names.LIST_KEY, "resfmt": "JSON", **params})
        return zoho.post(f"{API}/json/{path}?{query}", headers=FORM, content=b"[]").json()

    def test_it_subscribes_and_resubscribes(self, sim, zoho, somebody):
        new = self.post(zoho, "listsubscribe", contactinfo=info("ks@example.com", **{"First Name": "K"}))
        assert (new["status"], new["code"]) == ("success", "0")
        assert sim.control("person", {"email": "ks@example.com"})["campaigns"]["fields"]["First Name"] == "K"
        sim.control("campaigns/unsubscribe", {"email": somebody})
        assert self.post(zoho, "listsubscribe", contactinfo=info(somebody))["code"] == "2006"
        back = self.post(zoho, "listsubscribe", contactinfo=info(somebody), donotmail_resub="true")
        assert back["status"] == "success"

    def test_it_unsubscribes(self, sim, zoho, somebody):
        assert self.post(zoho, "listunsubscribe", contactinfo=info(somebody))["code"] == "0"
        lists = sim.control("person", {"email": somebody})["campaigns"]["lists"]
        assert lists[names.LIST_KEY] == "unsub"

    def test_it_reads_subscribers_and_counts(self, zoho):
        query = urlencode({"listkey": names.LIST_KEY, "resfmt": "JSON", "range": 650, "status": "active"})
        rows = zoho.get(f"{API}/getlistsubscribers?{query}", headers=FORM).json()["list_of_details"]
        query = urlencode({"listkey": names.LIST_KEY, "resfmt": "JSON", "status": "active"})
        count = zoho.get(f"{API}/listsubscriberscount?{query}", headers=FORM).json()["no_of_contacts"]
        assert len(rows) == count
        past = urlencode({"listkey": names.LIST_KEY, "resfmt": "JSON", "fromindex": 9_999})
        assert "list_of_details" not in zoho.get(f"{API}/getlistsubscribers?{past}", headers=FORM).json()


class TestFormPoster:
    """JavaScript and TypeScript: the same calls with everything in a form body."""

    def test_a_form_body_works_like_a_query(self, sim, zoho, somebody):
        body = urlencode({"resfmt": "JSON", "listkey": names.LIST_KEY, "contactinfo": info(somebody)})
        answer = zoho.post(f"{API}/json/listunsubscribe", headers=FORM, content=body.encode()).json()
        assert answer["message"] == "User successfully unsubscribed."
        answer = zoho.post(f"{API}/json/contactdonotmail", headers=FORM, content=body.encode()).json()
        assert answer["message"] == "User successfully moved to Do-Not-Mail."
        assert sim.control("person", {"email": somebody})["campaigns"]["dnm"] is True


class TestPipedream:
    """JavaScript, axios: pages of 200 counted from 1, a JSON content type on GETs."""

    def get(self, zoho, path, **params):
        return zoho.get(f"{API}/{path}", params=params, headers=JSON_TYPE).json()

    def test_it_lists_topics_lists_campaigns_and_contacts(self, zoho):
        topics = self.get(zoho, "topics", details='{ "from_index": 1, "range": 200 }')
        assert [topic["topicId"] for topic in topics["topicDetails"]] == [names.TOPIC_ID]
        assert self.get(zoho, "topics", details='{ "from_index": 201, "range": 200 }')["topicDetails"] == []
        lists = self.get(zoho, "getmailinglists", resfmt="JSON", fromindex=1, range=200)
        assert names.LIST_KEY in {one["listkey"] for one in lists["list_of_details"]}
        recent = {"resfmt": "JSON", "sort": "asc", "status": "all", "fromindex": 1, "range": 200}
        assert len(self.get(zoho, "recentcampaigns", **recent)["recent_campaigns"]) == 6
        page = {"listkey": names.LIST_KEY, "sort": "asc", "resfmt": "JSON", "range": 200}
        first = self.get(zoho, "getlistsubscribers", **page, fromindex=1)
        assert first["list_of_details"]
        assert self.get(zoho, "getlistsubscribers", **page, fromindex=201)["code"] == "2502"


class TestActivepieces:
    """TypeScript: tags by GET, and one version that asks for `restfmt` and so is answered in XML."""

    def test_a_misspelt_format_is_answered_in_xml(self, zoho):
        params = {"restfmt": "json", "listkey": names.LIST_KEY}
        answer = zoho.get(f"{API}/getlistsubscribers", params=params, headers=JSON_TYPE)
        assert answer.headers["content-type"].startswith("text/xml")
        assert answer.text.startswith("<response uri=")
        assert '<fl val="contact_email">' in answer.text

    def test_it_tags_and_untags_a_contact(self, zoho, somebody):
        def get(path, **params):
            return zoho.get(
                f"{API}/tag/{path}", params={"resfmt": "JSON", **params}, headers=JSON_TYPE
            ).json()

        assert get("getalltags")["code"] == "9001"
        assert get("add", tagName="vip")["status"] == "success"
        assert get("associate", tagName="vip", lead_email=somebody)["status"] == "success"
        (tag,) = get("getalltags")["tags"]
        (entry,) = tag.values()
        assert (entry["tag_name"], entry["tagged_contact_count"]) == ("vip", "1")
        assert get("deassociate", tagName="vip", lead_email=somebody)["status"] == "success"
        assert get("deassociate", tagName="gold", lead_email=somebody)["code"] == "9001"

    def test_its_unsubscribe_trigger_sees_when_people_joined_and_not_when_they_left(
        self, sim, zoho, somebody
    ):
        sim.control("clock", {"advance_s": 1_000})
        sim.control("campaigns/unsubscribe", {"email": somebody})
        params = {"resfmt": "JSON", "listkey": names.LIST_KEY, "sort": "desc", "status": "unsub"}
        rows = zoho.get(f"{API}/getlistsubscribers", params=params, headers=JSON_TYPE).json()[
            "list_of_details"
        ]
        (row,) = [row for row in rows if row["contact_email"] == somebody]
        assert int(row["added_time"]) // 1000 < sim.control("clock")["now"] - 1_000


class TestPrintingPress:
    """Go: recipients by GET, 500 a page."""

    @pytest.mark.parametrize("action", ["sentcontacts", "optoutcontacts", "openedcontacts"])
    def test_it_reads_every_recipient(self, reader, action):
        key = reader.get(f"{API}/recentcampaigns", params={"resfmt": "JSON"}).json()["recent_campaigns"][0]
        path = f"{API}/getcampaignrecipientsdata?resfmt=JSON&campaignkey={quote(key['campaign_key'])}"
        rows, start = [], 1
        while True:
            page = reader.get(f"{path}&action={action}&fromindex={start}&range=500").json()
            if page["status"] == "error":
                assert page["code"] == "6303"
                break
            rows += page["list_of_details"]
            start += 500
        truncated = reader.get(f"{path}&action={action}").json()["list_of_details"]
        assert len(truncated) == min(20, len(rows))
        assert {"contactfn", "contactln", "contactemailaddress", "contactid"} <= set(rows[0])
        report = f"{API}/campaignreports?resfmt=JSON&campaignkey={quote(key['campaign_key'])}"
        figures = reader.get(report).json()["campaign-reports"][0]
        count = {"sentcontacts": "emails_sent_count", "optoutcontacts": "unsub_count"}.get(
            action, "opens_count"
        )
        assert figures[count] == str(len(rows))


class TestWorkflowApps:
    """TypeScript, Deno: every parameter in the query even of a POST, blank ones left out."""

    def ask(self, zoho, endpoint, method="GET", format_name="resfmt", **query):
        wanted = {format_name: "json" if format_name == "type" else "JSON", **query}
        path = f"{API}/{endpoint}?{urlencode(wanted)}"
        return zoho.request(method, path, headers={"accept": "application/json"}).json()

    def test_it_subscribes_with_a_source_and_stops(self, sim, zoho):
        member = {"listkey": names.LIST_KEY, "contactinfo": info("w6@example.com")}
        assert self.ask(zoho, "json/listsubscribe", "POST", **member, source="signup")["code"] == "0"
        assert self.ask(zoho, "json/listunsubscribe", "POST", **member)["code"] == "0"
        del member["listkey"]
        assert self.ask(zoho, "json/contactdonotmail", "POST", **member)["code"] == "0"
        assert sim.control("person", {"email": "w6@example.com"})["campaigns"]["dnm"] is True

    def test_it_makes_lists_and_fields_and_unwraps_the_nested_answer(self, zoho):
        made = {"mode": "newlist", "listname": "W", "signupform": "private", "emailids": "w@example.com"}
        assert self.ask(zoho, "addlistandcontacts", "POST", **made)["listname"] == "W"
        field = {"fieldname": "Shoe", "fieldtype": "Text", "fieldlength": 20}
        told = self.ask(zoho, "custom/add", "POST", "type", **field)["response"]
        assert (told["fieldname"], told["fieldtype"]) == ("Shoe", "Text")
        fields = self.ask(zoho, "contact/allfields", format_name="type")["response"]["fieldnames"]
        assert "Shoe" in {one["DISPLAY_NAME"] for one in fields["fieldname"]}

    def test_it_reads_segments_and_counts(self, zoho):
        lists = self.ask(zoho, "getmailinglists")["list_of_details"]
        (segments,) = [one["segments"] for one in lists if one["listkey"] == names.LIST_KEY]
        for cvid in segments:
            rows = self.ask(zoho, "getsegmentcontacts", cvid=cvid).get("list_of_details", [])
            assert {"contact_email"} <= set(*rows[:1]) or not rows
            assert "segments_details" in self.ask(
                zoho, "getsegmentdetails", listkey=names.LIST_KEY, cvid=cvid
            )
        for status in ("active", "unsub", "bounce", "spam"):
            count = self.ask(zoho, "listsubscriberscount", listkey=names.LIST_KEY, status=status)
            assert count["no_of_contacts"] >= 0


class TestCommandLine:
    """Python, requests: parameters in the query of POSTs without a body; one call lacks what it must say."""

    def test_reports_and_recipients_come_by_post(self, zoho):
        query = {"resfmt": "JSON", "sort": "asc", "status": "all", "fromindex": 1, "range": 100}
        first = zoho.get(f"{API}/recentcampaigns", params=query).json()["recent_campaigns"][0]
        last = zoho.post(f"{API}/getlastcampaignreport", params={"resfmt": "JSON"}).json()
        assert last["campaign-reports"][0]["campaign_name"] != first["campaign_name"]
        sent = {"resfmt": "JSON", "campaignkey": first["campaign_key"], "action": "sentcontacts"}
        rows = zoho.post(f"{API}/getcampaignrecipientsdata", params=sent).json()["list_of_details"]
        assert 0 < len(rows) <= 20
        missing = zoho.get(f"{API}/recentsentcampaigns", params={"resfmt": "JSON"}).json()
        assert (missing["status"], missing["code"]) == ("error", "903")
