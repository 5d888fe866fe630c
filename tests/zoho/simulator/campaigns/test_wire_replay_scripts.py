"""The requests of public scripts, plug-ins and applications, as they send them, and what they then read."""

import json
import xml.etree.ElementTree as ET
from datetime import UTC, datetime
from urllib.parse import quote, urlencode

import httpx
import pytest

from service.zoho.simulator import names

API = "/api/v1.1"
FORM = {"Content-Type": "application/x-www-form-urlencoded"}


TIMES = {"openedcontacts": "%b %d, %Y %I:%M %p", "senthardbounce": "%d %b %Y, %I:%M %p"}


def info(email, **more):
    return json.dumps({"Contact Email": email, **more})


class TestStatistics:
    """JavaScript, fetch: a token by query, then opens and clicks with those of split tests' children."""

    def test_a_split_test_is_complete_only_with_its_children(self, still):
        token = urlencode(
            {
                "refresh_token": names.REFRESH_TOKEN,
                "client_id": names.CLIENT_ID,
                "client_secret": names.CLIENT_SECRET,
                "grant_type": "refresh_token",
            }
        )
        with httpx.Client(base_url=still.url, trust_env=False) as client:
            answer = client.post(f"/oauth/v2/token?{token}").json()
            client.headers["Authorization"] = f"Zoho-oauthtoken {answer['access_token']}"
            query = "resfmt=JSON&sort=desc&fromindex=1&range=100&status=all"
            for campaign in client.get(f"{API}/recentcampaigns?{query}").json()["recent_campaigns"]:
                self.complete(client, campaign)

    def complete(self, client, campaign):
        key, kind = quote(campaign["campaign_key"]), campaign["campaigntype"]
        path = f"{API}/getcampaigndetails?resfmt=JSON&campaignkey={key}&campaigntype={kind}"
        told = client.get(path).json()
        opens = sum(int(report["opens_count"]) for report in told["campaign-reports"])
        keys = [campaign["campaign_key"]]
        for split in told.get("AB-split-details", []):
            opens += int(split["a_open_count"]) + int(split["b_open_count"])
            keys += [split["a_child_campaignkey"], split["b_child_campaignkey"]]
        assert len(keys) == (3 if kind == "abtesting" else 1)
        assert len(self.openers(client, keys)) == opens > 0

    def openers(self, client, keys):
        rows = []
        for key in keys:
            start = 1
            while True:
                query = f"resfmt=JSON&campaignkey={quote(key)}&action=openedcontacts"
                page = client.get(f"{API}/getcampaignrecipientsdata?{query}&fromindex={start}&range=200")
                if not (found := page.json().get("list_of_details")):
                    break
                rows += found
                start += 200
        return [row["contactemailaddress"] for row in rows]

    def test_a_wrong_campaign_type_has_no_reports(self, reader):
        query = "resfmt=JSON&sort=desc&fromindex=1&range=100&status=all"
        (split,) = [
            one
            for one in reader.get(f"{API}/recentcampaigns?{query}").json()["recent_campaigns"]
            if one["campaigntype"] == "abtesting"
        ]
        path = f"{API}/getcampaigndetails?resfmt=JSON&campaignkey={quote(split['campaign_key'])}"
        assert reader.get(f"{path}&campaigntype=normal").json()["campaign-reports"] == []


class TestShopPlugin:
    """C#: campaigns as `json` in small letters, recipients as XML with a timeline, 20 a page."""

    @pytest.mark.parametrize("action", sorted(TIMES))
    def test_it_reads_the_xml_of_recipients_to_its_end(self, reader, action):
        newest = reader.get(f"{API}/recentcampaigns?resfmt=json&range=6").json()["recent_campaigns"]
        times = [moment for one in newest for moment in self.times(reader, one["campaign_key"], action)]
        assert len(times) > 20
        assert all(isinstance(moment, datetime) for moment in times)

    def times(self, reader, key, action):
        start, found = 1, []
        while True:
            query = f"resfmt=xml&campaignkey={quote(key)}&action={action}&type=open_timeline"
            answer = reader.get(f"{API}/getcampaignrecipientsdata?{query}&range=20&fromindex={start}")
            root = ET.fromstring(answer.text)  # noqa: S314 - of our own simulator
            contacts = root.findall("contacts/contact")
            found += [self.time(contact, action) for contact in contacts]
            if len(contacts) < 20:
                return found
            start += 20

    def time(self, contact, action):
        cells = {fl.get("val"): fl.text for fl in contact.findall("fl")}
        assert "@" in cells["contact_email"]
        report = contact.find("reports/report/fl[@val='time']")
        text = cells["bouncedDate"] if report is None else report.text
        return datetime.strptime(text, TIMES[action]).replace(tzinfo=UTC)


