"""Every rule that was found stands in a file, with its number, its confidence and where it was read.

`tests/vectors/law.json` is what was found, row by row: the mark is V (read in the law's own text), V2 (in
a secondary source) or M (from memory). One row may be several rules.
"""

import json
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path

import msgspec
import pytest

from service import policy
from service.policy import PolicySet
from service.policy.law import Deadline, Expiry
from service.settings import HERE

FOUND = json.loads((Path(__file__).parent.parent / "vectors" / "law.json").read_text())
SHIPPED = policy.load(HERE / "policies")
RULES = {rule.id: rule for law in SHIPPED.jurisdictions.values() for rule in law.rules}
CONFIDENCE = {"V": "primary", "V2": "secondary", "M": "memory"}
MEMORY = [rule for rule in RULES.values() if rule.confidence == "memory"]


@pytest.fixture(scope="module")
def signed() -> PolicySet:
    """The shipped set with every rule switched on and signed."""
    laws = {}
    for code, law in SHIPPED.jurisdictions.items():
        rules = tuple(
            msgspec.structs.replace(one, status="active", verified_by="A. Counsel") for one in law.rules
        )
        deadlines = tuple(one for one in rules if isinstance(one, Deadline))
        laws[code] = msgspec.structs.replace(law, rules=rules, deadlines=deadlines)
    return msgspec.structs.replace(SHIPPED, jurisdictions=laws)


@pytest.mark.parametrize("row", [pytest.param(row, id=row["id"]) for row in FOUND])
def test_what_was_found_is_a_rule_with_its_numbers(row):
    for name, numbers in row["rules"].items():
        rule = RULES[name]
        told = {field: getattr(rule, field) for field in numbers}
        assert {
            field: value if isinstance(value, int | float) else str(value) for field, value in told.items()
        } == (numbers)
        assert rule.law
        assert rule.citation


def test_no_rule_ships_that_was_not_found():
    assert RULES.keys() == {name for row in FOUND for name in row["rules"]}


def test_words_that_were_read_are_kept_by_their_hash():
    read = sha256(b"presumed consents of which no references are kept").hexdigest()
    assert RULES["eu.gdpr.no_reference_no_consent"].quote_hash == f"sha256:{read}"


def test_each_rule_says_how_it_was_read():
    wrong = {
        name
        for row in FOUND
        for name in row["rules"]
        if row["mark"] in CONFIDENCE and RULES[name].confidence != CONFIDENCE[row["mark"]]
    }
    assert wrong == set()


def test_what_is_known_from_memory_alone_sets_permits_demands_and_ends_nothing(signed):
    names = {rule.id for rule in MEMORY}
    assert len(names) > 20
    for place in (*signed.jurisdictions, "unknown"):
        rules = signed.rules("marketing", place)
        clocks = [*rules.express, *(clock for clocks in rules.implied.values() for clock in clocks)]
        assert not any(clock.counts for clock in clocks if clock.rule in names)
        assert names.isdisjoint(proof.rule for proof in rules.proofs if proof.counts)
        assert rules.double_opt_in_rule not in names
        ends = signed.deadlines(datetime(2026, 6, 1, tzinfo=UTC), place, address=None)
        assert names.isdisjoint(rule.id for _, rule in ends)


@pytest.mark.parametrize("rule", [pytest.param(one, id=one.id) for one in MEMORY])
def test_a_rule_from_memory_has_an_example_in_which_it_warns_and_none_in_which_it_permits(rule):
    answers = {example.expect for example in rule.tests}
    assert "warns" in answers
    permits = isinstance(rule, Expiry) and rule.basis == "implied"
    assert not (permits and "may_mail" in answers)
