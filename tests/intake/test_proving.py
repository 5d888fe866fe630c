"""Rules of evidence at work in the ledger: recorded, judged where the person is, and kept with the row."""

import shutil
from contextlib import closing
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import select

from service import policy
from service.consent import Category, Provenance
from service.db import Database, happening
from service.errors import Tampered
from service.intake.policies import adopt, refold
from service.reports.history import history
from service.settings import HERE
from tests import running
from tests.policy.switching import switch_on
from tests.running import NOTICE, claim, one_standing, withdrawal
from tests.scrubbing import behind_the_walls, findings

from .test_places import put

ANA, CAL = "ana@acme.example", "cal@acme.example"
NOW = datetime.now(UTC)
PROVED = NOTICE | {"notice_version": "1"}
BARE = {"notice_sha256": NOTICE["notice_sha256"], "page_url": NOTICE["page_url"], "control": ""}


@pytest.fixture(scope="module")
def signed(tmp_path_factory) -> policy.PolicySet:
    """The shipped set with what Brazil, Britain, California and the union ask of evidence switched on."""
    folder = shutil.copytree(HERE / "policies", tmp_path_factory.mktemp("policies") / "policies")
    back = ("uk.ico.no_reask", "us.ca.reask_wait", "us.ca.optin_after_optout")
    for rule in (*back, "br.lgpd.consent", "eu.gdpr.distinguish"):
        switch_on(folder, rule)
    enforcement = folder / "enforcement.toml"
    enforcement.write_text(enforcement.read_text().replace('weakest_grade = "C"', 'weakest_grade = "F"', 1))
    return policy.load(folder)


@pytest.fixture
def proving(database, signed):
    with running.start(database, policy=signed) as intake:
        yield intake


@pytest.fixture
def on_file(sqlite_url, signed):
    """The same for what does not depend on the store."""
    with closing(Database(sqlite_url)) as database, running.start(database, policy=signed) as intake:
        yield intake


def ago(days: int) -> dict[str, datetime]:
    return {"occurred_at": NOW - timedelta(days=days)}


def sealed(intake, index: int) -> dict:
    with intake.db.read() as tx:
        return dict(intake.vault.open_payload(tx, index).fields)


def told(intake, address: str):
    with intake.db.begin() as tx:
        return history(intake, tx, address, at=datetime.now(UTC)).now[0]


@pytest.mark.parametrize("provenance", [Provenance.LIVE, Provenance.IMPORT])
def test_a_consent_without_what_the_law_there_demands_is_recorded_and_permits_nothing(proving, provenance):
    [found] = proving.record([claim(ANA, country="Brazil", evidence=BARE, provenance=provenance, **ago(3))])
    row = one_standing(proving, found.subject)
    assert (row.state, row.rule) == ("unknown", "br.lgpd.consent")
    assert "came without control" in row.reason
    assert found.unmet == ("br.lgpd.consent: it came without control",)
    assert sealed(proving, found.index)["rules_unmet"] == "br.lgpd.consent"
    standing = told(proving, ANA)
    assert (standing.may_mail, standing.rule, standing.reason) == (False, row.rule, row.reason)


def test_a_consent_that_meets_them_permits_and_says_so_in_what_is_sealed(proving):
    [found] = proving.record([claim(ANA, country="Brazil", evidence=PROVED)])
    assert one_standing(proving, found.subject).state == "permitted"
    assert (found.unmet, sealed(proving, found.index)["rules_unmet"]) == ((), "none")
    with proving.db.read() as tx:
        kept = tx.scalars(select(happening.c.brought).where(happening.c.idx == found.index)).one()
    assert kept == "control,notice_sha256,notice_version,page_url"


@pytest.mark.parametrize(
    ("country", "crm", "address", "rule"),
    [
        ("Canada", "Brazil", "ana@loja.br", None),
        (None, "Canada", "ana@loja.br", None),
        (None, "Brazil", "ana@shop.ca", "br.lgpd.consent"),
        (None, None, "ana@loja.br", "br.lgpd.consent"),
        (None, None, "ana@shop.ca", None),
        (None, None, ANA, "br.lgpd.consent"),
    ],
)
def test_the_law_is_that_of_the_event_then_of_crm_then_of_the_domain_and_else_the_strictest(
    on_file, country, crm, address, rule
):
    if crm is not None:
        put(on_file, crm, who=address)
    [found] = on_file.record([claim(address, country=country, evidence=BARE)])
    row = one_standing(on_file, found.subject)
    assert (row.state, row.rule) == (
        ("permitted", "enforcement.weakest_grade") if rule is None else ("unknown", rule)
    )
    assert [one.partition(":")[0] for one in found.unmet] == ([] if rule is None else [rule])


