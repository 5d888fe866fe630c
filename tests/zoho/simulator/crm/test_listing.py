"""Listing a module: fields, pages, tokens, and what If-Modified-Since does."""

from datetime import UTC, datetime, timedelta

import pytest

CONTACTS = "/crm/v8/Contacts"


def problem(answer):
    return answer.status_code, answer.json()["code"], answer.json()["details"]


def everything(reader, **params):
    """Follow the page tokens to the end."""
    records, token = [], None
    while True:
        page = reader.get(CONTACTS, params=params | ({"page_token": token} if token else {})).json()
        records += page["data"]
        token = page["info"]["next_page_token"]
        if not page["info"]["more_records"]:
            return records


def test_fields_are_mandatory_and_at_most_fifty(reader):
    missing = reader.get(CONTACTS)
    assert problem(missing) == (400, "REQUIRED_PARAM_MISSING", {"param_name": "fields"})
    many = reader.get(CONTACTS, params={"fields": ",".join(["Email"] * 51)})
    assert problem(many) == (400, "LIMIT_EXCEEDED", {"limit": 50, "param_name": "fields"})


def test_a_page_carries_the_documented_info(reader):
    body = reader.get(CONTACTS, params={"fields": "Email,Email_Opt_Out", "per_page": 3}).json()
    assert [list(record) for record in body["data"]] == [
        ["id", "Email", "Email_Opt_Out", "$locked_for_me"]
    ] * 3
    assert list(body["info"]) == [
        "call",
        "per_page",
        "next_page_token",
        "count",
        "sort_by",
        "page",
        "previous_page_token",
        "page_token_expiry",
        "sort_order",
        "email",
        "more_records",
    ]
    ids = [int(record["id"]) for record in body["data"]]
    assert ids == sorted(ids, reverse=True)
    assert isinstance(body["data"][0]["Email_Opt_Out"], bool)


def test_page_tokens_reach_every_record_once(reader, still):
    ids = [record["id"] for record in everything(reader, fields="Email")]
    (count,) = still.world.db.execute("SELECT count(*) FROM crm_Contacts").fetchone()
    assert len(ids) == len(set(ids)) == count > 2_000


@pytest.mark.parametrize("order", ["asc", "desc"])
def test_the_token_of_the_page_before_leads_back_to_the_first_page(reader, order):
    params = {"fields": "Email", "sort_by": "Modified_Time", "sort_order": order, "per_page": 7}
    pages = [reader.get(CONTACTS, params=params).json()]
    for _ in range(3):
        token = pages[-1]["info"]["next_page_token"]
        pages.append(reader.get(CONTACTS, params={**params, "page_token": token}).json())
    assert pages[0]["info"]["previous_page_token"] is None
    page = pages.pop()
    while pages:
        token = page["info"]["previous_page_token"]
        page, wanted = reader.get(CONTACTS, params={**params, "page_token": token}).json(), pages.pop()
        assert (page["data"], page["info"]["page"]) == (wanted["data"], wanted["info"]["page"])
    assert page["info"]["previous_page_token"] is None


@pytest.mark.parametrize("order", ["asc", "desc"])
def test_a_listing_by_modified_time_is_sorted_across_its_pages(reader, order):
    records = everything(reader, fields="Modified_Time", sort_by="Modified_Time", sort_order=order)
    times = [datetime.fromisoformat(record["Modified_Time"]) for record in records]
    assert times == sorted(times, reverse=order == "desc")


def test_page_numbers_reach_the_first_two_thousand_only(reader):
    assert reader.get(CONTACTS, params={"fields": "Email", "page": 10}).status_code == 200
    beyond = reader.get(CONTACTS, params={"fields": "Email", "page": 11})
    assert problem(beyond) == (400, "DISCRETE_PAGINATION_LIMIT_EXCEEDED", {"limit": 2000})


def test_a_page_token_is_bound_to_its_parameters(reader):
    token = reader.get(CONTACTS, params={"fields": "Email"}).json()["info"]["next_page_token"]
    for fields, text in (("Last_Name", token), ("Email", "nonsense")):
        answer = reader.get(CONTACTS, params={"fields": fields, "page_token": text})
        assert problem(answer) == (400, "TOKEN_BOUND_DATA_MISMATCH", {"param_name": "page_token"})


