"""Implied consent: what it rests on, how long it lasts, and what it never does."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from service.consent import Category, Clock, Event, Ground, Provenance, Rules, State, months_after, standing


def day(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


PURCHASE = Clock(rule="law.purchase", months=24)
INQUIRY = Clock(rule="law.inquiry", months=6)
SOFT = Clock(rule="law.soft", conditions=frozenset({"refusal_offered"}))
RULES = Rules(implied={"purchase": (PURCHASE,), "inquiry": (INQUIRY,), "sale": (SOFT,)}, jurisdiction="X")


def implied(fact: str, on: str, index: int = 1, **more) -> Event:
    told = {"recorded_at": day(on), "grade": "C", "conditions": frozenset(), **more}
    ground = Ground(fact=fact, at=day(on), conditions=told.pop("conditions"))
    return Event(
        index=index,
        category=Category.GRANTED,
        purpose="marketing",
        occurred_at=day(on),
        source="shop",
        ground=ground,
        **told,
    )


def other(category: Category, on: str, index: int = 9, **more) -> Event:
    told = {"grade": "C", **more}
    return Event(
        index=index,
        category=category,
        purpose="marketing",
        occurred_at=day(on),
        recorded_at=day(on),
        source="form",
        **told,
    )


def fold(at: str, *events: Event, rules: Rules = RULES):
    return standing(events, "marketing", rules, day(at))


@pytest.mark.parametrize(
    ("fact", "on", "last", "first_without"),
    [
        ("purchase", "2024-03-31", "2026-03-30", "2026-03-31"),
        ("purchase", "2024-02-29", "2026-02-27", "2026-02-28"),
        ("inquiry", "2025-08-31", "2026-02-27", "2026-02-28"),
    ],
)
def test_it_lasts_as_many_months_as_its_rule_says_and_names_the_rule(fact, on, last, first_without):
    event = implied(fact, on)
    during, after = fold(last, event), fold(first_without, event)
    assert (during.may_mail, during.rule) == (True, f"law.{fact}")
    assert f"law.{fact}" in during.reason
    assert (after.state, after.valid_until) == (State.EXPIRED, day(first_without))
    assert f"law.{fact}" in after.reason


def test_a_fact_for_which_there_is_no_rule_permits_nothing():
    found = fold("2026-01-01", implied("smile", "2025-12-31"))
    assert (found.state, found.may_mail) == (State.UNKNOWN, False)
    assert "no rule lets that count where they are (X)" in found.reason


def test_a_rule_that_is_not_in_force_permits_nothing_and_is_named():
    draft = replace(RULES, implied={"purchase": (replace(PURCHASE, counts=False),)})
    found = fold("2026-01-01", implied("purchase", "2025-12-31"), rules=draft)
    assert found.state is State.UNKNOWN
    assert "law.purchase" in found.reason


def test_a_condition_that_was_not_met_is_named():
    lacking = implied("sale", "2025-12-31")
    met = implied("sale", "2025-12-31", conditions=frozenset({"refusal_offered"}))
    assert "demands refusal_offered" in fold("2026-01-01", lacking).reason
    assert fold("2040-01-01", met).may_mail


def test_evidence_weaker_than_the_rule_asks_for_permits_nothing():
    assert not fold("2026-01-01", implied("purchase", "2025-12-31", grade="F")).may_mail


def test_a_fact_from_before_the_law_permits_nothing():
    young = replace(RULES, implied={"purchase": (replace(PURCHASE, since=day("2025-06-01")),)})
    assert not fold("2025-07-01", implied("purchase", "2025-05-31"), rules=young).may_mail
    assert fold("2025-07-01", implied("purchase", "2025-06-01"), rules=young).may_mail


def test_a_fact_from_the_future_permits_nothing():
    early = replace(implied("purchase", "2025-05-01"), ground=Ground(fact="purchase", at=day("2025-06-01")))
    assert not fold("2025-07-01", early).may_mail


def test_it_never_lifts_a_refusal():
    found = fold("2026-01-01", other(Category.WITHDRAWN, "2025-01-01"), implied("purchase", "2025-12-31"))
    assert found.state is State.REFUSED


def test_a_refusal_ends_it():
    found = fold("2026-01-01", implied("purchase", "2025-01-01"), other(Category.WITHDRAWN, "2025-12-31"))
    assert found.state is State.REFUSED


def test_it_never_shortens_an_express_consent():
    found = fold("2026-01-01", other(Category.GRANTED, "2025-01-01"), implied("inquiry", "2025-02-01", 10))
    assert (found.may_mail, found.valid_until, found.decided_by) == (True, None, 9)


def test_of_several_the_one_that_lasts_longest_counts():
    events = implied("purchase", "2025-01-01", 1), implied("inquiry", "2025-10-01", 2)
    assert fold("2025-12-01", *events).valid_until == day("2027-01-01")
    assert fold("2026-12-01", *events).rule == "law.purchase"


def test_where_several_rules_apply_the_first_end_ends_it():
    both = replace(RULES, implied={"purchase": (PURCHASE, replace(INQUIRY, rule="law.strict"))})
    found = fold("2025-12-01", implied("purchase", "2025-01-01"), rules=both)
    assert (found.state, found.rule) == (State.EXPIRED, "law.strict")


def test_what_its_source_says_may_end_it_sooner():
    event = replace(implied("purchase", "2025-01-01"), valid_until=day("2025-03-01"))
    assert fold("2025-04-01", event).state is State.EXPIRED


def test_it_permits_even_when_an_import_tells_of_it():
    event = implied("purchase", "2025-01-01", provenance=Provenance.IMPORT, grade="D")
    assert fold("2025-04-01", event).may_mail


def test_an_express_consent_ends_by_a_rule_in_force_and_is_warned_about_by_others():
    lapse = Clock(rule="law.lapse", months=24)
    grant = other(Category.GRANTED, "2024-01-01")
    ended = fold("2026-01-01", grant, rules=Rules(express=(lapse,)))
    assert (ended.state, ended.rule) == (State.EXPIRED, "law.lapse")
    warned = fold("2026-01-01", grant, rules=Rules(express=(replace(lapse, counts=False),)))
    assert warned.may_mail
    assert "law.lapse" in warned.warnings[0]
    assert fold("2025-12-31", grant, rules=Rules(express=(replace(lapse, counts=False),))).warnings == ()


def test_a_demand_for_double_opt_in_is_named_and_a_draft_of_it_warns():
    demanding = Rules(double_opt_in=True, double_opt_in_rule="law.doi")
    pending = fold("2026-01-01", other(Category.GRANTED, "2025-01-01"), rules=demanding)
    assert (pending.state, pending.rule) == (State.PENDING, "law.doi")
    warned = fold("2026-01-01", other(Category.GRANTED, "2025-01-01"), rules=Rules(double_opt_in_warning="d"))
    assert warned.may_mail
    assert warned.warnings


@pytest.mark.parametrize(
    ("since", "months", "until"),
    [("2024-01-31", 1, "2024-02-29"), ("2024-12-31", 2, "2025-02-28"), ("2024-05-15", 24, "2026-05-15")],
)
def test_a_month_later_is_the_same_day_or_the_months_last(since, months, until):
    assert months_after(day(since), months) == day(until)


def test_a_standing_names_the_set_it_was_made_under():
    assert fold("2026-01-01", rules=Rules(policy="ab" * 32)).policy == "ab" * 32
