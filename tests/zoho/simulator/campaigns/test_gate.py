"""Call windows: each endpoint has its own, and a call too many locks that endpoint alone."""

import pytest

from service.zoho.simulator import names

JSON = {"resfmt": "JSON"}
LISTS = "/api/v1.1/getmailinglists"
BULK = "/api/v1.1/addlistsubscribersinbulk"


def use_up(zoho, path, calls):
    for _ in range(calls):
        assert zoho.get(path, params=JSON).json().get("code") != "2008"


@pytest.fixture
def locked(zoho):
    use_up(zoho, LISTS, 500)
    return zoho.get(LISTS, params=JSON)


def test_the_501st_call_in_five_minutes_locks_the_endpoint_for_thirty(sim, zoho, locked):
    assert (locked.status_code, locked.json()["code"]) == (200, "2008")
    assert "retry-after" not in locked.headers
    assert zoho.get("/api/v1.1/topics").json()["code"] == "200"
    sim.control("clock", {"advance_s": 301})
    assert zoho.get(LISTS, params=JSON).json()["code"] == "2008"
    sim.control("clock", {"advance_s": 1500})
    assert zoho.get(LISTS, params=JSON).json()["code"] == "0"


@pytest.mark.parametrize(
    ("style", "expected"),
    [
        ("gateway_400", (400, "URL_ROLLING_THROTTLES_LIMIT_EXCEEDED")),
        ("gateway_200", (200, "URL_ROLLING_THROTTLES_LIMIT_EXCEEDED")),
        ("http_429", (429, "TOO_MANY_REQUESTS")),
        ("v11_2008", (200, '"2008"')),
    ],
)
def test_a_lock_is_told_in_the_switched_style(sim, zoho, locked, style, expected):
    sim.control("switches", {"throttle.style": style})
    answer = zoho.get(LISTS, params=JSON)
    assert answer.status_code == expected[0]
    assert expected[1] in answer.text


def test_spread_out_calls_are_never_locked(sim, zoho):
    use_up(zoho, LISTS, 400)
    sim.control("clock", {"advance_s": 301})
    use_up(zoho, LISTS, 400)


def test_subscribing_and_bulk_have_windows_of_their_own(sim, zoho):
    params = {**JSON, "listkey": names.LIST_KEY, "contactinfo": "{}"}

    def code():
        return zoho.post("/api/v1.1/json/listsubscribe", params=params).json()["code"]

    assert {code() for _ in range(500)} == {"2004"}
    assert code() == "2008"
    assert zoho.post(BULK, params=JSON).json()["code"] == "903"
    sim.control("clock", {"advance_s": 61})
    assert code() == "2008"


def test_a_factor_widens_every_window(sim, zoho):
    sim.control("switches", {"campaigns.window_factor": 2})
    use_up(zoho, LISTS, 600)


def test_a_reset_opens_what_was_locked(sim, zoho, locked):
    sim.control("reset", {})
    assert zoho.get(LISTS, params=JSON).json()["code"] == "0"


def test_retry_after_comes_only_where_the_switch_names_its_seconds(sim, zoho, locked):
    sim.control("switches", {"throttle.retry_after": 90, "crm.credits_per_day": 0})
    answers = [zoho.get(path, params=JSON) for path in (LISTS, "/crm/v8/org")]
    assert [answer.headers["retry-after"] for answer in answers] == ["90", "90"]
    sim.control("switches", {"throttle.retry_after": 0})
    assert "retry-after" not in zoho.get("/crm/v8/org").headers


def test_the_largest_range_is_a_switch_that_cuts_or_refuses(sim, zoho):
    asked = {**JSON, "listkey": names.LIST_KEY, "range": 500}
    sim.control("switches", {"campaigns.largest_range": 7})
    path = "/api/v1.1/getlistsubscribers"
    assert len(zoho.get(path, params=asked).json()["list_of_details"]) == 7
    sim.control("switches", {"campaigns.range_over_max": "6502"})
    assert zoho.get(path, params=asked).json()["code"] == "6502"
