"""Chaos: a seeded share of the calls goes wrong in every way there is, and the truth stays what it was."""

from contextlib import suppress

import httpx
import pytest

from service.zoho.simulator import names
from service.zoho.simulator.chaos import WAYS

PARAMS = {"fields": "Email", "per_page": 5}


def outcome(zoho):
    try:
        answer = zoho.get("/crm/v8/Contacts", params=PARAMS)
    except httpx.TransportError as error:
        return type(error).__name__
    return answer.status_code


def test_the_same_seed_brings_the_same_troubles(sim, zoho):
    def troubles(seed):
        sim.control("chaos", {"rate": 0.5, "seed": seed, "latency_ms": 1})
        return [outcome(zoho) for _ in range(30)]

    first = troubles(1)
    assert first == troubles(1) != troubles(2)
    assert {200, 429, "RemoteProtocolError"} <= set(first)


def test_no_rate_no_trouble_and_the_control_plane_never_has_any(sim, zoho):
    sim.control("chaos", {"rate": 1.0, "ways": ["html_502"]})
    assert outcome(zoho) == 502
    assert sim.control("chaos")["profile"]["rate"] == 1.0
    sim.control("chaos", {"rate": 0})
    assert outcome(zoho) == 200
    assert sim.control("chaos") == {"profile": None, "ways": list(WAYS)}
    with pytest.raises(httpx.HTTPStatusError, match="400"):
        sim.control("chaos", {"rate": 1, "ways": ["frogs"]})


@pytest.mark.parametrize(("way", "status", "text"), [
    ("too_many", 429, "TOO_MANY_REQUESTS"), ("too_many_bare", 429, ""),
    ("html_502", 502, "<html>"), ("html_503", 503, "<html>"), ("latency", 200, "data"),
])  # fmt: skip
def test_each_way_has_its_own_answer(sim, zoho, way, status, text):
    sim.control("chaos", {"rate": 1.0, "ways": [way], "latency_ms": 5})
    answer = zoho.get("/crm/v8/Contacts", params=PARAMS)
    assert (answer.status_code, text in answer.text) == (status, True)


def test_a_truncated_page_is_a_broken_connection_and_not_a_shorter_page(sim, zoho):
    sim.control("chaos", {"rate": 1.0, "ways": ["truncate"]})
    with pytest.raises(httpx.RemoteProtocolError):
        zoho.get("/crm/v8/Contacts", params=PARAMS)
    got = b""
    with (
        suppress(httpx.RemoteProtocolError),
        zoho.stream("GET", "/crm/v8/Contacts", params=PARAMS) as answer,
    ):
        for chunk in answer.iter_bytes():
            got += chunk
    assert got.startswith(b'{"data":[')


def test_codes_change_their_type_and_errors_their_keys(sim, zoho):
    path, params = "/api/v1.1/getlistsubscribers", {"resfmt": "JSON", "listkey": "3zno"}
    sim.control("chaos", {"rate": 1.0, "ways": ["codes"]})
    assert zoho.get(path, params=params).json()["code"] == 2501
    sim.control("chaos", {"rate": 1.0, "ways": ["capitals"]})
    assert set(zoho.get(path, params=params).json()) == {"status", "Code", "Message", "URI", "version"}
    good = zoho.get(path, params={**params, "listkey": names.LIST_KEY}).json()
    assert good["code"] == "0"


def test_whoever_tries_again_gets_everything_once(sim, zoho):
    def patiently(call):
        for _ in range(60):
            with suppress(httpx.TransportError):
                answer = call()
                if answer.status_code in (200, 207):
                    return answer.json()
        raise AssertionError("never answered")

    quiet = zoho.get("/crm/v8/Contacts", params={**PARAMS, "per_page": 100}).json()["data"]
    sim.control("chaos", {"rate": 0.6, "seed": 4, "latency_ms": 1})
    loud = patiently(lambda: zoho.get("/crm/v8/Contacts", params={**PARAMS, "per_page": 100}))["data"]
    assert loud == quiet
    body = {"data": [{"id": record["id"], "Email_Opt_Out": True} for record in quiet], "trigger": []}
    done = patiently(lambda: zoho.put("/crm/v8/Contacts", json=body))["data"]
    assert {item["code"] for item in done} == {"SUCCESS"}
    sim.control("chaos", {"rate": 0})
    flags = zoho.get("/crm/v8/Contacts", params={"fields": "Email_Opt_Out", "per_page": 200}).json()["data"]
    assert all(record["Email_Opt_Out"] for record in flags)


def test_a_page_can_be_short_and_call_itself_complete(sim, zoho):
    whole = zoho.get("/crm/v8/Contacts", params=PARAMS).json()
    assert (len(whole["data"]), whole["info"]["more_records"]) == (5, True)
    sim.control("break", {"match": "GET /crm/v8/Contacts", "how": "short"})
    short = zoho.get("/crm/v8/Contacts", params=PARAMS).json()
    assert short["data"] == whole["data"][:2]
    told = {"count": 2, "more_records": False, "next_page_token": None}
    assert short["info"] == {**whole["info"], **told, "page_token_expiry": short["info"]["page_token_expiry"]}
    sim.control("break", {"match": "GET /api/v1.1/getmailinglists", "how": "short"})
    lists = zoho.get("/api/v1.1/getmailinglists", params={"resfmt": "JSON"}).json()
    assert len(lists["list_of_details"]) == 1


def test_an_answer_that_is_no_listing_is_not_shortened(sim, zoho):
    whole = zoho.get("/crm/v8/org").content
    sim.control("break", {"match": "GET /crm/v8/org", "how": "short"})
    assert zoho.get("/crm/v8/org").content == whole


def test_a_reset_comes_before_any_status_line_and_the_work_is_not_done(sim, zoho):
    (first, *_) = zoho.get("/crm/v8/Contacts", params=PARAMS).json()["data"]
    sim.control("chaos", {"rate": 1.0, "ways": ["reset"]})
    with pytest.raises((httpx.RemoteProtocolError, httpx.ReadError)) as caught:
        zoho.delete(f"/crm/v8/Contacts/{first['id']}")
    assert "body" not in str(caught.value)
    sim.control("chaos", {"rate": 0})
    assert zoho.get(f"/crm/v8/Contacts/{first['id']}").status_code == 200


def test_a_short_page_lacks_rows_and_calls_itself_complete(sim, zoho):
    sim.control("chaos", {"rate": 1.0, "ways": ["short"]})
    page = zoho.get("/crm/v8/Contacts", params=PARAMS).json()
    assert len(page["data"]) == page["info"]["count"] == 2
    assert (page["info"]["more_records"], page["info"]["next_page_token"]) == (False, None)
