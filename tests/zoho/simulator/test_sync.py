"""Zoho's own sync: when it runs, whom it skips, which duplicate it picks, and what it never carries back."""

import httpx
import pytest

from service.zoho.simulator import names

DAY_S = 86_400


DONE = {
    "exclude": "skipped: converted",
    "remove_from_list": "removed from list",
    "remove_from_campaigns": "removed from Campaigns",
}


def mapping(**more):
    return {"name": "m", "module": "Contacts", "fields": {"First_Name": "First Name"}, **more}


def sync(sim, **body):
    (kept,) = sim.control("sync", body)["mappings"]
    return kept["last"] and kept["last"]["did"]


def of(sim, email):
    return sim.control("person", {"email": email})


def insert(zoho, **record):
    body = {"data": [{"Last_Name": "New", "Newsletter": True, **record}]}
    return zoho.post("/crm/v8/Contacts", json=body).json()["data"][0]["details"]["id"]


def test_without_a_mapping_nothing_ever_syncs(sim):
    before = sim.control("state")
    sim.control("clock", {"advance_s": 40 * DAY_S})
    assert sim.control("sync")["mappings"] == []
    assert sim.control("state") == before


def test_a_periodic_mapping_runs_when_its_time_has_come(sim, zoho):
    insert(zoho, Email="late@example.com")
    assert sync(sim, mappings=[mapping(every="weekly")]) is None
    sim.control("clock", {"advance_s": 6 * DAY_S})
    assert of(sim, "late@example.com")["campaigns"]["lists"] == {}
    sim.control("clock", {"advance_s": DAY_S})
    assert of(sim, "late@example.com")["campaigns"]["lists"] == {names.LIST_KEY: "active"}


def test_an_immediate_mapping_brings_new_records_after_minutes_and_no_changes(sim, zoho):
    sync(sim, mappings=[mapping(mode="immediate")])
    insert(zoho, Email="fast@example.com", First_Name="Fast")
    sim.control("clock", {"advance_s": 300})
    assert of(sim, "fast@example.com")["campaigns"]["lists"] == {}
    sim.control("clock", {"advance_s": 200})
    person = of(sim, "fast@example.com")
    assert person["campaigns"]["lists"] == {names.LIST_KEY: "active"}
    sim.control("crm/set", {"email": "fast@example.com", "fields": {"First_Name": "Slow"}})
    sim.control("clock", {"advance_s": 600})
    assert of(sim, "fast@example.com")["campaigns"]["fields"]["First Name"] == "Fast"
    sim.control("switches", {"sync.immediate_updates": True})
    sim.control("crm/set", {"email": "fast@example.com", "fields": {"First_Name": "Slower"}})
    sim.control("clock", {"advance_s": 600})
    assert of(sim, "fast@example.com")["campaigns"]["fields"]["First Name"] == "Slower"


def test_rows_are_skipped_for_every_reason_there_is(sim, zoho):
    bounced = sim.control("truth/hard_bounce_not_in_crm")["emails"]
    left = sim.control("truth/unsubscribed_not_in_crm")["emails"]
    insert(zoho, Email="info@example.com")
    insert(zoho, Email="a b@example.com")
    insert(zoho)
    insert(zoho, Email="no@example.com", Email_Opt_Out=True)
    both = [sync(sim, mappings=[mapping(module=module)], run=True) for module in ("Contacts", "Leads")]
    did = {key: sum(one.get(key, 0) for one in both) for one in both for key in one}
    assert did["skipped: bounced"] >= len(bounced)
    assert did["skipped: Do-Not-Mail"] >= len(left)
    assert did["skipped: role address"] == did["skipped: bad pattern"] == did["skipped: empty address"] == 1
    assert did["skipped: opted out"] >= 1
    assert did["skipped: duplicate"] >= 1


def test_a_do_not_mail_address_never_comes_back_by_sync(sim):
    (email, *_) = sim.control("truth/unsubscribed_not_in_crm")["emails"]
    sync(sim, mappings=[mapping(module=of(sim, email)["crm"][0]["module"])], run=True)
    assert of(sim, email)["campaigns"]["lists"] == {names.LIST_KEY: "unsub"}


def test_of_two_records_with_one_address_either_may_win(sim, zoho):
    for name in ("First", "Second"):
        insert(zoho, Email="twin@example.com", First_Name=name)
    sync(sim, mappings=[mapping()])
    seen = set()
    for _ in range(12):
        sync(sim, run=True)
        seen.add(of(sim, "twin@example.com")["campaigns"]["fields"]["First Name"])
    assert seen == {"First", "Second"}


