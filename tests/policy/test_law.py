"""Every rule that ships answers its own examples; who says what of rules, and what each kind may do."""

from datetime import UTC, date, datetime

import msgspec
import pytest

from service import policy
from service.policy.calendars import Calendar
from service.policy.examples import answer_to
from service.policy.law import Barrier, Deadline, Example, Expiry
from service.settings import HERE

SHIPPED = policy.load(HERE / "policies")
RULES = [(law, rule) for law in SHIPPED.jurisdictions.values() for rule in law.rules]
EXAMPLES = [
    pytest.param(law, rule, example, id=f"{rule.id}-{number}")
    for law, rule in RULES
    for number, example in enumerate(rule.tests)
]
TOLD = {"id": "x", "law": "l", "citation": "c", "confidence": "primary", "status": "active"}


@pytest.mark.parametrize(("law", "rule", "example"), EXAMPLES)
def test_a_rule_answers_its_own_example(law, rule, example):
    assert answer_to(rule, example, law.days) == example.expect


def test_the_jurisdictions_of_the_facts_are_all_there():
    wanted = {
        "US",
        "US-CA",
        "EU",
        "DE",
        "FR",
        "GB",
        "CA",
        "AU",
        "NZ",
        "SG",
        "JP",
        "BR",
        "KR",
        "IN",
        "mailbox",
    }
    assert SHIPPED.jurisdictions.keys() == wanted


def test_every_kind_of_rule_is_in_use():
    kinds = {type(rule).__name__ for _, rule in RULES}
    assert kinds == {"Deadline", "Expiry", "Evidence", "Barrier", "Retention", "Threshold", "Label"}


@pytest.mark.parametrize("rule", [pytest.param(rule, id=rule.id) for _, rule in RULES])
def test_a_shipped_rule_is_a_draft_with_an_example_and_a_citation(rule):
    assert rule.status == "draft"
    assert rule.tests
    assert rule.parameter
    assert rule.citation


def test_a_rule_from_memory_warns_whatever_its_status():
    rule = Barrier(forbids=("login",), **{**TOLD, "confidence": "memory"})
    assert not rule.in_force
    assert answer_to(rule, Example(given={"asks": ["login"]}, expect=""), Calendar()) == "warns"
    assert answer_to(rule, Example(given={"asks": []}, expect=""), Calendar()) == "clear"


def test_a_rule_is_law_from_its_first_day_until_the_day_before_its_end():
    rule = Deadline(hours=1, effective_from=date(2026, 2, 5), effective_until=date(2026, 3, 1), **TOLD)
    days = [date(2026, 2, 4), date(2026, 2, 5), date(2026, 2, 28), date(2026, 3, 1)]
    assert [rule.effective(day) for day in days] == [False, True, True, False]


def test_a_deadline_that_was_not_yet_law_sets_none():
    us = SHIPPED.jurisdictions["US"]
    later = msgspec.structs.replace(us.deadlines[0], id="later", hours=1, business_days=None)
    later = msgspec.structs.replace(later, effective_from=date(2027, 1, 1))
    changed = msgspec.structs.replace(us, deadlines=(*us.deadlines, later))
    found = msgspec.structs.replace(SHIPPED, jurisdictions={**SHIPPED.jurisdictions, "US": changed})
    ids = [found.stop_by(datetime(year, 6, 1, tzinfo=UTC), "US")[1].id for year in (2026, 2027)]
    assert ids == ["us.canspam.optout_deadline", "later"]


@pytest.mark.parametrize("facts", [{"basis": "implied"}, {"basis": "express", "facts": ("purchase",)}])
def test_an_implied_consent_names_its_facts_and_an_express_one_none(facts):
    with pytest.raises(ValueError, match="names the facts"):
        Expiry(**facts, **TOLD)


def test_what_a_deadline_is_for_decides_whether_it_is_a_withdrawals():
    california = SHIPPED.jurisdictions["US-CA"]
    assert [one.id for one in california.deadlines] == ["us.ca.optout_deadline"]
    assert california.counted == ()
    assert SHIPPED.stop_by(datetime(2026, 6, 1, tzinfo=UTC), "US-CA")[1].id == "us.canspam.optout_deadline"
