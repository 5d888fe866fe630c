"""Withdrawals within seconds of a sending are counted for legal, by the policy's own number."""

from datetime import timedelta
from html import unescape

import msgspec
import pytest
from sqlalchemy import insert

from service.consent import Provenance
from service.db import mailing_scan
from service.reports.drift import drift_report
from service.reports.drift.swift import swift
from service.reports.drift.thresholds import thresholds
from service.reports.render import render
from tests.reports.nights import a_run
from tests.running import claim, policies, withdrawal

SWIFT = "Withdrawals within seconds of a sending"


@pytest.fixture
def sent(intake):
    """The moment at which a campaign went out to three people."""
    intake.record(
        [claim(f"p{n}@example.org", occurred_at=intake.now() - timedelta(days=1)) for n in range(3)]
    )
    at = intake.now() - timedelta(seconds=40)
    with intake.db.begin() as tx:
        row = {"campaign_key": "c1", "sent_at": at, "scanned_at": at, "recipients": 3}
        tx.execute(insert(mailing_scan).values(**row))
    return at


def counted(intake, seconds=30):
    with intake.db.read() as tx:
        now = intake.now() + timedelta(seconds=1)
        return swift(tx, now - timedelta(days=1), now, seconds)


def test_whoever_withdrew_within_seconds_of_the_sending_is_counted_once(intake, sent):
    intake.record(
        [
            withdrawal("p0@example.org", occurred_at=sent + timedelta(seconds=4)),
            withdrawal("p0@example.org", occurred_at=sent + timedelta(seconds=5)),
            withdrawal("p1@example.org", occurred_at=sent + timedelta(seconds=35)),
            withdrawal("p2@example.org", occurred_at=sent - timedelta(seconds=1)),
        ]
    )
    assert counted(intake) == 1
    assert counted(intake, seconds=36) == 2
    assert counted(intake, seconds=3) == 0


def test_an_imported_withdrawal_tells_nothing_about_a_link(intake, sent):
    at = sent + timedelta(seconds=4)
    intake.record([withdrawal("p0@example.org", occurred_at=at, provenance=Provenance.IMPORT)])
    assert counted(intake) == 0


def test_the_nightly_report_flags_them_and_they_are_stopped_all_the_same(intake, sent):
    intake.record([withdrawal("p0@example.org", occurred_at=sent + timedelta(seconds=4))])
    now = intake.now() + timedelta(seconds=1)
    with intake.db.begin() as tx:
        a_run(tx, now - timedelta(hours=1))
        report = drift_report(tx, policies(), now=now)
        sub = intake.vault.find(tx, "p0@example.org")
        assert intake.standings(tx, sub, now)[0].must_stop
    [line] = [one for one in report.decisions if one.title == SWIFT]
    assert (line.count, line.urgent) == (1, False)


def test_every_threshold_that_is_shown_is_the_policys_own():
    rules = policies().enforcement
    told = dict(thresholds(policies()))
    assert (
        told["A dead mailbox"] == f"{rules.soft_bounce_limit} soft bounces in {rules.soft_bounce_days} days"
    )
    other = msgspec.structs.replace(rules, soft_bounce_limit=7, swift_seconds=11)
    changed = dict(thresholds(msgspec.structs.replace(policies(), enforcement=other)))
    assert changed["A dead mailbox"].startswith("7 soft bounces")
    assert "11 seconds" in changed["A scanner's withdrawal"]
    assert changed["Evidence of a consent"] == told["Evidence of a consent"]


def test_the_mail_shows_every_threshold_in_both_its_parts(intake):
    with intake.db.begin() as tx:
        a_run(tx, intake.now() - timedelta(hours=1))
        letter = render(drift_report(tx, policies(), now=intake.now()))
    for part in (letter.text, unescape(letter.html)):
        shown = " ".join(part.split())
        assert [told for told in thresholds(policies()) if ": ".join(told) not in shown] == []
