"""Readings that are cut short: pages, tokens of pages, lists and exports that fail before the end."""

from collections.abc import Iterator

import msgspec
import pytest

from service.errors import ServiceError, ZohoError
from service.zoho.simulator.names import LIST_KEY
from tests.faults_zoho.conftest import A_DAY, Midway, Org, Overnight, reconnected

PAGES = {
    "records": "POST /crm/v8/coql",
    "members": "GET /api/v1.1/getlistsubscribers",
    "segments": "GET /api/v1.1/getsegmentcontacts",
    "recipients": "GET /api/v1.1/getcampaignrecipientsdata",
    "campaigns": "GET /api/v1.1/recentcampaigns",
}

BETWEEN_PAGES = "between two pages of members"


@pytest.fixture
def exported(org) -> Iterator[Org]:
    """The organisation whose modules are exported by bulk read, twenty rows a file."""
    org.switch(bulk__duration_ms=0, bulk__rows_per_page=20)
    policy = org.intake.policy
    zoho = msgspec.structs.replace(policy.zoho, crm=msgspec.structs.replace(policy.zoho.crm, sweep="bulk"))
    with reconnected(org, msgspec.structs.replace(policy, zoho=zoho, digest=bytes(32))) as made:
        yield made


@pytest.mark.parametrize("what", PAGES)
def test_a_first_page_that_is_short_and_calls_itself_whole_hides_nobody(org, what):
    org.breaks(PAGES[what], "short", 1)
    result = org.run()
    assert {row[3] for row in org.sim.world.requests} > {"short"}
    assert dict(result.found) == org.planted()
    org.converges()


@pytest.mark.parametrize("what", PAGES)
def test_pages_that_are_all_short_stop_nobody_by_mistake_and_open_nothing(org, what):
    org.run(applying=False)
    org.breaks(PAGES[what], "short", 10_000)
    ended = org.attempt()
    if not isinstance(ended, ServiceError):
        assert set(ended.found) <= set(org.planted())
    org.mends()
    org.converges()


@pytest.mark.parametrize("what", ["records", "members", "recipients"])
def test_pages_that_break_off_in_the_middle_are_asked_for_again(org, what):
    org.breaks(PAGES[what], "truncate", 2)
    assert dict(org.run().found) == org.planted()
    org.converges()


@pytest.mark.parametrize(
    ("step", "code"),
    [("read permission refused", "2501"), ("read list active", "2203"), (BETWEEN_PAGES, "2206")],
)
def test_a_list_that_somebody_deletes_while_it_is_read_costs_nobody_their_refusal(org, step, code):
    org.switch(campaigns__deleted_list=code)
    db = org.sim.world.db
    kept = db.execute("SELECT * FROM lists WHERE listkey = ?", (LIST_KEY,)).fetchone()
    members = db.execute("SELECT * FROM members WHERE list_id = ?", kept[:1]).fetchall()

    def delete() -> None:
        token = {"Authorization": f"Zoho-oauthtoken {org.zoho.oauth.token().value}"}
        params = {"listkey": LIST_KEY, "deletecontacts": "off", "resfmt": "JSON"}
        answer = org.sim.client.post("/api/v1.1/deletemailinglist", params=params, headers=token)
        assert answer.json()["status"] == "success"

    if step == BETWEEN_PAGES:
        org.switch(campaigns__largest_range=20)
        half = Midway(org.zoho.campaigns, delete)
        ended = org.attempt(campaigns=half)
        assert half.act is None
    else:
        ended = org.attempt(progress=org.at(step, delete))
    assert isinstance(ended, ZohoError) or [trip.target for trip in ended.tripped] == ["campaigns"]
    assert isinstance(org.attempt(), ZohoError)
    db.execute("INSERT INTO lists VALUES (?, ?, ?, ?, ?)", kept)
    db.executemany("INSERT INTO members VALUES (?, ?, ?, ?)", members)
    org.doors.somebody_else()
    org.converges()


@pytest.mark.parametrize("fate", ["fails", "never"])
def test_a_bulk_job_that_fails_or_never_ends_is_made_up_for(exported, fate):
    exported.switch(bulk__fate=fate)
    result = exported.run()
    assert dict(result.found) == exported.planted()
    exported.converges()


@pytest.mark.parametrize("column", ["Email", "Email_Opt_Out"])
def test_a_zip_with_a_missing_column_is_not_believed_and_writes_nothing(exported, column):
    exported.switch(bulk__omit_column=column)
    before = exported.products()
    with pytest.raises(ZohoError, match=column):
        exported.run()
    assert exported.products() == before
    exported.switch(bulk__omit_column="")
    exported.converges()


@pytest.mark.parametrize("code", ["EXPIRED_VALUE", "TOKEN_BOUND_DATA_MISMATCH"])
def test_a_page_token_that_expired_between_two_files_leaves_nobody_out(exported, code):
    exported.breaks("POST /crm/bulk/v8/read", "latency", 1)
    refused = f'{{"code":"{code}","details":{{}},"message":"The page token has expired","status":"error"}}'
    exported.breaks("POST /crm/bulk/v8/read", "status", 1, status=400, body=refused)
    result = exported.run()
    assert dict(result.found) == exported.planted()
    exported.converges()


def test_a_page_token_whose_day_passes_between_two_files_leaves_nobody_out(exported):
    exported.switch(bulk__paging="page_token")
    moved = Overnight(exported.zoho.crm, lambda: exported.later(A_DAY))
    result = exported.run(crm=moved)
    assert moved.act is None
    refused = [row for row in exported.sim.world.requests if row[2] == "/crm/bulk/v8/read" and row[3] == 400]
    assert refused
    assert dict(result.found) == exported.planted()
    exported.converges()


def test_files_that_break_off_and_downloads_that_are_refused_are_made_up_for(exported):
    exported.breaks("GET /crm/bulk/v8/read", "truncate", 1)
    exported.breaks("GET /crm/bulk/v8/read", "status", 2, status=503, body="<html></html>")
    result = exported.run()
    assert dict(result.found) == exported.planted()
    exported.converges()
