"""What people do: it changes Campaigns at once and CRM never, unless a switch says so."""

import pytest

from service.zoho.simulator import names

JSON = {"resfmt": "JSON"}


@pytest.fixture
def look(sim):
    return lambda email: sim.control("person", {"email": email})


def last_campaign(zoho, action):
    key = zoho.get("/api/v1.1/recentcampaigns", params=JSON).json()["recent_campaigns"][0]["campaign_key"]
    params = {**JSON, "campaignkey": key, "action": action, "range": 500}
    rows = zoho.get("/api/v1.1/getcampaignrecipientsdata", params=params).json().get("list_of_details", [])
    return {row["contactemailaddress"] for row in rows}


def test_a_click_leaves_the_list_and_everything_else_but_not_crm(sim, zoho, look, somebody):
    sim.control("campaigns/unsubscribe", {"email": somebody.upper()})
    person = look(somebody)
    assert person["campaigns"]["lists"] == {names.LIST_KEY: "unsub"}
    assert (person["campaigns"]["dnm"], person["campaigns"]["dnm_reason"]) == (True, "self")
    assert [record["Email_Opt_Out"] for record in person["crm"]] == [False]
    assert somebody in last_campaign(zoho, "optoutcontacts")
    assert somebody in last_campaign(zoho, "sentcontacts")


def test_a_complaint_is_an_unsubscribe_of_another_name(sim, zoho, look, somebody):
    sim.control("campaigns/complain", {"email": somebody})
    assert look(somebody)["campaigns"]["dnm_reason"] == "complaint"
    assert somebody in last_campaign(zoho, "spamcontacts")
    assert somebody not in last_campaign(zoho, "optoutcontacts")
    params = {**JSON, "listkey": names.LIST_KEY, "status": "spam"}
    assert zoho.get("/api/v1.1/listsubscriberscount", params=params).json()["no_of_contacts"] == 2


def test_a_hard_bounce_takes_the_list_but_is_no_do_not_mail(sim, zoho, look, somebody):
    sim.control("campaigns/bounce", {"email": somebody, "type": "hard"})
    assert look(somebody)["campaigns"]["lists"] == {names.LIST_KEY: "bounce"}
    assert look(somebody)["campaigns"]["dnm"] is False
    assert somebody in last_campaign(zoho, "senthardbounce")


def test_soft_bounces_come_one_per_campaign_and_turn_hard_by_switch(sim, zoho, look):
    (email, *_) = sim.control("truth/list_lag_stale")["emails"]
    for _ in range(3):
        sim.control("campaigns/bounce", {"email": email, "type": "soft"})
    rows = sim.world.db.execute(
        "SELECT count(*) FROM outcomes o JOIN contacts c ON c.id = o.contact_id "
        "WHERE c.email = ? AND o.action = 'sentsoftbounce'",
        (email,),
    )
    assert rows.fetchone() == (3,)
    assert look(email)["campaigns"]["lists"] == {names.LIST_KEY: "active"}
    sim.control("switches", {"bounce.soft_to_hard": 3})
    sim.control("campaigns/bounce", {"email": email, "type": "soft"})
    assert look(email)["campaigns"]["lists"] == {names.LIST_KEY: "bounce"}


def test_the_sync_reaches_crm_only_when_it_is_switched_on(sim, look, somebody):
    sim.control("switches", {"sync.unsub_to_crm": True})
    sim.control("campaigns/unsubscribe", {"email": somebody})
    (record,) = look(somebody)["crm"]
    assert (record["Email_Opt_Out"], record["Unsubscribed_Mode"]) == (True, "Zoho campaigns")


def test_nobody_can_be_moved_who_is_not_there(sim):
    with pytest.raises(Exception, match="404"):
        sim.control("campaigns/unsubscribe", {"email": "stranger@example.com"})
    with pytest.raises(Exception, match="404"):
        sim.control("campaigns/confirm", {"email": "stranger@example.com", "listkey": names.LIST_KEY})
