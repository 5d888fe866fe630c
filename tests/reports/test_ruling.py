"""What another set would change, before it is switched on: who, which clocks, at what speed."""

import secrets
import shutil
import time
from contextlib import closing
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import insert, update

from service import policy
from service.consent import Provenance
from service.db import CHUNK, Database, change, happening, insert_rows, subject, task
from service.ledger.store import LOG_ID
from service.reports.ruling import difference
from service.settings import HERE
from tests import running
from tests.policy.switching import switch_on
from tests.running import claim, withdrawal

NOW = datetime.now(UTC)
HOUR = timedelta(hours=1)


@pytest.fixture
def intake(sqlite_url):
    with closing(Database(sqlite_url)) as database, running.start(database) as intake:
        yield intake


@pytest.fixture
def anywhere(database):
    """For what asks the store in a way of its own."""
    with running.start(database) as intake:
        yield intake


@pytest.fixture
def folder(tmp_path):
    return shutil.copytree(HERE / "policies", tmp_path / "policies")


def changed(folder, name: str, old: str, new: str) -> policy.PolicySet:
    file = folder / name
    assert old in file.read_text()
    file.write_text(file.read_text().replace(old, new, 1))
    return policy.load(folder)


def compared(intake, new, *, old=None, at=None):
    with intake.db.read() as tx:
        return difference(tx, intake, old or intake.policy, new, at=at or datetime.now(UTC))


def purchase(address: str, days: int, country: str | None):
    evidence = {
        "basis": "implied",
        "fact": "purchase",
        "fact_at": f"{NOW - timedelta(days=days):%Y-%m-%d}",
        "source_system": "shop",
    }
    bought = NOW - timedelta(days=days)
    told = {"country": country, "occurred_at": bought, "provenance": Provenance.IMPORT}
    return claim(address, evidence=evidence, **told)


def test_the_same_rules_change_nobody(intake, folder):
    intake.record(
        [claim("a@acme.example"), withdrawal("b@acme.example"), purchase("c@acme.example", 9, "CA")]
    )
    found = compared(intake, changed(folder, "enforcement.toml", "# How strict", "# Exactly how strict"))
    assert found.old != found.new
    assert (found.people, found.withdrawals, found.turned, found.moved) == (3, 1, [], [])


def test_it_names_who_would_become_mailable_and_by_which_rule(anywhere, folder):
    told = [
        purchase("a@acme.example", 30, "Canada"),
        purchase("b@acme.example", 800, "Canada"),
        purchase("c@acme.example", 30, "France"),
        purchase("d@acme.example", 30, None),
        purchase("e@shop.ca", 30, None),
    ]
    recorded = [one.subject for one in anywhere.record(told)]
    switch_on(folder, "ca.casl.implied_purchase")
    found = compared(anywhere, policy.load(folder))
    assert {one.subject for one in found.turned} == {recorded[0], recorded[4]}
    assert {(one.mailable, one.rule) for one in found.turned} == {(True, "ca.casl.implied_purchase")}
    assert found.counts == {("marketing", True): 2}


def test_it_names_who_would_no_longer_be_mailable(intake, folder):
    told = [claim("a@firma.de"), claim("b@acme.example", country="US"), claim("c@acme.example")]
    recorded = [one.subject for one in intake.record(told)]
    switch_on(folder, "de.doi.burden")
    found = compared(intake, policy.load(folder))
    assert {one.subject for one in found.turned} == {recorded[0], recorded[2]}
    assert {(one.mailable, one.rule) for one in found.turned} == {(False, "de.doi.burden")}
    assert all("not yet confirmed" in one.after for one in found.turned)


def test_both_ways_are_told_apart(intake, folder):
    intake.record([claim("a@acme.example")])
    stricter = changed(folder, "enforcement.toml", 'weakest_grade = "C"', 'weakest_grade = "B"')
    [forwards] = compared(intake, stricter).turned
    [backwards] = compared(intake, intake.policy, old=stricter).turned
    assert (forwards.mailable, backwards.mailable) == (False, True)


def test_a_purpose_that_the_new_set_does_not_know_mails_nobody(intake, folder):
    intake.record([claim("a@acme.example")])
    for name in ("purposes.toml", "zoho.toml"):
        file = folder / name
        file.write_text(
            file.read_text().replace('"marketing"', '"news"').replace("purposes.marketing", "purposes.news")
        )
    found = compared(intake, policy.load(folder))
    assert [(one.purpose, one.mailable) for one in found.turned] == [("marketing", False)]


def test_it_says_which_clocks_would_be_late(anywhere, folder):
    on_time, late, elsewhere = anywhere.record(
        [
            withdrawal(f"{name}@acme.example", country=country)
            for name, country in (("a", "US"), ("b", "US"), ("c", "CA"))
        ]
    )
    with anywhere.db.begin() as tx:
        mine = task.c.cause_idx == on_time.index
        tx.execute(update(task).where(mine).values(state="done", stopped_at=NOW + HOUR / 2))
    quick = changed(folder, "jurisdictions/us.toml", "business_days = 10", "hours = 1")
    found = compared(anywhere, quick, at=NOW + 2 * HOUR)
    assert {one.index for one in found.moved} == {on_time.index, late.index}
    assert [one.index for one in found.newly_late] == [late.index]
    assert found.newly_late[0].rule == "us.canspam.optout_deadline"
    assert elsewhere.index not in {one.index for one in found.moved}


