"""Campaigns that were sent, and their recipients by outcome."""

import pytest

JSON = {"resfmt": "JSON"}
RECIPIENTS = "/api/v1.1/getcampaignrecipientsdata"


def recipients(client, key, action, **params):
    body = client.get(RECIPIENTS, params={**JSON, "campaignkey": key, "action": action, **params}).json()
    if body["status"] == "error":
        assert body["code"] == "6303"
        return []
    return body["list_of_details"]


@pytest.fixture
def campaigns(reader):
    return reader.get("/api/v1.1/recentcampaigns", params=JSON).json()["recent_campaigns"]


@pytest.fixture
def children(reader, campaigns):
    (test,) = [campaign for campaign in campaigns if campaign["campaigntype"] == "abtesting"]
    params = {**JSON, "campaignkey": test["campaign_key"], "campaigntype": "abtesting"}
    (split,) = reader.get("/api/v1.1/getcampaigndetails", params=params).json()["AB-split-details"]
    return split["a_child_campaignkey"], split["b_child_campaignkey"]


def test_six_campaigns_were_sent_and_children_are_not_among_them(reader, campaigns, children):
    assert len(campaigns) == 6
    assert {campaign["campaign_status"] for campaign in campaigns} == {"Sent"}
    assert not {campaign["campaign_key"] for campaign in campaigns} & set(children)
    body = reader.get(
        "/api/v1.1/recentcampaigns", params={**JSON, "status": "Sent|drafts", "range": 2}
    ).json()
    assert body["requestdetails"] == "{range=2, status=Sent|drafts, fromindex=1}"
    assert (body["total_record_count"], body["campaign_count"]) == ("6", "2")


def test_no_campaign_of_a_status_is_error_6101(reader):
    body = reader.get("/api/v1.1/recentcampaigns", params={**JSON, "status": "drafts"}).json()
    assert (body["status"], body["code"]) == ("error", "6101")


def test_the_wrong_campaign_type_shows_nothing(reader, campaigns):
    test = next(campaign for campaign in campaigns if campaign["campaigntype"] == "abtesting")
    params = {**JSON, "campaignkey": test["campaign_key"], "campaigntype": "normal"}
    body = reader.get("/api/v1.1/getcampaigndetails", params=params).json()
    assert body["campaign-details"] == []
    assert "AB-split-details" not in body


def test_recipients_stop_at_twenty_rows_in_silence_and_go_to_five_hundred_when_asked(reader, campaigns):
    key = campaigns[0]["campaign_key"]
    assert len(recipients(reader, key, "sentcontacts")) == 20
    assert len(recipients(reader, key, "sentcontacts", range=501)) == 500
    first, second = (recipients(reader, key, "sentcontacts", range=500, fromindex=at) for at in (1, 501))
    assert not {row["contactid"] for row in first} & {row["contactid"] for row in second}


def test_a_recipient_has_other_names_than_the_documentation_says(reader, campaigns):
    (row, *_) = recipients(reader, campaigns[0]["campaign_key"], "sentcontacts")
    assert {"contactfn", "contactln", "contactemailaddress", "contactid"} <= set(row)
    assert "firstname" not in row
    assert row["companyname"] == row["timezone"] == "null"
    assert {type(value) for value in row.values()} == {str}


def test_outcomes_tell_their_time_in_json_by_switch_and_in_xml_always(sim, zoho):
    (email, *_) = sim.control("truth/unsubscribed_not_in_crm")["emails"]
    keys = [campaign[0] for campaign in sim.world.db.execute("SELECT campaign_key FROM campaigns")]

    def found():
        return [
            row
            for key in keys
            for row in recipients(zoho, key, "optoutcontacts")
            if row["contactemailaddress"] == email
        ]

    (row,) = found()
    assert row["optOutTime"][-2:] in ("AM", "PM")
    sim.control("switches", {"campaigns.outcome_times": False})
    (row,) = found()
    assert "optOutTime" not in row
    texts = [
        zoho.get(RECIPIENTS, params={"campaignkey": key, "action": "optoutcontacts"}).text for key in keys
    ]
    assert any(
        '<fl val="optOutTime">' in text and f'<fl val="contact_email">{email}</fl>' in text for text in texts
    )


