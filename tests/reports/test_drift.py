from datetime import UTC, date, datetime, timedelta

import pytest

from service.ledger import attestors
from service.ledger.attestors import Kind
from service.reports.drift import Verdict, drift_report
from service.reports.wording import outside, summary
from tests.reports.nights import (
    NOW,
    RULE,
    TONIGHT,
    a_month,
    a_plan,
    a_run,
    found,
    mailed,
    tripped,
    withdrawn,
)
from tests.running import ORIGIN, policies


@pytest.fixture
def report(intake):
    """Return how to ask for tonight's report after arranging the tables."""

    def ask(*arrange, now=NOW):
        with intake.db.begin() as tx:
            for step in arrange:
                step(tx)
        with intake.db.read() as tx:
            return drift_report(tx, policies(), now=now)

    return ask


def test_a_night_without_drift_is_in_order(report):
    told = report(a_run)
    assert told.verdict is Verdict.IN_ORDER
    assert (told.people.found, told.deadline, told.decisions) == (0, None, ())


def test_drift_that_was_repaired_is_told_with_its_numbers(report):
    told = report(lambda tx: found(tx, a_run(tx), "unsubscribed_not_in_crm", range(412)))
    assert told.verdict is Verdict.REPAIRED
    assert (told.people.found, told.people.repaired, told.people.open, told.people.late) == (412, 412, 0, 0)
    assert told.people.opt_outs == 412


@pytest.mark.parametrize(
    ("state", "title"),
    [("failed", "did not accept"), ("open", "not yet written"), ("found", "not yet written")],
)
def test_a_stop_that_does_not_stand_in_zoho_needs_action(report, state, title):
    told = report(lambda tx: found(tx, a_run(tx), "unsubscribed_not_in_crm", range(3), state=state))
    assert told.verdict is Verdict.ACTION
    assert told.people.open == 3
    assert title in told.decisions[0].title
    assert told.decisions[0].urgent


def test_a_refused_run_is_the_first_thing_said(report):
    def refused(tx):
        found(tx, a_run(tx, TONIGHT - timedelta(hours=5)), "opted_out_by_hand", range(2))
        a_run(tx, state="refused", summary={"reason": "Campaigns returned no members"})

    told = report(refused)
    assert told.verdict is Verdict.BLIND
    assert "Campaigns returned no members" in told.last_run.trouble


def test_a_run_that_died_while_reading_is_no_look(report):
    told = report(lambda tx: a_run(tx, TONIGHT - timedelta(hours=3), state="observing", finished_at=None))
    assert told.verdict is Verdict.BLIND
    assert "never ended" in told.last_run.trouble


def test_a_look_older_than_a_night_and_a_half_says_nothing_about_today(report):
    told = report(lambda tx: a_run(tx, NOW - timedelta(hours=37)))
    assert told.verdict is Verdict.BLIND
    assert "No run has looked" in told.last_run.trouble


def test_a_ledger_that_never_looked_says_so(report):
    told = report()
    assert (told.verdict, told.last_run.id) == (Verdict.BLIND, None)


def test_a_person_who_stands_under_two_kinds_counts_once(report):
    def twice(tx):
        run_id = a_run(tx)
        found(tx, run_id, "unsubscribed_not_in_crm", range(5))
        found(tx, run_id, "complaint_not_in_crm", range(5), state="failed")

    told = report(twice)
    assert (told.people.found, told.people.repaired, told.people.open) == (5, 0, 5)
    assert [(line.kind, line.found) for line in told.kinds] == [
        ("complaint_not_in_crm", 5),
        ("unsubscribed_not_in_crm", 5),
    ]


def test_the_newest_run_of_the_night_has_the_last_word(report):
    def failed_then_repaired(tx):
        found(tx, a_run(tx, TONIGHT - timedelta(hours=2)), "opted_out_by_hand", range(4), state="failed")
        found(tx, a_run(tx), "opted_out_by_hand", range(3))

    told = report(failed_then_repaired)
    assert (told.people.found, told.people.repaired, told.people.open, told.people.settled) == (4, 3, 0, 1)


def test_bounced_mailboxes_are_not_called_opt_outs(report):
    told = report(lambda tx: found(tx, a_run(tx), "hard_bounce_not_in_crm", range(2)))
    assert (told.people.found, told.people.opt_outs) == (2, 0)


