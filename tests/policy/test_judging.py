"""What the rules of a place make of the fold and of what a grant must bring; all of it from the files."""

import shutil
from datetime import date

import pytest

from service import policy
from service.policy import PolicySet
from service.settings import HERE
from tests.policy.switching import switch_on

SHIPPED = policy.load(HERE / "policies")


def loaded(tmp_path, *rules: str) -> PolicySet:
    folder = shutil.copytree(HERE / "policies", tmp_path / "policies")
    for rule in rules:
        switch_on(folder, rule)
    return policy.load(folder)


def test_drafts_permit_nothing_and_demand_nothing():
    rules = SHIPPED.rules("marketing", "CA")
    assert not any(clock.counts for clocks in rules.implied.values() for clock in clocks)
    assert [p.rule for p in SHIPPED.rules("marketing", "DE").proofs if p.counts] == [
        "enforcement.forbidden_evidence"
    ]
    assert not SHIPPED.rules("marketing", "DE").double_opt_in
    assert SHIPPED.rules("marketing", "DE").double_opt_in_warning == "de.doi.burden"


def test_a_rule_that_is_switched_on_sets_its_clock(tmp_path):
    [clock] = loaded(tmp_path, "ca.casl.implied_purchase").rules("marketing", "CA").implied["purchase"]
    assert (clock.rule, clock.months, clock.counts) == ("ca.casl.implied_purchase", 24, True)


def test_a_rule_from_memory_permits_nothing_even_when_switched_on(tmp_path):
    found = loaded(tmp_path, "de.uwg.optin").rules("marketing", "DE")
    assert [(c.rule, c.counts) for c in found.implied["purchase"]] == [("de.uwg.optin", False)]


def test_the_nearest_law_that_speaks_of_a_fact_holds():
    assert [c.rule for c in SHIPPED.rules("marketing", "DE").implied["purchase"]] == ["de.uwg.optin"]
    assert [c.rule for c in SHIPPED.rules("marketing", "FR").implied["purchase"]] == [
        "eu.eprivacy.soft_optin"
    ]


def test_where_the_country_is_not_known_nothing_implied_counts_and_every_demand_holds(tmp_path):
    found = loaded(tmp_path, "ca.casl.implied_purchase", "de.doi.burden", "br.lgpd.consent")
    rules = found.rules("marketing")
    assert rules.implied == {}
    assert (rules.double_opt_in, rules.double_opt_in_rule) == (True, "de.doi.burden")
    assert "br.lgpd.consent" in {p.rule for p in rules.proofs if p.counts}


def test_a_demand_for_double_opt_in_holds_where_it_is_law(tmp_path):
    found = loaded(tmp_path, "de.doi.burden")
    asked = {code: found.rules("marketing", code).double_opt_in for code in ("DE", "FR", "US", "unknown")}
    assert asked == {"DE": True, "FR": False, "US": False, "unknown": True}


def test_evidence_that_a_law_demands_is_demanded_there_and_names_the_rule(tmp_path):
    folder = shutil.copytree(HERE / "policies", tmp_path / "policies")
    law = folder / "jurisdictions" / "jp.toml"
    law.write_text(
        law.read_text().replace('demands = ["notice_sha256", "control"]', 'demands = ["language"]', 1)
    )
    switch_on(folder, "jp.email.optin_record")
    found = policy.load(folder)
    [proof] = [p for p in found.rules("marketing", "JP").proofs if p.rule == "jp.email.optin_record"]
    assert (proof.demands, proof.counts) == ({"language"}, True)
    assert not any("language" in p.demands for p in found.rules("marketing", "US").proofs)


def test_a_grant_without_what_the_house_asks_for_is_refused_and_the_law_is_not_asked(tmp_path):
    found = loaded(tmp_path, "eu.gdpr.consent_def")
    assert found.demands("marketing") == {
        "notice_sha256": "enforcement.required_evidence",
        "notice_version": "enforcement.required_evidence",
        "page_url": "forms.newsletter",
        "control": "forms.newsletter",
    }


def test_a_form_asks_for_what_it_says_and_for_what_the_law_of_the_places_it_serves_demands(tmp_path):
    folder = shutil.copytree(HERE / "policies", tmp_path / "policies")
    file = folder / "purposes.toml"
    file.write_text(
        file.read_text().replace(
            'required_evidence = ["page_url", "control"]', 'required_evidence = []\nserves = ["DE"]'
        )
    )
    day = date(2026, 3, 1)
    assert policy.load(folder).form_demands("newsletter", day) == {}
    switch_on(folder, "de.doi.log_whole")
    switch_on(folder, "eu.gdpr.consent_def")
    switch_on(folder, "br.lgpd.consent")
    asked = policy.load(folder).form_demands("newsletter", day)
    assert asked == {
        "notice_sha256": "de.doi.log_whole",
        "page_url": "de.doi.log_whole",
        "control": "eu.gdpr.consent_def",
    }


def test_a_form_that_serves_all_places_asks_for_what_any_law_demands(tmp_path):
    asked = loaded(tmp_path, "br.lgpd.consent").form_demands("newsletter", date(2026, 3, 1))
    assert asked["notice_sha256"] == "br.lgpd.consent"


def test_what_was_not_law_on_the_day_is_not_asked_of_a_form(tmp_path):
    folder = shutil.copytree(HERE / "policies", tmp_path / "policies")
    law = folder / "jurisdictions" / "br.toml"
    law.write_text(
        law.read_text().replace(
            'id = "br.lgpd.consent"', 'id = "br.lgpd.consent"\neffective_from = 2020-09-18'
        )
    )
    switch_on(folder, "br.lgpd.consent")
    found = policy.load(folder)
    before, after = (found.form_demands("newsletter", date(2020, 9, day)) for day in (17, 18))
    assert ("notice_sha256" in before, "notice_sha256" in after) == (False, True)


@pytest.mark.parametrize("country", ["DE", "FR"])
def test_a_country_has_the_choices_of_what_it_lies_within(tmp_path, country):
    folder = shutil.copytree(HERE / "policies", tmp_path / "policies")
    file = folder / "enforcement.toml"
    file.write_text(
        file.read_text() + '\n[without_consent.EU]\nunknown = "stop"\npending = "leave"\nexpired = "stop"\n'
    )
    found = policy.load(folder).enforcement
    assert (found.choice(country, "unknown"), found.choice("US", "unknown")) == ("stop", "report")


def test_rules_name_the_digest_of_their_set():
    assert SHIPPED.rules("marketing", "CA").policy == SHIPPED.digest.hex()
