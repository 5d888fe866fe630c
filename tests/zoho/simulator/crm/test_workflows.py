"""Workflow webhooks: wired by API, posted with merge fields, on writes that run workflows."""

import json

import pytest

from tests.zoho.simulator.receiver import delivered

HOOKS = "/crm/v8/settings/automation/webhooks"
BODY = '{"email":"${!Contacts.Email}","out":"${!Contacts.Email_Opt_Out}","id":"${!Contacts.id}"}'


@pytest.fixture
def record(zoho):
    return zoho.get("/crm/v8/Contacts", params={"fields": "Email", "per_page": 1}).json()["data"][0]


def wire(zoho, url, **more):
    hook = {"name": "ledger", "module": "Contacts", "url": url, **more}
    return zoho.post(HOOKS, json={"webhooks": [hook]})


def test_a_write_posts_the_body_with_its_fields_filled_and_its_headers(zoho, record, receiver):
    raw = {"type": "raw", "raw_data_content": BODY}
    assert wire(zoho, receiver.url, body=raw, headers=[{"name": "X-Key", "value": "s3"}]).status_code == 201
    body = {"data": [{"id": record["id"], "Email_Opt_Out": True}]}
    zoho.put("/crm/v8/Contacts", json={**body, "trigger": []})
    zoho.put("/crm/v8/Contacts", json=body)
    assert receiver.wait(1) == [{"email": record["Email"], "out": "true", "id": record["id"]}]
    assert receiver.requests[0][1]["x-key"] == "s3"


def test_a_users_own_edit_runs_workflows(sim, zoho, record, receiver):
    wire(zoho, receiver.url, module={"api_name": "Contacts"})
    sim.control("crm/set", {"email": record["Email"], "fields": {"Email_Opt_Out": True}})
    assert receiver.wait(1)[0] == {"module": "Contacts", "id": record["id"]}


def test_webhooks_are_listed_changed_and_dropped(zoho):
    assert zoho.get(HOOKS).status_code == 204
    key = wire(zoho, "http://127.0.0.1:9/").json()["webhooks"][0]["details"]["id"]
    changed = {"id": key, "url": "http://127.0.0.1:9/other"}
    assert zoho.put(HOOKS, json={"webhooks": [changed, {"id": "1"}]}).status_code == 207
    (hook,) = zoho.get(f"{HOOKS}/{key}").json()["webhooks"]
    assert (hook["url"], hook["name"]) == (changed["url"], "ledger")
    assert zoho.delete(f"{HOOKS}/{key}").status_code == 200
    assert zoho.get(HOOKS).status_code == 204


def test_a_webhook_that_makes_no_sense_is_refused(zoho):
    assert wire(zoho, "ftp://x").json()["webhooks"][0]["code"] == "INVALID_DATA"
    assert wire(zoho, "").json()["webhooks"][0]["code"] == "MANDATORY_NOT_FOUND"
    assert zoho.post(HOOKS, json={}).json()["code"] == "MANDATORY_NOT_FOUND"


def test_an_address_beyond_loopback_becomes_a_failure(sim, zoho, record):
    wire(zoho, "https://h.example.com/")
    zoho.put("/crm/v8/Contacts", json={"data": [{"id": record["id"], "Last_Name": "X"}]})
    assert delivered(sim, 1)[0]["outcome"].startswith("not called")
    (failure,) = zoho.get("/crm/v8/settings/automation/webhook_failures").json()["webhook_failures"]
    assert failure["webhook"]["name"] == "ledger"
    assert json.dumps(record["Email"]) not in json.dumps(failure)