def test_a_repair_after_the_deadline_counts_as_missed(report):
    def late(tx):
        run_id = a_run(tx)
        found(tx, run_id, "unsubscribed_not_in_crm", range(3), due_at=TONIGHT - timedelta(days=1))
        found(tx, run_id, "opted_out_by_hand", range(3, 5), due_at=TONIGHT + timedelta(hours=1))

    told = report(late)
    assert told.people.late == 3
    assert told.missed == (("CAN-SPAM", 3, True),)


def test_what_a_mailbox_provider_demands_is_not_called_law(report):
    def late(tx):
        yesterday = TONIGHT - timedelta(days=1)
        found(
            tx,
            a_run(tx),
            "unsubscribed_not_in_crm",
            range(2),
            due_at=yesterday,
            due_rule="gmail.unsub_deadline",
        )

    told = report(late)
    assert told.missed == (("Google sender guidelines", 2, False),)
    assert "by the rules of mailbox providers, which are no law 2" in " ".join(summary(told))
    assert "by law" not in " ".join(summary(told))


def test_the_nearest_deadline_is_told_with_its_law_and_what_is_left(report):
    def two(tx):
        run_id = a_run(tx)
        found(tx, run_id, "opted_out_by_hand", range(2), state="failed", due_at=NOW + timedelta(days=3))
        found(
            tx,
            run_id,
            "complaint_not_in_crm",
            range(2, 3),
            state="failed",
            due_at=NOW + timedelta(hours=6),
            due_rule="gmail.unsub_deadline",
        )

    deadline = report(two).deadline
    assert deadline is not None
    assert (deadline.left, deadline.law, deadline.people) == (
        timedelta(hours=6),
        "Google sender guidelines",
        1,
    )
    assert "48 hours" in deadline.citation


def test_a_withdrawal_under_way_has_a_deadline_too(report):
    def waiting(tx):
        a_run(tx)
        withdrawn(tx, NOW - timedelta(days=4), stopped_s=None, proved_s=None)

    deadline = report(waiting).deadline
    assert deadline is not None
    assert (deadline.rule, deadline.left) == (RULE, timedelta(days=6))


def test_the_two_clocks_are_the_median_the_95th_and_the_slowest(report):
    def hundred(tx):
        a_run(tx)
        for number in range(1, 101):
            withdrawn(tx, NOW - timedelta(hours=2), stopped_s=number, proved_s=2 * number)

    clocks = report(hundred).clocks
    assert clocks.stopped is not None
    assert clocks.proved is not None
    assert (clocks.received, clocks.waiting, clocks.overdue) == (100, 0, 0)
    assert [clocks.stopped.p50, clocks.stopped.p95, clocks.stopped.slowest] == [
        timedelta(seconds=number) for number in (50, 95, 100)
    ]
    assert clocks.proved.p95 == timedelta(seconds=190)


def test_withdrawals_past_their_deadline_need_action_and_late_ones_are_counted(report):
    def overdue(tx):
        a_run(tx)
        withdrawn(tx, NOW - timedelta(days=11), stopped_s=None, proved_s=None)
        withdrawn(tx, NOW - timedelta(days=11), stopped_s=10.7 * 86_400, proved_s=10.8 * 86_400)

    told = report(overdue)
    assert (told.clocks.overdue, told.clocks.late, told.people.late) == (1, 1, 1)
    assert told.verdict is Verdict.ACTION
    assert told.deadline is None
    assert told.overdue is not None
    assert told.overdue.left == timedelta(days=-1)


def test_reports_and_re_permissions_wait_for_people_without_alarm(report):
    def quiet(tx):
        run_id = a_run(tx)
        found(tx, run_id, "list_lag_missing", range(30), action="report", state="found", due_at=None)
        found(tx, run_id, "re_permission", range(30, 33), action="permit", state="found", due_at=None)

    told = report(quiet)
    assert told.verdict is Verdict.IN_ORDER
    assert [(line.count, line.urgent) for line in told.decisions] == [(3, False), (30, False)]


def test_people_whom_zoho_permits_without_a_known_consent_are_a_question_not_an_alarm(report):
    told = report(lambda tx: a_run(tx, summary={"without_consent": 4600}))
    assert told.verdict is Verdict.IN_ORDER
    assert [(line.count, line.urgent) for line in told.decisions] == [(4600, False)]


def test_the_report_begins_where_the_last_mail_ended(report):
    def two_days(tx):
        mailed(tx, "2026-11-20", NOW - timedelta(days=3))
        found(tx, a_run(tx, TONIGHT - timedelta(days=2)), "opted_out_by_hand", range(7))
        found(tx, a_run(tx, TONIGHT - timedelta(days=4)), "opted_out_by_hand", range(7, 9))
        a_run(tx)

    told = report(two_days)
    assert told.since == NOW - timedelta(days=3)
    assert told.people.found == 7