class TestBackOffice:
    """JavaScript, axios: reads by GET, recipients by a POST whose numbers are text."""

    def post(self, zoho, path, **params):
        body = urlencode({"resfmt": "JSON", **params}).encode()
        return zoho.post(f"{API}/{path}", headers=FORM, content=body).json()

    def test_it_reads_lists_topics_and_recipients(self, zoho):
        query = {"resfmt": "JSON", "sort": "asc", "fromindex": 1, "range": 100}
        lists = zoho.get(f"{API}/getmailinglists", params=query).json()["list_of_details"]
        assert int(lists[0]["noofcontacts"]) > 0
        topics = zoho.get(f"{API}/topics", params={"details": "{from_index:0,range:100}"}).json()
        assert topics["topicDetails"][0]["topicId"] == names.TOPIC_ID
        recent = zoho.get(f"{API}/recentcampaigns", params={**query, "range": 50}).json()
        key = recent["recent_campaigns"][0]["campaign_key"]
        page = {"campaignkey": key, "action": "sentcontacts", "fromindex": "1", "range": "50"}
        rows = self.post(zoho, "getcampaignrecipientsdata", **page)["list_of_details"]
        assert len(rows) > 20
        details = zoho.get(
            f"{API}/getcampaigndetails", params={**query, "campaignkey": key, "campaigntype": "normal"}
        )
        told = details.json()
        assert (told["campaign_status"], told["campaign-details"][0]["campaign_key"]) == ("Sent", key)

    def test_a_dead_token_is_seen_by_status_and_code(self, zoho):
        answer = zoho.get(
            f"{API}/getmailinglists?resfmt=JSON", headers={"Authorization": "Zoho-oauthtoken x"}
        )
        assert (answer.status_code, answer.json()["Code"]) == (401, "1007")


class TestTravelService:
    """TypeScript, NestJS: everything in forms; errors may come with capital keys under HTTP 200."""

    post = TestBackOffice.post

    def test_the_outcomes_of_a_campaign_are_paged_until_none_is_left(self, zoho):
        query = {"resfmt": "JSON", "status": "all"}
        sent = zoho.get(f"{API}/recentcampaigns", params=query).json()["recent_campaigns"]
        found = {"openedcontacts": 0, "senthardbounce": 0, "sentsoftbounce": 0, "unsentcontacts": 0}
        for campaign in sent:
            for action in found:
                page = {"campaignkey": campaign["campaign_key"], "action": action, "fromindex": 1}
                answer = self.post(zoho, "getcampaignrecipientsdata", **page)
                assert answer.get("list_of_details") or answer["code"] == "6303"
                found[action] += len(answer.get("list_of_details", ()))
        assert found["unsentcontacts"] == 0
        assert min(found["openedcontacts"], found["senthardbounce"], found["sentsoftbounce"]) > 0

    def test_one_bad_contact_does_not_hide_the_good_ones(self, zoho):
        codes = [
            self.post(zoho, "json/listsubscribe", listkey=names.LIST_KEY, contactinfo=info(email))["code"]
            for email in ("good@example.com", "bad@example", "other@example.com")
        ]
        assert codes == ["0", "2004", "0"]

    def test_capital_keys_are_read_as_small_ones(self, sim, zoho):
        sim.control("switches", {"campaigns.error_keys": "capital", "campaigns.codes": "number"})
        answer = self.post(zoho, "getcampaignrecipientsdata", campaignkey="x", action="nonsense")
        assert answer == {"Code": 6301, "Message": "Invalid campaign key."}