@pytest.mark.parametrize(
    ("policy", "lists", "known"),
    [
        ("exclude", {names.LIST_KEY: "active"}, True),
        ("remove_from_list", {}, True),
        ("remove_from_campaigns", {}, False),
    ],
)
def test_opted_out_records_are_left_or_taken_off(sim, policy, lists, known):
    (email, *_) = sim.control("truth/opted_out_by_hand")["emails"]
    sync(sim, mappings=[mapping(module=of(sim, email)["crm"][0]["module"], opted_out=policy)], run=True)
    person = of(sim, email)["campaigns"]
    assert person["lists"] == lists
    assert bool(person["fields"]) is known


@pytest.mark.parametrize(
    ("policy", "lists", "known"),
    [
        ("exclude", {names.LIST_KEY: "active"}, True),
        ("remove_from_list", {}, True),
        ("remove_from_campaigns", {}, False),
    ],
)
def test_converted_leads_are_left_or_taken_off(sim, zoho, policy, lists, known):
    lead = {"Last_Name": "Lund", "First_Name": "Ina", "Email": "Ina@example.com", "Newsletter": True}
    number = zoho.post("/crm/v8/Leads", json={"data": [lead]}).json()["data"][0]["details"]["id"]
    sync(sim, mappings=[mapping(module="Leads", converted=policy)], run=True)
    assert of(sim, "ina@example.com")["campaigns"]["lists"] == {names.LIST_KEY: "active"}
    zoho.post(f"/crm/v8/Leads/{number}/actions/convert", json={"data": [{}]})
    did = sync(sim, run=True)
    assert did[DONE[policy]] >= 1
    person = of(sim, "ina@example.com")["campaigns"]
    assert person["lists"] == lists
    assert bool(person["fields"]) is known


def test_who_left_the_view_stays_on_the_list_unless_switched(sim):
    (email, *_) = sim.control("truth/list_lag_stale")["emails"]
    made = mapping(module=of(sim, email)["crm"][0]["module"])
    sync(sim, mappings=[made], run=True)
    assert of(sim, email)["campaigns"]["lists"] == {names.LIST_KEY: "active"}
    sim.control("switches", {"sync.removes_departed": True})
    assert sync(sim, run=True)["departed"] >= 1
    assert of(sim, email)["campaigns"]["lists"] == {}


def test_the_other_direction_writes_fields_to_one_record_and_says_so_in_the_timeline(sim, zoho):
    (email, *_) = sim.control("truth/permission_refused_in_campaigns")["emails"]
    (record, *_) = of(sim, email)["crm"]
    back = mapping(
        module=record["module"],
        direction="campaigns_to_crm",
        fields={"Email_Opt_Out": names.PERMISSION_LABEL},
    )
    did = sync(sim, mappings=[back], run=True)
    assert did["updated"] >= 1
    (after, *_) = of(sim, email)["crm"]
    assert (after["Email_Opt_Out"], after["Unsubscribed_Mode"]) == (True, "Zoho campaigns")
    timeline = zoho.get(f"/crm/v8/{record['module']}/{record['id']}/__timeline").json()["__timeline"]
    assert timeline[0]["source"] == "zoho_campaigns"


def test_unsubscribes_and_bounces_stay_in_campaigns_unless_switched(sim, somebody):
    sync(sim, mappings=[mapping(module=of(sim, somebody)["crm"][0]["module"])])
    sim.control("campaigns/unsubscribe", {"email": somebody})
    sync(sim, run=True)
    assert of(sim, somebody)["crm"][0]["Email_Opt_Out"] is False
    sim.control("switches", {"sync.unsub_to_crm": True})
    sim.control("campaigns/unsubscribe", {"email": somebody})
    assert of(sim, somebody)["crm"][0]["Email_Opt_Out"] is True


@pytest.mark.parametrize(
    "wrong",
    [
        {"module": "Rivers"},
        {"listkey": "3zno"},
        {"fields": {"Nonsense": "First Name"}},
        {"fields": {"First_Name": "Nonsense"}},
        {"direction": "both"},
    ],
)
def test_a_mapping_that_cannot_be_is_refused(sim, wrong):
    with pytest.raises(httpx.HTTPStatusError, match="400"):
        sim.control("sync", {"mappings": [mapping(**wrong)]})