def test_the_trend_tells_a_night_without_a_look_from_a_night_without_drift(report):
    told = report(a_month)
    nights = {night.day: night for night in told.trend}
    assert len(told.trend) == 30
    assert (nights[date(2026, 11, 23)].found, nights[date(2026, 11, 23)].repaired) == (412, 412)
    assert nights[date(2026, 11, 14)].found is None
    eighth = nights[date(2026, 11, 8)]
    assert eighth.found is not None
    assert eighth.found - (eighth.repaired or 0) == 9
    assert report(now=datetime(2026, 11, 23, 4, 1, tzinfo=UTC)).trend == told.trend


def test_the_log_stands_in_the_report_as_it_was_signed(report, intake):
    told = report(a_run)
    with intake.db.read() as tx:
        assert told.checkpoint == intake.store.head(tx)
    assert (told.origin, told.log_size, told.policy_digest) == (ORIGIN, 1, policies().digest)


def test_what_is_open_comes_first_in_the_table(report):
    def mixed(tx):
        run_id = a_run(tx)
        found(tx, run_id, "list_lag_stale", range(3), action="report", state="found", due_at=None)
        found(tx, run_id, "opted_out_by_hand", range(3, 6))
        found(tx, run_id, "complaint_not_in_crm", range(6, 8), state="failed")

    rows = report(mixed).rows
    assert [row.state for row in rows] == ["failed"] * 2 + ["found"] * 3 + ["repaired"] * 3
    assert all(row.person.startswith("p-") for row in rows)


def test_a_product_that_was_left_out_needs_action_and_says_why(report):
    told = report(lambda tx: tripped(tx, a_run(tx), "campaigns", "all"))
    assert told.verdict is Verdict.ACTION
    assert told.decisions[0].title == "Products that a run could not believe"
    (one,) = told.plans.tripped
    assert (one.product, one.left_out, one.reason) == (
        "Campaigns",
        True,
        "the refused canary reads granted in Campaigns",
    )


def test_a_breaker_that_lets_nobody_go_is_told_without_alarm(report):
    told = report(lambda tx: tripped(tx, a_run(tx), "crm", "permissions", "re-permissions"))
    assert told.verdict is Verdict.IN_ORDER
    assert [one.left_out for one in told.plans.tripped] == [False]


def test_breakers_of_earlier_nights_are_not_told_again(report):
    told = report(
        lambda tx: tripped(tx, a_run(tx), "crm", "all"), lambda tx: mailed(tx, "2026-11-22", TONIGHT)
    )
    assert told.plans.tripped == ()


def test_plans_that_wait_and_stops_that_somebody_undoes_are_told_with_who(report):
    def arranged(tx):
        run_id = a_run(tx)
        found(tx, run_id, "complaint_not_in_crm", range(500, 502), state="contested")
        a_plan(tx, run_id, permits=3, contested=2)

    told = report(arranged)
    assert [(one.people, one.approved, one.needed) for one in told.plans.waiting] == [(3, 0, 1)]
    assert told.plans.undoers == (("Petra Lindqvist", 2),)
    assert next((one.title, one.count, one.urgent) for one in told.decisions) == (
        "Stops that somebody undoes again and again",
        2,
        True,
    )


def test_the_mail_tells_how_it_stands_with_those_outside(report):
    def quiet(tx):
        attestors.enroll(tx, Kind.AUTHORITY, ["tsa"], NOW - timedelta(days=9))
        attestors.succeeded(tx, Kind.AUTHORITY, "tsa", 3, NOW - timedelta(hours=2))

    def late(tx):
        attestors.succeeded(tx, Kind.AUTHORITY, "tsa", 3, NOW - timedelta(days=1, hours=1))

    def silent(tx):
        attestors.succeeded(tx, Kind.AUTHORITY, "tsa", 3, NOW - timedelta(days=3))
        attestors.failed(tx, Kind.AUTHORITY, "tsa", NOW, "no answer came (ConnectError)")

    assert outside(report()) == "No witness and no time-stamping authority attests the ledger from outside."
    assert outside(report(quiet)) == ("On time outside: 1 attestor, last on 23 November at 02:00 UTC.")
    assert outside(report(late)).startswith("Amber: for more than ten minutes, the time-stamping authority")
    told = outside(report(silent))
    assert told.startswith("RED: for more than a day")
    assert told.endswith("its last word: 20 November at 04:00 UTC. Why: no answer came (ConnectError).")
