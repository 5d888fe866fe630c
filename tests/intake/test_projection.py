"""What follows from an event: standings and tasks, written in its own transaction."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import insert, select

from service.consent import Category, Provenance, State
from service.db import happening, payload, standing, subject, subject_key, task, tick
from service.errors import Malformed
from tests import running
from tests.running import claim, count, one_standing, withdrawal

ANA = "ana@example.org"
HERE = Path(__file__).parent.parent.parent


def test_standing_rows_are_those_of_the_fold(intake):
    intake.record([claim(ANA), withdrawal("bob@example.org"), claim("cy@example.org", evidence={})])
    intake.record([claim("bob@example.org", category=Category.BOUNCE_HARD, purpose=None)])
    with intake.db.read() as tx:
        rows = tx.execute(select(standing)).all()
        assert len(rows) == 3
        for row in rows:
            [found] = intake.standings(tx, row.sub)
            for name in ("state", "reason", "suppressed", "decided_by", "decided_at", "suppressed_by"):
                assert getattr(row, name) == getattr(found, name)
            assert row.must_stop == found.must_stop
    assert sorted(row.state for row in rows) == ["permitted", "refused", "unknown"]


def test_standing_as_of_a_moment_does_not_know_what_came_later(intake):
    start = datetime.now(UTC) + timedelta(hours=1)  # the log never records anything before what it holds
    hour = timedelta(minutes=20)
    [granted] = intake.record([claim(ANA, received_at=start)])
    intake.record([withdrawal(ANA, received_at=start + hour)])
    with intake.db.read() as tx:
        states = [intake.standings(tx, granted.subject, start + n * hour / 2)[0].state for n in range(4)]
    assert states == [State.PERMITTED, State.PERMITTED, State.REFUSED, State.REFUSED]


def test_a_standing_is_current_the_moment_the_receipt_is_there(intake):
    [granted] = intake.record([claim(ANA)])
    assert one_standing(intake, granted.subject).state == "permitted"
    intake.submit(withdrawal(ANA)).result(60)
    assert one_standing(intake, granted.subject).state == "refused"


def test_events_that_say_nothing_about_consent_leave_the_standing_alone(intake):
    [granted] = intake.record([claim(ANA)])
    before = one_standing(intake, granted.subject)
    intake.record([claim(ANA, category=Category.SCANNER_FETCHED)])
    assert one_standing(intake, granted.subject) == before


@pytest.mark.parametrize(
    "category", [Category.WITHDRAWN, Category.REFUSED, Category.BOUNCE_HARD, Category.COMPLAINT]
)
def test_every_stop_becomes_a_task_with_its_deadline(on_sqlite, category):
    told = claim(ANA, category=category, purpose=None, country="United States")
    [found] = on_sqlite.record([told])
    with on_sqlite.db.read() as tx:
        row = tx.execute(select(task)).one()
    due_at, rule = running.policies().stop_by(told.received_at, "US", address=ANA)
    assert (row.sub, row.cause_idx, row.state, row.attempts) == (found.subject, found.index, "open", 0)
    assert row.due_rule == rule.id
    assert abs(row.due_at - due_at) < timedelta(milliseconds=1)


@pytest.mark.parametrize("category", [Category.GRANTED, Category.BOUNCE_SOFT, Category.REQUESTED])
def test_what_stops_nothing_becomes_no_task(on_sqlite, category):
    on_sqlite.record([claim(ANA, category=category)])
    assert count(on_sqlite, task) == 0


def test_a_stop_that_was_read_from_the_products_may_ask_for_no_task(on_sqlite):
    on_sqlite.record([withdrawal(ANA, enforce=False, provenance=Provenance.OBSERVED)])
    assert count(on_sqlite, task) == 0


def test_a_repeated_stop_is_one_task(on_sqlite):
    told = withdrawal(ANA)
    on_sqlite.record([told, running.again(told)])
    assert count(on_sqlite, task) == 1


def test_nothing_derived_is_written_when_the_entries_are_not(on_sqlite):
    with on_sqlite.db.begin() as tx:
        tx.execute(insert(tick).values(job="j", turn="t", taken_at=datetime.now(UTC), taken_by="me"))
    intake = on_sqlite
    intake.record([claim(ANA)])
    sizes = [count(intake, table) for table in (subject, subject_key, payload, happening, standing)]
    [refused] = intake.record([claim("bob@example.org", source="x" * 200, evidence={"a": 2**53})])
    assert isinstance(refused, Malformed)
    assert [count(intake, table) for table in (subject, subject_key, payload, happening, standing)] == sizes
