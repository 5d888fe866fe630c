"""The control plane described by itself, and the page for people."""

import re

import pytest
from openapi_spec_validator import validate

from service.zoho.simulator import control
from service.zoho.simulator.switches import SWITCHES


def test_the_control_plane_describes_every_one_of_its_calls(sim):
    document = sim.control("openapi.json")
    validate(document)
    rows = [row for row in control.ENDPOINTS if row.path != "/_control/openapi.json"]
    described = {(path, method) for path, item in document["paths"].items() for method in item}
    assert described == {
        (row.path.replace(":str", ""), method.lower()) for row in rows for method in row.methods
    }
    bounce = document["paths"]["/_control/campaigns/bounce"]["post"]
    assert bounce["summary"] == "Let a mail bounce."
    assert bounce["requestBody"]["content"]["application/json"]["schema"]["$ref"].endswith("/Bounced")
    assert set(document["components"]["schemas"]["Bounced"]["properties"]) == {"email", "type"}


def test_the_page_is_html_that_asks_only_the_control_plane(sim):
    answer = sim.client.get("/_control/")
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert answer.text.startswith("<!doctype html>")
    assert re.findall(r"https?://", answer.text) == []
    (asked,) = re.findall(r"Promise\.all\(\s*\[([^\]]+)\]", answer.text)
    for path in re.findall(r'"([^"]+)"', asked):
        assert sim.client.get(f"/_control/{path}").status_code == 200


def test_requests_go_by_with_outcome_and_credits_and_without_their_query(sim, zoho, somebody):
    zoho.get("/crm/v8/Contacts/search", params={"email": somebody})
    sim.control("break", {"match": "GET /crm/v8/org", "how": "status", "status": 502})
    zoho.get("/crm/v8/org")
    newest, before, *_ = sim.control("requests")["requests"]
    assert (newest["path"], newest["outcome"]) == ("/crm/v8/org", "status")
    assert (before["method"], before["path"], before["credits"]) == ("GET", "/crm/v8/Contacts/search", 1)
    assert somebody not in sim.client.get("/_control/requests").text
    assert sim.control("requests")["credits_left"] == 59_999


@pytest.mark.parametrize("how", ["truncate", "codes", "capitals", "latency"])
def test_every_kind_of_break_can_be_asked_for_once(sim, zoho, how):
    sim.control("break", {"match": "GET /api", "how": how, "times": 1, "latency_ms": 1})
    params = {"resfmt": "JSON", "listkey": "3zno"}
    if how != "truncate":
        assert zoho.get("/api/v1.1/getlistsubscribers", params=params).status_code == 200
    sim.control("reset", {})
    assert zoho.get("/api/v1.1/getlistsubscribers", params=params).json()["code"] == "2501"


def test_the_document_lists_every_switch_with_its_answers_and_the_facts_that_leave_it_open(sim):
    document = sim.control("openapi.json")
    body = document["paths"]["/_control/switches"]["post"]["requestBody"]
    assert body["content"]["application/json"]["schema"] == {"$ref": "#/components/schemas/Switches"}
    listed = document["components"]["schemas"]["Switches"]["properties"]
    assert set(listed) == set(SWITCHES)
    for name, switch in SWITCHES.items():
        assert re.fullmatch(r"zoho-(crm|campaigns) \d+(\.\d+)?", switch.facts), name
        assert listed[name]["description"].endswith(f"Facts: {switch.facts}.")
        assert listed[name].get("enum", [switch.default])[0] == switch.default
