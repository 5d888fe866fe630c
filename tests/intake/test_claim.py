"""What a claim must say, and how good its evidence is."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone

import pytest

from service.consent import Category, Provenance
from service.errors import Malformed
from service.intake.claim import Claim, grade, require_sense
from tests import running

NOW = datetime(2026, 3, 1, 9, 15, tzinfo=UTC)
SHOWN = running.NOTICE


def told(**changes: object) -> Claim:
    return running.claim(**{"received_at": NOW, **changes})


def refused(claim: Claim) -> str | None:
    with pytest.raises(Malformed) as error:
        require_sense(claim, {"marketing"})
    return error.value.field


def test_a_claim_that_makes_sense_is_accepted():
    require_sense(told(), {"marketing"})
    require_sense(told(purpose=None, occurred_at=NOW - timedelta(days=900)), {"marketing"})


def test_a_claim_names_its_person_exactly_once():
    assert refused(told(address=None)) == "email"
    assert refused(told(subject=bytes(32))) == "email"
    require_sense(told(address=None, subject=bytes(32)), {"marketing"})


def test_only_a_look_up_may_be_about_nobody():
    require_sense(told(address=None, category=Category.ACCESS, purpose=None), {"marketing"})


def test_a_purpose_must_be_declared():
    assert refused(told(purpose="astrology")) == "purpose"


@pytest.mark.parametrize(
    "moment",
    [
        datetime(2026, 3, 1),  # noqa: DTZ001  # the point of the test
        NOW + timedelta(minutes=6),
        datetime(1, 1, 1, tzinfo=UTC),
        datetime(1, 1, 1, tzinfo=timezone(timedelta(hours=14))),
        datetime(9999, 12, 31, 23, tzinfo=timezone(-timedelta(hours=12))),
    ],
)
def test_a_time_without_an_offset_or_outside_of_reason_is_refused(moment):
    assert refused(told(occurred_at=moment)) == "occurred_at"


@pytest.mark.parametrize("moment", [datetime(2026, 3, 1), datetime(9999, 12, 31, tzinfo=UTC)])  # noqa: DTZ001  # so
def test_the_end_of_an_implied_consent_is_a_time_too(moment):
    assert refused(told(valid_until=moment)) == "valid_until"


def test_a_sources_clock_may_run_a_little_ahead():
    require_sense(told(occurred_at=NOW + timedelta(minutes=4)), {"marketing"})


@pytest.mark.parametrize("source", ["a\nb", "a\x00", "\ud800", "x" * 201, "a\x1b[31m"])
def test_a_source_is_a_short_printable_name(source):
    assert refused(told(source=source)) == "source"


@pytest.mark.parametrize("name", ["key", "address", "country"])
def test_half_of_a_surrogate_pair_is_refused_by_field(name):
    assert refused(told(**{name: "x\ud800"})) == name


def test_a_source_counts_from_zero_upwards():
    assert refused(told(source_number=-1)) == "source_number"
    require_sense(told(source_number=0), {"marketing"})


def test_the_time_of_an_event_is_its_receipt_unless_the_source_knows_better():
    assert told().happened_at == NOW
    there = datetime(2026, 3, 1, 8, 0, tzinfo=timezone(timedelta(hours=2)))
    assert told(occurred_at=there).happened_at == datetime(2026, 3, 1, 6, 0, tzinfo=UTC)
    assert told(occurred_at=there).happened_at.tzinfo is UTC


GRADES = [
    ("A", told(evidence={**SHOWN, "identity_check": "mail loop"})),
    ("A", told(category=Category.CONFIRMED)),
    ("B", told(evidence={**SHOWN, "identity_check": "login"})),
    ("C", told()),
    ("C", told(evidence={**SHOWN, "identity_check": "a hunch"})),
    ("D", told(evidence={**SHOWN, "control": ""})),
    ("D", told(evidence={})),
    ("D", told(provenance=Provenance.IMPORT, occurred_at=NOW)),
    ("E", told(provenance=Provenance.OBSERVED)),
    ("F", told(provenance=Provenance.IMPORT)),
    ("F", told(provenance=Provenance.BACKFILL, evidence={}, occurred_at=NOW)),
]


@pytest.mark.parametrize(("expected", "claim"), GRADES)
def test_evidence_is_graded_by_what_was_shown_and_checked_and_by_who_saw_it(expected, claim):
    assert grade(claim) == expected


@pytest.mark.parametrize("missing", sorted(SHOWN))
def test_evidence_that_lacks_anything_that_was_shown_is_not_enough(missing):
    shown = {name: value for name, value in SHOWN.items() if name != missing}
    assert grade(told(evidence=shown)) == "D"


@pytest.mark.parametrize("odd", [["mail loop"], {"a": 1}, 7, None, True])
def test_odd_evidence_is_graded_too(odd):
    assert grade(replace(told(), evidence={**SHOWN, "identity_check": odd})) == "C"
