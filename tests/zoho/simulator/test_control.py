"""The control plane: truth, people, meter, switches, and broken answers."""

import httpx
import pytest

from service.zoho.simulator import names
from service.zoho.simulator.kinds import numbers
from service.zoho.simulator.switches import SWITCHES


def test_the_truth_is_told_in_numbers_and_by_name(still):
    truth = still.control("truth")
    assert truth["contacts"] == 2_600
    assert {**truth["planted"], **truth["consistent"]} == numbers(2_600)
    assert len(truth["planted"]) == 9
    for key, count in truth["planted"].items():
        assert len(still.control(f"truth/{key}")["emails"]) == count


def test_a_person_is_shown_as_both_products_see_them(sim, still):
    (email, *_) = still.control("truth/duplicate_contradiction")["emails"]
    person = still.control("person", {"email": email})
    assert {record["Email_Opt_Out"] for record in person["crm"]} == {True, False}
    assert person["campaigns"]["lists"] == {names.LIST_KEY: "active"}
    assert person == still.control(f"person?email={email}")
    assert sim.control("person", {"email": "stranger@example.com"})["campaigns"]["lists"] == {}


def test_a_user_ticks_every_record_of_an_address_by_hand(sim):
    (email, *_) = sim.control("truth/duplicate_harmless")["emails"]
    sim.control("crm/set", {"email": email, "fields": {"Email_Opt_Out": True}, "by": "Mona Ek"})
    records = sim.control("person", {"email": email})["crm"]
    assert [record["Email_Opt_Out"] for record in records] == [True, True]
    assert {record["Unsubscribed_Mode"] for record in records} == {"Manual"}
    assert {record["Modified_By"]["name"] for record in records} == {"Mona Ek"}


def test_a_field_that_nobody_can_tick_is_refused(sim, somebody):
    with pytest.raises(httpx.HTTPStatusError, match="400"):
        sim.control("crm/set", {"email": somebody, "fields": {"Unsubscribed_Mode": "Manual"}})


def test_the_meter_counts_calls_by_product_and_endpoint_until_reset(sim, zoho):
    zoho.get("/crm/v8/Contacts", params={"fields": "Email"})
    zoho.get("/api/v1.1/getmailinglists")
    meter = sim.control("meter")
    assert meter == {
        "calls": {"crm": 1, "campaigns": 1, "oauth": 1},
        "credits": 1,
        "by_endpoint": {
            "GET /api/v1.1/getmailinglists": 1,
            "GET /crm/v8/{module}": 1,
            "POST /oauth/v2/token": 1,
        },
        "locks": {},
    }
    sim.control("reset", {})
    assert sim.control("meter") == {
        "calls": {"crm": 0, "campaigns": 0, "oauth": 0},
        "credits": 0,
        "by_endpoint": {},
        "locks": {},
    }


def test_a_switch_takes_its_own_values_only(sim):
    for wrong in ({"no.such": True}, {"crm.coql_limit": 7}, {"oauth.bearer": "yes"}):
        with pytest.raises(httpx.HTTPStatusError, match="400"):
            sim.control("switches", wrong)
    sim.control("switches", {"crm.coql_limit": 200})
    assert sim.control("switches")["crm.coql_limit"]["value"] == 200
    sim.control("reset", {})
    assert sim.control("switches")["crm.coql_limit"]["value"] == 2000


def test_every_switch_says_why_it_is_one_and_accepts_its_default():
    assert all(switch.why and switch.accepts(switch.default) for switch in SWITCHES.values())


def test_a_broken_body_is_a_400_that_says_so(sim):
    with pytest.raises(httpx.HTTPStatusError, match="400"):
        sim.control("campaigns/bounce", {"email": "a@example.com", "type": "medium"})


def test_a_connection_dropped_before_the_work_leaves_no_trace(sim, zoho):
    sim.control("break", {"match": "GET /crm/v8/org", "times": 1, "how": "drop_before"})
    with pytest.raises(httpx.TransportError):
        zoho.get("/crm/v8/org")
    assert sim.control("meter")["calls"]["crm"] == 0
    assert zoho.get("/crm/v8/org").status_code == 200


def test_a_connection_dropped_after_the_work_leaves_the_work_done(sim, zoho, somebody):
    sim.control("break", {"match": "POST /api/v1.1/json/contactdonotmail", "times": 1, "how": "drop_after"})
    with pytest.raises(httpx.TransportError):
        zoho.post(
            "/api/v1.1/json/contactdonotmail",
            params={"resfmt": "JSON", "contactinfo": f"{{Contact Email:{somebody}}}"},
        )
    assert sim.control("person", {"email": somebody})["campaigns"]["dnm"] is True


def test_the_edge_answers_with_a_status_as_often_as_told(sim, zoho):
    sim.control(
        "break", {"match": "GET /crm", "times": 2, "how": "status", "status": 502, "body": "<html>bad</html>"}
    )
    answers = [zoho.get("/crm/v8/org") for _ in range(3)]
    assert [answer.status_code for answer in answers] == [502, 502, 200]
    assert answers[0].text == "<html>bad</html>"
    assert answers[0].headers["content-type"] == "text/html"


def test_the_control_plane_itself_never_breaks(sim):
    sim.control("break", {"match": "GET /", "times": 5, "how": "drop_before"})
    assert sim.control("clock")["ahead_s"] == 0


def test_replanting_begins_anew_with_the_size_and_seed_told(sim, zoho, somebody):
    sim.control("campaigns/unsubscribe", {"email": somebody})
    sim.control("clock", {"advance_s": 5})
    assert sim.control("replant", {"contacts": 70})["contacts"] == 70
    assert sim.control("state")["people"] == 70
    assert sim.control("clock")["ahead_s"] == 0
    assert zoho.get("/crm/v8/org").status_code == 401
    sim.control("replant", {"contacts": 60})
    assert sim.control("person", {"email": somebody})["campaigns"]["dnm"] is False


def test_totals_follow_what_happens(sim, somebody):
    before = sim.control("state")
    sim.control("campaigns/unsubscribe", {"email": somebody})
    after = sim.control("state")
    assert after["dnm"] == before["dnm"] + 1
    assert (after["active"], after["unsub"]) == (before["active"] - 1, before["unsub"] + 1)
    assert after["people"] == 60