def test_a_withdrawal_that_no_task_carried_has_its_clock_too(anywhere, folder):
    seen = {"provenance": Provenance.OBSERVED, "country": "US", "enforce": False}
    [late, soon, over] = anywhere.record(
        [
            withdrawal("a@acme.example", occurred_at=NOW - 5 * HOUR, received_at=NOW, **seen),
            withdrawal("b@acme.example", occurred_at=NOW - HOUR / 2, received_at=NOW, **seen),
            withdrawal("c@acme.example", occurred_at=NOW - 5 * HOUR, received_at=NOW, **seen),
        ]
    )
    anywhere.record([claim("c@acme.example")])
    quick = changed(folder, "jurisdictions/us.toml", "business_days = 10", "hours = 1")
    found = compared(anywhere, quick, at=NOW + 2 * HOUR)
    assert found.withdrawals == 2
    assert {one.index for one in found.moved} == {late.index, soon.index}
    assert [one.index for one in found.newly_late] == [late.index]  # both products stood so when we saw it
    assert over.index not in {one.index for one in found.moved}


def test_what_a_run_has_still_to_carry_out_is_not_carried_out(anywhere, folder):
    seen = {"provenance": Provenance.OBSERVED, "country": "US", "enforce": False}
    [told] = anywhere.record([withdrawal("a@acme.example", received_at=NOW, **seen)])
    written = {"run_id": 1, "address_index": b"a", "sub": told.subject, "kind": "k", "state": "planned"}
    with anywhere.db.begin() as tx:
        for target, at in (("campaigns", NOW), ("crm:Leads/1", None)):
            tx.execute(insert(change).values(target=target, cause_idx=told.index, written_at=at, **written))
    quick = changed(folder, "jurisdictions/us.toml", "business_days = 10", "hours = 1")
    assert len(compared(anywhere, quick, at=NOW + 2 * HOUR).newly_late) == 1


def test_a_hundred_thousand_people_take_seconds(intake, folder):
    """A tenth of them is measured, and may take a tenth of the time."""
    people = 10_000
    switch_on(folder, "de.doi.burden")
    new = policy.load(folder)
    _plant(intake, people)
    began = time.process_time()
    found = compared(intake, new)
    seconds = time.process_time() - began
    assert found.people == people > CHUNK
    assert len(found.turned) == people // 2
    assert found.withdrawals == people // 10
    asked, left = "permitted -> pending by de.doi.burden", "permitted -> refused"
    assert found.reasons == {(False, asked): people * 45 // 100, (False, left): people * 5 // 100}
    assert seconds < 3  # of a processor, whoever else is at work


def _plant(intake, people: int) -> None:
    """Write what intake derives from a form's consent, for many people at once."""
    subs = [secrets.token_bytes(32) for _ in range(people)]
    known = {"r": b"", "version": 1, "opened_idx": 0, "address": b""}
    persons = [{"sub": sub, "address_index": sub, "dk": sub, **known} for sub in subs]
    events = [
        {
            "log_id": LOG_ID,
            "idx": 10 + number,
            "sub": sub,
            "category": "consent.granted",
            "purpose": "marketing",
            "occurred_at": NOW,
            "recorded_at": NOW,
            "source": "form:newsletter",
            "provenance": "live",
            "grade": "C",
            "country": "DE" if number % 2 else "US",
        }
        for number, sub in enumerate(subs)
    ]
    with intake.db.begin() as tx:
        insert_rows(tx, subject, persons)
        insert_rows(tx, happening, events)
        insert_rows(tx, happening, [_left(row, people) for row in events[: people // 10]])


def _left(row: dict, people: int) -> dict:
    """Return the withdrawal of somebody, years before they agreed, so that it changes nobody's standing."""
    long_ago = NOW - 4000 * HOUR
    told = {"occurred_at": long_ago, "recorded_at": long_ago, "category": "consent.withdrawn"}
    return {**row, **told, "idx": row["idx"] + people}


def test_it_names_whose_consent_came_without_what_the_new_set_demands(anywhere, folder):
    spoilt = {**running.NOTICE, "bundled": True}
    told = [
        claim("a@firma.de", evidence=spoilt),
        claim("b@firma.de"),
        claim("c@shop.ca", evidence=spoilt),
    ]
    recorded = [one.subject for one in anywhere.record(told)]
    switch_on(folder, "eu.gdpr.distinguish")
    [found] = compared(anywhere, policy.load(folder)).turned
    assert (found.subject, found.mailable, found.rule) == (recorded[0], False, "eu.gdpr.distinguish")