def test_a_page_token_lives_for_a_day(sim, zoho):
    params = {"fields": "Email", "per_page": 5}
    token = zoho.get(CONTACTS, params=params).json()["info"]["next_page_token"]
    (grant,) = sim.world.tokens.live.items()
    sim.control("clock", {"advance_s": 86_401})
    sim.world.tokens.live[grant[0]] = type(grant[1])(grant[1].scopes, sim.world.clock.now() + 60)
    answer = zoho.get(CONTACTS, params={**params, "page_token": token})
    assert problem(answer) == (400, "EXPIRED_VALUE", {"param_name": "page_token"})


def test_page_and_page_token_together_are_ambiguous(reader):
    token = reader.get(CONTACTS, params={"fields": "Email"}).json()["info"]["next_page_token"]
    answer = reader.get(CONTACTS, params={"fields": "Email", "page": 1, "page_token": token})
    assert problem(answer)[:2] == (400, "AMBIGUITY_DURING_PROCESSING")


def test_more_than_two_hundred_per_page_is_refused(reader):
    answer = reader.get(CONTACTS, params={"fields": "Email", "per_page": 201})
    assert problem(answer) == (400, "LIMIT_EXCEEDED", {"limit": 200, "param_name": "per_page"})


def test_nothing_modified_since_is_304_and_no_row_at_all_is_204(reader):
    future = (datetime.now(UTC) + timedelta(days=1)).isoformat(timespec="seconds")
    unchanged = reader.get(CONTACTS, params={"fields": "Email"}, headers={"If-Modified-Since": future})
    assert (unchanged.status_code, unchanged.content) == (304, b"")
    nobody = reader.get(CONTACTS, params={"fields": "Email", "ids": "1"})
    assert (nobody.status_code, nobody.content) == (204, b"")


def test_if_modified_since_needs_an_offset_and_filters_by_it(reader):
    naive = reader.get(
        CONTACTS, params={"fields": "Email"}, headers={"If-Modified-Since": "2026-05-10T00:00:00"}
    )
    assert problem(naive)[1] == "INVALID_DATA"
    every = everything(reader, fields="Modified_Time", sort_by="Modified_Time")
    edge = every[9]["Modified_Time"]
    later = reader.get(
        CONTACTS, params={"fields": "Modified_Time"}, headers={"If-Modified-Since": edge}
    ).json()
    assert {record["id"] for record in later["data"]} == {record["id"] for record in every[:10]}


def test_a_view_holds_the_records_that_feed_the_list(reader):
    params = {"fields": "Newsletter", "cvid": "5725767000000087501"}
    assert all(record["Newsletter"] for record in reader.get(CONTACTS, params=params).json()["data"])


def test_errors_of_reads_are_wrapped_by_switch(sim, zoho):
    sim.control("switches", {"crm.get_errors": "data"})
    assert zoho.get(CONTACTS).json()["data"][0]["code"] == "REQUIRED_PARAM_MISSING"


@pytest.mark.parametrize(
    ("params", "code", "details"),
    [
        (
            {"cvid": "5725767000000087501", "sort_by": "id"},
            "AMBIGUITY_DURING_PROCESSING",
            {"ambiguity_due_to": [{"param_name": "cvid"}, {"param_name": "sort_by"}]},
        ),
        ({"approved": "maybe"}, "INVALID_DATA", {"param_name": "approved"}),
        ({"converted": "maybe"}, "INVALID_DATA", {"param_name": "converted"}),
        ({"territory_id": "123"}, "INVALID_DATA", {"param_name": "territory_id"}),
    ],
)
def test_parameters_that_make_no_sense_are_refused(reader, params, code, details):
    answer = reader.get("/crm/v8/Contacts", params={"fields": "Email", **params})
    assert (answer.status_code, answer.json()["code"], answer.json()["details"]) == (400, code, details)


def test_keys_of_the_system_are_listed_where_they_are_asked_for(sim, zoho, somebody):
    sim.control("crm/lock", {"email": somebody})
    fields = "Email,Record_Status__s,Tag,$editable"
    rows = zoho.get("/crm/v8/Contacts", params={"fields": fields, "per_page": 200}).json()["data"]
    by_email = {row["Email"]: row for row in rows}
    locked = by_email[somebody]
    assert set(locked) == {"id", "$locked_for_me", *fields.split(",")}
    assert (locked["$locked_for_me"], locked["$editable"], locked["Tag"]) == (True, False, [])
    assert sum(row["$locked_for_me"] for row in rows) == 1