def test_what_the_law_there_forbids_makes_an_implied_consent_none_as_well(on_file):
    fact = {"basis": "implied", "fact": "purchase", "fact_at": "2026-01-31", "bundled": True}
    [found] = on_file.record([claim(ANA, country="Germany", evidence=fact)])
    assert one_standing(on_file, found.subject).rule == "eu.gdpr.distinguish"
    assert found.unmet == ("eu.gdpr.distinguish: it came with bundled",)


def test_a_californian_who_opted_out_comes_back_after_a_year_or_unasked_and_in_two_steps(proving):
    there = {"country": "US-CA", "evidence": PROVED}
    proving.record([withdrawal(CAL, **ago(300)), claim(CAL, **there, **ago(200))])
    first = told(proving, CAL)
    assert (first.state, first.must_stop, first.rule) == ("refused", True, "us.ca.reask_wait")
    unasked = there | {"evidence": PROVED | {"own_initiative": True}}
    [once] = proving.record([claim(CAL, **unasked, **ago(20))])
    second = told(proving, CAL)
    assert (second.may_mail, second.rule) == (False, "us.ca.optin_after_optout")
    assert once.unmet == ()  # by itself it lacks nothing; who opted out before is told to readers alone
    [twice] = proving.record([claim(CAL, category=Category.CONFIRMED, **there, **ago(19))])
    third = told(proving, CAL)
    assert (third.may_mail, third.decided_by) == (True, twice.index)
    assert one_standing(proving, twice.subject).state == "permitted"


def test_a_briton_who_opted_out_comes_back_unasked_and_no_other_way(on_file):
    there = {"country": "United Kingdom", "evidence": PROVED}
    on_file.record([withdrawal(CAL, **ago(900)), claim(CAL, **there, **ago(20))])
    asked = told(on_file, CAL)
    assert (asked.must_stop, asked.rule) == (True, "uk.ico.no_reask")
    on_file.record([claim(CAL, **there | {"evidence": PROVED | {"own_initiative": True}}, **ago(10))])
    assert told(on_file, CAL).may_mail


def test_somebody_elsewhere_comes_back_in_one_step(on_file):
    on_file.record([withdrawal(CAL, **ago(30)), claim(CAL, country="Canada", evidence=PROVED, **ago(20))])
    assert told(on_file, CAL).may_mail


def test_a_refusal_needs_no_evidence(on_file):
    spoilt = {"prechecked": True, "bundled": True}
    [found] = on_file.record([withdrawal(ANA, country="Brazil", evidence=spoilt)])
    assert (one_standing(on_file, found.subject).state, found.unmet) == ("refused", ())
    assert "rules_unmet" not in sealed(on_file, found.index)


def test_what_came_with_a_consent_is_checked_against_what_was_sealed(on_file, sqlite_url, signed):
    [found] = on_file.record([claim(ANA, country="Brazil", evidence=BARE)])
    assert findings(on_file.db) == []
    for forged in ("control,notice_sha256,page_url", None):
        with behind_the_walls(sqlite_url) as intruder:
            intruder.run("UPDATE event SET brought = ? WHERE idx = ?", forged, found.index)
        assert any(f"entry {found.index}" in line for line in findings(on_file.db))
        with pytest.raises(Tampered, match=f"entry {found.index}"):
            told(on_file, ANA)


def test_switching_a_rule_on_judges_what_is_in_the_ledger_and_switching_back_gives_the_same_standing(
    database, signed
):
    with running.start(database) as intake:
        [found] = intake.record([claim(ANA, country="Germany", evidence=PROVED | {"bundled": True})])
        before = one_standing(intake, found.subject)
        assert before.state == "permitted"
        shipped = intake.policy
        rows = []
        for chosen in (signed, shipped):
            adopt(intake, chosen, by="counsel")
            refold(intake, chosen)
            rows.append(one_standing(intake, found.subject))
        assert (rows[0].state, rows[0].rule, rows[0].policy) == (
            "unknown",
            "eu.gdpr.distinguish",
            signed.digest,
        )
        assert rows[1] == before
