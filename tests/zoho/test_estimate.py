"""Estimates by sizes alone; that they are what is charged is tested with the commands."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from service.reconciler.port import Member
from service.reconciler.sizes import Approved, Joining, Sizes, Stops
from service.zoho.bulk_read import CREATE
from service.zoho.bulk_write import CREATE as CREATE_WRITE
from service.zoho.bulk_write import JOB_CREDITS, MOST_ROWS
from service.zoho.crm_sweeps import POLLS
from service.zoho.errands import of_permits, of_push, of_watching
from service.zoho.estimate import of_run
from service.zoho.licence import EDITIONS


def sized(contacts: int, *, stops: int = 0, followed: dict[str, int] | None = None) -> Sizes:
    return Sizes(
        read_at=datetime(2026, 5, 10, tzinfo=UTC),
        records={"Contacts": contacts // 2, "Leads": contacts - contacts // 2},
        followed=followed or {},
        members={("newsletter", one.value): contacts if one is Member.ACTIVE else 0 for one in Member},
        permissions={"granted": contacts, "refused": 0},
        stops=Stops(records={"Contacts": stops} if stops else {}, contacts=stops),
    )


@pytest.mark.parametrize("by", ["cheapest", "bulk", "coql"])
def test_reading_50000_and_stopping_2000_takes_less_than_3_percent_of_a_professional_day(by):
    professional = next(one for one in EDITIONS if one.name == "professional").allowance(10)
    assert of_run(sized(50_000, stops=2_000), applying=True, by=by).credits < 0.03 * professional


@pytest.mark.parametrize(
    ("rows", "by", "credits"),
    [
        (0, "cheapest", 3),
        (2_000, "coql", 4),
        (2_001, "coql", 7),
        (4_000, "cheapest", 8),
        (1_000, "bulk", 59),
        (0, "bulk", 58),
    ],
)
def test_a_module_is_paid_by_its_pages_or_its_job(rows, by, credits):  # noqa: A002  # Zoho's word
    size = Sizes(records={"Leads": rows}, members={}, permissions={})
    assert of_run(size, applying=False, by=by).credits == credits


def test_a_bulk_read_is_paid_at_the_organisations_own_price():
    size = Sizes(records={"Contacts": 1_000, "Leads": 1_000}, members={}, permissions={})
    usual, dear = (of_run(size, applying=False, by="bulk", job_credits=price).credits for price in (50, 500))
    assert (usual, dear) == (2 * (50 + 8) + 1, 2 * (500 + 8) + 1)


def test_where_a_bulk_read_is_dear_coql_is_the_cheapest():
    size = Sizes(records={"Contacts": 100_000}, members={}, permissions={})
    by_price = {price: of_run(size, applying=False, job_credits=price).crm for price in (50, 500)}
    assert by_price[50][CREATE] == 1
    assert by_price[500][CREATE] == 0


def test_what_is_followed_costs_what_changed_whatever_its_size():
    small, large = (
        of_run(sized(contacts, followed={"Contacts": 0, "Leads": 2_500}), applying=False).credits
        for contacts in (20_000, 2_000_000)
    )
    assert small == large == 6 + 10


def test_a_plan_is_paid_only_when_it_is_applied():
    looking, writing = (of_run(sized(1_000, stops=230), applying=applying) for applying in (False, True))
    assert writing.credits - looking.credits == 23 + 5
    assert writing.campaigns["json/listsubscribe"] == 230
    assert "json/listsubscribe" not in looking.campaigns


def pushing(contacts):
    return of_push({"newsletter": contacts}, {"newsletter": 0}, {})


def test_the_duration_counts_the_waits_for_windows():
    assert pushing(450).waits_s == 0
    assert pushing(451).waits_s == 60
    assert pushing(13_000).waits_s == 3_600


def test_letting_people_go_is_read_before_and_after_and_written_one_by_one():
    lists = {"newsletter": Joining(writes=40, shown=1_040), "offers": Joining(writes=3, shown=90)}
    found = of_permits(Approved(records={"Contacts": 120}, lists=lists), {"getlistsubscribers": 250})
    assert found.credits == 120 + 3 + 3
    assert found.campaigns["json/listsubscribe"] == 43
    assert found.campaigns["getlistsubscribers"] == 6 + 2


def test_watching_without_notifications_costs_a_credit_a_module_and_look():
    often, rarely = (
        of_watching(seconds=86_400, every_s=5, crm_every_s=sweep, modules=2).credits for sweep in (0, 300)
    )
    assert (often, rarely) == (34_560, 576)


def test_watching_by_notifications_renews_them_every_hour():
    plain, subscribed = (
        of_watching(seconds=86_400, every_s=5, crm_every_s=300, modules=2, subscribed=told).credits
        for told in (False, True)
    )
    assert subscribed - plain == 24


@pytest.mark.parametrize(
    ("stops", "bulk_from", "jobs", "puts"),
    [(30_000, 0, 0, 300), (30_000, 1_000, 2, 0), (25_400, 1_000, 1, 4), (60_000, 30_000, 0, 600)],
)
def test_stops_in_bulk_are_read_again_before_each_job_and_what_is_left_is_written_by_hundreds(
    stops, bulk_from, jobs, puts
):
    size = sized(100_000, stops=stops)
    looking, writing = (
        of_run(size, applying=applying, by="coql", bulk_write_from=bulk_from) for applying in (False, True)
    )
    in_bulk = min(stops, jobs * MOST_ROWS)
    assert writing.crm[CREATE_WRITE] == jobs
    assert writing.crm["PUT /crm/v8/Contacts"] == puts
    assert writing.crm["POST /crm/v8/coql"] - looking.crm["POST /crm/v8/coql"] == (stops + in_bulk) // 50
    per_job = JOB_CREDITS + len(("org", "upload")) + POLLS
    assert writing.credits - looking.credits == (stops + in_bulk) // 50 + jobs * per_job + puts * 10


def test_stops_of_which_some_are_told_why_are_not_written_in_bulk():
    size = sized(100_000, stops=2_000)
    told = replace(size, stops=replace(size.stops, reasoned=frozenset({"Contacts"})))
    assert of_run(told, applying=True, bulk_write_from=1_000).crm[CREATE_WRITE] == 0
    assert of_run(size, applying=True, bulk_write_from=1_000).crm[CREATE_WRITE] == 1
