"""Both clocks against each rule, from the first receipt on any channel."""

from contextlib import closing
from datetime import timedelta

import pytest
from sqlalchemy import insert, update

from service.consent import Category, Provenance
from service.db import Database, change, task
from service.reports.deadlines import Kept, deadlines
from service.reports.drift import drift_report
from service.reports.drift.reading import withdrawals_since
from service.reports.drift.starting import started
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
            tx.execute(update(task).where(task.c.state == "open").values(state="done", **carried))
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
    due = {clock.rule: clock.due_at for clock in case.clocks}
    assert {line.rule for line in report.rules} == due.keys()
    assert [due[line.rule] for line in report.rules] == [clock.due_at for clock in case.clocks]


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
    assert clocks_from(intake)[-1] == NOW - DAY


def test_a_grant_that_lifts_nothing_ends_no_clock(intake):
    withdraw(intake, NOW - 20 * DAY)
    imported = {"provenance": Provenance.IMPORT, "occurred_at": NOW - 5 * DAY}
    intake.record([claim(WHO, received_at=NOW - 5 * DAY, **imported)])
    withdraw(intake, NOW - DAY)
    assert clocks_from(intake) == [NOW - 20 * DAY, NOW - 20 * DAY]


@pytest.mark.parametrize("provenance", [Provenance.IMPORT, Provenance.BACKFILL, Provenance.OBSERVED])
def test_a_withdrawal_that_comes_thirty_days_late_is_late_at_once(intake, provenance):
    at = NOW - 30 * DAY
    intake.record([withdrawal(WHO, occurred_at=at, received_at=NOW, provenance=provenance)])
    report = told(intake)
    [case] = report.breaches
    assert (case.received_at, case.clocks[0].stopped) == (at, Kept.MISSED)
    assert (report.overall.received, report.overall.overdue) == (1, 1)
    report = told(intake, stopped_at=NOW, proved_at=NOW)
    assert report.breaches[0].clocks[0].stopped is Kept.LATE
    assert report.overall.stopped.slowest == 30 * DAY
    with intake.db.read() as tx:
        night = drift_report(tx, policies(), now=NOW)
    assert (night.clocks.stopped.p50, night.people.late) == (30 * DAY, 1)


def test_a_bounce_is_nobodys_word_and_counts_from_when_we_heard_of_it(intake):
    at = NOW - 30 * DAY
    intake.record([withdrawal(WHO, category=Category.BOUNCE_HARD, occurred_at=at, received_at=NOW)])
    assert clocks_from(intake) == [NOW]


def test_the_word_that_came_to_another_channel_first_starts_both_clocks(intake):
    at = NOW - 30 * DAY
    seen = {"provenance": Provenance.OBSERVED, "occurred_at": at, "enforce": False}
    intake.record([withdrawal(WHO, received_at=NOW - 2 * DAY, **seen)])
    withdraw(intake, NOW - DAY)
    assert clocks_from(intake) == [at]
    assert told(intake).overall.overdue == 1


def test_a_first_word_that_comes_to_us_second_starts_both_clocks_too(intake):
    at = NOW - 30 * DAY
    withdraw(intake, NOW - 2 * DAY)
    imported = {"provenance": Provenance.IMPORT, "occurred_at": at}
    intake.record([withdrawal(WHO, received_at=NOW - DAY, **imported)])
    assert clocks_from(intake) == [at, at]


def test_who_says_it_again_after_it_was_carried_out_starts_new_clocks(intake):
    withdraw(intake, NOW - 20 * DAY)
    told(intake, stopped_at=NOW - 20 * DAY, proved_at=NOW - 20 * DAY)
    withdraw(intake, NOW - DAY)
    assert clocks_from(intake)[-1] == NOW - DAY
    assert told(intake, stopped_at=NOW - DAY, proved_at=NOW - DAY).overall.late == 0


def clocks_from(intake):
    with intake.db.read() as tx:
        sub = intake.vault.find(tx, WHO)
        tasks = withdrawals_since(tx, NOW - 60 * DAY, NOW)
        return [one.received_at for one in started(tx, policies(), tasks, {sub: intake.events(tx, sub)})]


def test_a_case_shows_a_pseudonym(intake):
    withdraw(intake, NOW - 12 * DAY)
    [case] = told(intake).breaches
    assert case.person.startswith("s-")
    assert "ada" not in repr(case)


def test_what_a_run_found_in_a_product_has_its_clocks_too(intake):
    with intake.db.begin() as tx:
        number = a_run(tx, NOW - DAY / 2)
        found(tx, number, "unsubscribed_not_in_crm", [1], since=NOW - 30 * DAY)
        wrote = {
            "run_id": number,
            "target": "campaigns",
            "kind": "unsubscribed_not_in_crm",
            "state": "proved",
        }
        tx.execute(insert(change).values(wrote | {"address_index": person(1), "written_at": NOW - DAY / 2}))
        found(tx, number, "opted_out_by_hand", [2], since=NOW - 2 * DAY, state="found")
        found(tx, number, "hard_bounce_not_in_crm", [3], since=NOW - 30 * DAY)
    report = told(intake)
    [case] = report.breaches
    assert case.person == f"p-{person(1)[:8].hex()}"
    assert case.clocks[0].stopped is Kept.LATE
    assert (report.overall.received, report.overall.waiting) == (2, 1)
    with intake.db.read() as tx:
        night = drift_report(tx, policies(), now=NOW)
    assert night.clocks.stopped == report.overall.stopped
    assert night.clocks.stopped.slowest == 29.5 * DAY
    assert night.clocks.proved.slowest == 29.5 * DAY + timedelta(minutes=4)
