"""Both clocks against each rule, from the first receipt on any channel."""

from contextlib import closing
from datetime import timedelta

import pytest
from sqlalchemy import update

from service.consent import Provenance
from service.db import Database, task
from service.reports.deadlines import Kept, deadlines, first_receipt
from tests.reports.nights import NOW, a_run, found, person
from tests.running import claim, policies, start, withdrawal

DAY = timedelta(days=1)
WHO = "ada@example.com"


@pytest.fixture
def intake(database_url):
    with closing(Database(database_url)) as database, start(database, now=lambda: NOW - 60 * DAY) as intake:
        yield intake


def told(intake, **carried):
    """The report after the task of the only withdrawal was carried out at these times."""
    with intake.db.begin() as tx:
        if carried:
            tx.execute(update(task).values(state="done", **carried))
    with intake.db.read() as tx:
        return deadlines(tx, policies(), intake.vault, since=NOW - 40 * DAY, now=NOW)


def withdraw(intake, at, **more):
    intake.record([withdrawal(WHO, occurred_at=at, received_at=at, **more)])


def test_every_rule_that_applies_has_its_own_clock_the_strictest_first(intake):
    withdraw(intake, NOW - 12 * DAY)
    report = told(intake)
    [case] = report.breaches
    assert len(case.clocks) > 1
    assert [clock.due_at for clock in case.clocks] == sorted(clock.due_at for clock in case.clocks)
    assert case.clocks[0].stopped is Kept.MISSED
    assert {line.rule for line in report.rules} == {clock.rule for clock in case.clocks}


def test_a_withdrawal_stopped_and_proved_in_time_keeps_every_rule(intake):
    at = NOW - 3 * DAY
    withdraw(intake, at)
    found = told(intake, stopped_at=at + timedelta(seconds=4), proved_at=at + timedelta(seconds=6))
    assert found.breaches == ()
    assert all(line.stopped == {Kept.MET: 1} and line.proved == {Kept.MET: 1} for line in found.rules)


def test_one_stopped_after_a_deadline_was_met_late_and_is_a_breach(intake):
    at = NOW - 30 * DAY
    withdraw(intake, at)
    found = told(intake, stopped_at=NOW - DAY, proved_at=NOW - DAY)
    [case] = found.breaches
    assert case.clocks[0].stopped is Kept.LATE


def test_what_was_told_to_a_product_first_counts_from_there(intake):
    withdraw(intake, NOW - 20 * DAY, provenance=Provenance.OBSERVED)
    [case] = told(intake).breaches
    assert case.received_at == NOW - 20 * DAY


def test_a_withdrawal_before_a_newer_grant_starts_no_clock(intake):
    withdraw(intake, NOW - 20 * DAY)
    intake.record([claim(WHO, occurred_at=NOW - 5 * DAY, received_at=NOW - 5 * DAY)])
    withdraw(intake, NOW - DAY)
    with intake.db.read() as tx:
        events = intake.events(tx, intake.vault.find(tx, WHO))
    assert first_receipt(events, NOW) == NOW - DAY


def test_a_case_shows_a_pseudonym(intake):
    withdraw(intake, NOW - 12 * DAY)
    [case] = told(intake).breaches
    assert case.person.startswith("s-")
    assert "ada" not in repr(case)


def test_what_a_run_found_in_a_product_has_its_clocks_too(intake):
    with intake.db.begin() as tx:
        number = a_run(tx, NOW - DAY)
        found(tx, number, "unsubscribed_not_in_crm", [1], since=NOW - 30 * DAY)
        found(tx, number, "opted_out_by_hand", [2], since=NOW - 2 * DAY, state="found")
        found(tx, number, "hard_bounce_not_in_crm", [3], since=NOW - 30 * DAY)
    report = told(intake)
    [case] = report.breaches
    assert case.person == f"p-{person(1)[:8].hex()}"
    assert case.clocks[0].stopped is Kept.LATE
    assert (report.overall.received, report.overall.waiting) == (2, 1)
