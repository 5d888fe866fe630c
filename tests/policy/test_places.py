"""Where a person is: the event, then CRM, then the domain; and what holds where nobody knows."""

from datetime import UTC, datetime, timedelta

import pytest

from service import policy
from service.consent import Category, Event
from service.settings import HERE

SHIPPED = policy.load(HERE / "policies")
ATLAS = SHIPPED.atlas
NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


def event(index: int = 1, **more) -> Event:
    at = NOON + timedelta(days=index)
    told = {"category": Category.GRANTED, "purpose": "marketing", "source": "s", **more}
    return Event(index=index, occurred_at=at, recorded_at=at, **told)


@pytest.mark.parametrize(
    ("told", "found", "reason"),
    [
        ({"country": "Canada", "crm": "DE", "hint": "fr"}, "CA", "the event tells the country"),
        ({"country": None, "crm": "DE", "hint": "fr"}, "DE", "CRM tells the country"),
        ({"country": " ", "hint": "fr"}, "FR", "the address ends in .fr"),
        ({"country": "Atlantis", "crm": "DE"}, "unknown", "no rules"),
        ({"crm": "unknown", "hint": "fr"}, "unknown", "different countries"),
        ({"crm": "elsewhere", "hint": "fr"}, "unknown", "CRM tells a country for which there are no rules"),
        ({"crm": "US-CA", "hint": "fr"}, "US-CA", "CRM tells the country"),
        ({"hint": "io"}, "unknown", "ends in .io, for which there are no rules; the strictest hold"),
        ({}, "unknown", "nor the address tells a country; the strictest rules hold"),
    ],
)
def test_the_event_comes_before_crm_and_crm_before_the_domain(told, found, reason):
    place = ATLAS.place(**told)
    assert place.jurisdiction == found
    assert reason in place.reason


@pytest.mark.parametrize(
    ("address", "hint"),
    [
        ("ana@firma.de", "de"),
        ("ana@shop.co.uk", "uk"),
        ("ana@gmail.com", None),
        ("ana@yahoo.de", None),
        ("ana@acme.example", None),
        ("ana@localhost", None),
        (None, None),
    ],
)
def test_a_domain_hints_at_a_country_and_a_mailbox_providers_does_not(address, hint):
    assert ATLAS.hint(address) == hint


@pytest.mark.parametrize(
    ("told", "kept"),
    [("Canada", "CA"), ("kr", "KR"), ("12 Elm Street, Springfield", None), ("", None), (None, None)],
)
def test_of_a_country_only_a_code_is_kept(told, kept):
    assert ATLAS.storable(told) == kept


@pytest.mark.parametrize(
    ("country", "state", "kept"),
    [
        ("United States", "California", "US-CA"),
        ("usa", " ca ", "US-CA"),
        ("USA", "Nevada", "US"),
        ("aut", None, "EU"),
        ("España ", None, "EU"),
        ("DEU", None, "DE"),
        ("USA", None, "US"),
        ("Canada", "CA", "CA"),
        ("", "California", "unknown"),
        (None, None, "unknown"),
        ("Atlantis", "CA", "elsewhere"),
    ],
)
def test_of_a_record_the_mirror_keeps_a_code_and_whether_anything_was_told(country, state, kept):
    assert ATLAS.mirrored(country, state) == kept


def test_a_country_that_nobody_knows_is_not_repeated():
    assert "Atlantis" not in ATLAS.place(crm=ATLAS.mirrored("Atlantis"), hint="fr").reason


def test_the_newest_event_that_tells_a_country_counts():
    told = [event(3, country="GB"), event(1, country="CA"), event(5), event(2, hint="de")]
    assert SHIPPED.place_of(told).jurisdiction == "GB"
    assert SHIPPED.place_of([event(2, hint="de")], "CA").jurisdiction == "CA"
    assert SHIPPED.place_of([event(2, hint="de")]).jurisdiction == "DE"


def test_a_country_has_the_rules_of_what_it_lies_within():
    assert [law.code for law in ATLAS.chain("DE")] == ["DE", "EU"]
    assert ATLAS.chain("unknown") == ()


def test_providers_rules_hold_for_somebody_whose_mailbox_is_not_at_hand():
    assert SHIPPED.stop_by(NOON, "US", address="ana@acme.example")[1].id == "us.canspam.optout_deadline"
    assert SHIPPED.stop_by(NOON, "US", address=None)[0] == NOON + timedelta(hours=48)
