"""Workflows that a call triggers: what they do to contacts, and whom they refuse."""

import json

from service.zoho.simulator import names

STOP = f"/api/v1.1/workflow/{names.STOP_WORKFLOW}/action/trigger"


def trigger(zoho, *emails, path=STOP, **more):
    details = {"lead_email": ",".join(emails), "triggerkey": names.STOP_TRIGGER, **more}
    return zoho.post(path, params={"details": json.dumps(details)}).json()


def person(sim, email):
    return sim.control("person", {"email": email})["campaigns"]


def test_subscription_management_takes_a_contact_off_every_list_and_names_the_unknown(sim, zoho, somebody):
    answer = trigger(zoho, somebody, "no@example.com")
    assert answer == {
        "code": "200",
        "already_triggered": [],
        "list_key": None,
        "ignored": ["no@example.com"],
    }
    assert set(person(sim, somebody)["lists"].values()) == {"unsub"}
    listed = zoho.get(
        "/api/v1.1/getlistsubscribers",
        params={"resfmt": "JSON", "listkey": names.LIST_KEY, "status": "unsub", "range": "650"},
    )
    assert somebody in {row["contact_email"] for row in listed.json()["list_of_details"]}


def test_a_contact_enters_once_and_is_not_stopped_a_second_time(sim, zoho, somebody):
    trigger(zoho, somebody)
    info = json.dumps({"Contact Email": somebody})
    zoho.post("/api/v1.1/json/listsubscribe", params={"listkey": names.LIST_KEY, "contactinfo": info})
    assert trigger(zoho, somebody)["already_triggered"] == [somebody]
    assert person(sim, somebody)["lists"] == {names.LIST_KEY: "active"}


def test_a_workflow_may_let_contacts_in_again_and_move_them_to_do_not_mail(sim, zoho, somebody):
    sim.control("campaigns/workflow", {"again": True, "action": "do_not_mail"})
    answers = [trigger(zoho, somebody)["already_triggered"] for _ in range(2)]
    assert answers == [[], []]
    assert person(sim, somebody)["dnm_reason"] == "admin"


def test_an_action_takes_effect_only_after_its_delay(sim, zoho, somebody):
    sim.control("switches", {"campaigns.workflow_delay_s": 60})
    trigger(zoho, somebody)
    assert person(sim, somebody)["lists"] == {names.LIST_KEY: "active"}
    sim.control("clock", {"advance_s": 61})
    assert person(sim, somebody)["lists"] == {names.LIST_KEY: "unsub"}


def test_a_workflow_for_one_list_ignores_whoever_is_not_on_it(sim, zoho, somebody):
    assert trigger(zoho, somebody, listkey=names.SIGNUP_LIST_KEY)["ignored"] == [somebody]
    assert trigger(zoho, somebody, listkey=names.LIST_KEY)["ignored"] == []
    assert trigger(zoho, somebody, listkey="3zno")["code"] == "2501"


def test_each_refusal_of_a_trigger_has_its_code_and_stops_nobody(sim, zoho, somebody):
    many = [f"a{number}@example.com" for number in range(200)]
    assert trigger(zoho, somebody, path="/api/v1.1/workflow/w1/action/trigger")["code"] == "9002"
    assert trigger(zoho, somebody, *many)["code"] == "9004"
    assert trigger(zoho)["code"] == "9004"
    assert trigger(zoho, somebody, triggerkey="other")["code"] == "9006"
    sim.control("campaigns/workflow", {"paused": True})
    assert trigger(zoho, somebody)["code"] == "9007"
    assert person(sim, somebody)["lists"] == {names.LIST_KEY: "active"}


def test_which_code_means_what_is_a_switch(sim, zoho, somebody):
    sim.control("switches", {"campaigns.workflow_codes": "9007"})
    assert trigger(zoho, somebody, triggerkey="other")["code"] == "9007"