def test_display_times_follow_the_accounts_zone(sim, zoho):
    def shown():
        return zoho.get("/api/v1.1/recentcampaigns", params=JSON).json()["recent_campaigns"][0]

    before = shown()
    sim.control("switches", {"campaigns.display_offset_min": 330})
    after = shown()
    assert after["sent_date_string"] != before["sent_date_string"]
    assert after["sent_time"] == before["sent_time"]


def test_nobody_of_an_outcome_is_error_6303_and_other_keys_have_codes_too(reader, campaigns):
    def code(**params):
        return reader.get(RECIPIENTS, params={**JSON, **params}).json()["code"]

    key = campaigns[0]["campaign_key"]
    assert code(campaignkey=key, action="unsentcontacts") == "6303"
    assert code(campaignkey=key, action="bouncedcontacts") == "1001"
    assert code(campaignkey="3zwrong", action="sentcontacts") == "6301"
    assert code(campaignkey=key) == "903"
    assert (
        reader.get("/api/v1.1/campaignreports", params={**JSON, "campaignkey": "x"}).json()["code"] == "6001"
    )


def test_every_planted_outcome_is_among_the_recipients_of_parents_and_children(
    reader, still, campaigns, children
):
    keys = [campaign["campaign_key"] for campaign in campaigns] + list(children)

    def everyone(action, wanted):
        return {
            row["contactemailaddress"] for key in wanted for row in recipients(reader, key, action, range=500)
        }

    def planted(*kinds):
        return {email for kind in kinds for email in still.control(f"truth/{kind}")["emails"]}

    opt_outs = planted("unsubscribed_not_in_crm", "opted_out_both")
    assert everyone("optoutcontacts", keys) == opt_outs
    assert everyone("optoutcontacts", keys[:6]) < opt_outs
    assert everyone("spamcontacts", keys) == planted("complaint_not_in_crm")
    assert everyone("senthardbounce", keys) == planted("hard_bounce_not_in_crm", "hard_bounced_both")
    assert everyone("sentsoftbounce", keys) == planted(
        "repeated_soft_bounce_not_in_crm", "single_soft_bounce"
    )


def test_unopened_and_opened_and_bounced_make_up_the_sent(reader, campaigns):
    key = campaigns[0]["campaign_key"]
    params = {**JSON, "campaignkey": key}
    (figures,) = reader.get("/api/v1.1/campaignreports", params=params).json()["campaign-reports"]
    assert {type(value) for value in figures.values()} == {str}
    sent = int(figures["emails_sent_count"])
    assert sent == int(figures["delivered_count"]) + int(figures["bounces_count"])
    start, unopened = 1, 0
    while page := recipients(reader, key, "unopenedcontacts", range=500, fromindex=start):
        unopened, start = unopened + len(page), start + 500
    assert unopened <= int(figures["unopened"]) + int(figures["unsub_count"]) + int(figures["spams_count"])
    assert unopened == int(figures["delivered_count"]) - int(figures["opens_count"])


@pytest.mark.parametrize(
    ("told", "keys"), [("documented", {"firstname"}), ("both", {"firstname", "contactfn"})]
)
def test_recipients_have_names_as_documented_or_as_seen(sim, zoho, told, keys):
    sim.control("switches", {"campaigns.recipient_names": told})
    (key, *_) = sim.world.db.execute("SELECT campaign_key FROM campaigns ORDER BY id LIMIT 1").fetchone()
    asked = {**JSON, "campaignkey": key, "action": "sentcontacts"}
    (row, *_) = zoho.get(RECIPIENTS, params=asked).json()["list_of_details"]
    assert {"firstname", "contactfn"} & set(row) == keys
