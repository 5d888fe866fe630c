"""Run a rule's own examples: what it answers to what is given, as if it were switched on. Pure.

    kind       given                                        answers
    deadline   received; at is when it was done             in_time, late
    expiry     fact_at, and fact, conditions, grade;        may_mail, expired, not_permitted
               at is when mail would go out
    evidence   names of evidence with their values, and     sufficient, insufficient, invalid
               refused_at; at is when they were asked
    barrier    asks: what stands in the way                 barred, clear
    retention  since; at                                    keep, may_go, must_go
    threshold  value                                        reached, below
    label      has: what is carried                         complete, lacking

A rule that is known from memory alone answers `warns` where it would bite or permit, and a rule that was
not law on the day answers `not_law`.
"""

from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

import msgspec

from service.consent import Category, Event, Ground, Rules, State, months_after, standing
from service.consent.proving import Shown, after_optout, objections
from service.policy.calendars import Calendar
from service.policy.judging import clock_of, proof_of
from service.policy.law import (
    AnyRule,
    Barrier,
    Deadline,
    Evidence,
    Example,
    Expiry,
    Label,
    Retention,
    Threshold,
)

Given = Mapping[str, Any]
HARMLESS = frozenset({"in_time", "not_permitted", "sufficient", "clear", "may_go", "below", "complete"})
"""Answers that ask nothing of anybody and permit nothing."""
ANY_DAY = datetime(2026, 1, 1, tzinfo=UTC)
"""Stands for the day of an example whose answer does not depend on it."""


def failures(rule: AnyRule, calendar: Calendar) -> Iterator[tuple[int, str]]:
    """Yield the number of each example that the rule does not answer as expected, and why."""
    for number, example in enumerate(rule.tests):
        try:
            answer = answer_to(rule, example, calendar)
        except (KeyError, TypeError, AttributeError) as error:
            yield number, f"this example cannot be run: {type(error).__name__} {error}"
            continue
        if answer != example.expect:
            yield number, f"the rule answers {answer}, the example expects {example.expect}"


def answer_to(rule: AnyRule, example: Example, calendar: Calendar) -> str:
    """Return what a rule answers to an example; raises `KeyError` for what should be given and is not."""
    at = _moment(example.at) if example.at is not None else None
    if at is not None and not rule.effective(at.date()):
        return "not_law"
    answer = _ANSWERS[type(rule)](rule, example.given, at, calendar)
    harmless = answer in HARMLESS or (
        isinstance(rule, Expiry) and rule.basis == "express" and answer == "may_mail"
    )
    return "warns" if rule.confidence == "memory" and not harmless else answer


def _deadline(rule: Deadline, given: Given, at: datetime | None, calendar: Calendar) -> str:
    return "in_time" if _asked(at) < rule.ends(_moment(given["received"]), calendar) else "late"


def _expiry(rule: Expiry, given: Given, at: datetime | None, _calendar: Calendar) -> str:
    """Ask the fold itself about one grant under this rule alone."""
    since, now = _moment(given["fact_at"]), _asked(at)
    ground = None
    if rule.basis == "implied":
        conditions = frozenset(given.get("conditions", rule.conditions))
        ground = Ground(fact=given.get("fact", rule.facts[0]), at=since, conditions=conditions)
    told = Event(
        index=0,
        category=Category.GRANTED,
        purpose="any",
        occurred_at=since,
        recorded_at=since,
        source="example",
        grade=given.get("grade", "C"),
        ground=ground,
    )
    on = clock_of(msgspec.structs.replace(rule, status="active", confidence="secondary"))
    express = (on,) if rule.basis == "express" else ()
    rules = Rules(implied=dict.fromkeys(rule.facts, (on,)), express=express)
    answers = {State.PERMITTED: "may_mail", State.EXPIRED: "expired"}
    return answers.get(standing([told], "any", rules, now).state, "not_permitted")


def _evidence(rule: Evidence, given: Given, at: datetime | None, _calendar: Calendar) -> str:
    """Ask what judges a consent itself, about this rule alone."""
    asked = _asked(at) if at is not None or rule.wait_months is not None else ANY_DAY
    refused, names = given.get("refused_at"), frozenset(name for name, value in given.items() if value)
    steps = 2 if given.get("confirmed_by_mail") else 1
    shown = Shown(
        brought=names if refused is None else after_optout(names, steps=steps),
        at=asked,
        asked_at=asked,
        refused_at=None if refused is None else _moment(refused),
    )
    timeless = msgspec.structs.replace(rule, effective_from=None, effective_until=None)
    if objections([proof_of(timeless)], shown):
        spoilt = not shown.brought.isdisjoint(rule.forbids)
        return "invalid" if spoilt or shown.brought.issuperset(rule.demands) else "insufficient"
    return "sufficient" if not rule.double_opt_in or given.get("confirmed_by_mail") else "insufficient"


def _barrier(rule: Barrier, given: Given, _at: datetime | None, _calendar: Calendar) -> str:
    return "barred" if set(given["asks"]) & set(rule.forbids) else "clear"


def _retention(rule: Retention, given: Given, at: datetime | None, _calendar: Calendar) -> str:
    since = _moment(given["since"])
    ends = since + timedelta(days=rule.days or 0)
    ends = months_after(ends, rule.months) if rule.months is not None else ends
    for_ever = rule.months is None and rule.days is None
    within = for_ever or _asked(at) < ends
    return "keep" if within and rule.bound == "at_least" else "may_go" if within else _after(rule)


def _after(rule: Retention) -> str:
    return "may_go" if rule.bound == "at_least" else "must_go"


def _threshold(rule: Threshold, given: Given, _at: datetime | None, _calendar: Calendar) -> str:
    value = float(given["value"])
    reached = value >= rule.limit if rule.reached == "at" else value > rule.limit
    return "reached" if reached else "below"


def _label(rule: Label, given: Given, _at: datetime | None, _calendar: Calendar) -> str:
    return "complete" if set(rule.carries) <= set(given["has"]) else "lacking"


_ANSWERS: Mapping[type, Callable[..., str]] = {
    Deadline: _deadline,
    Expiry: _expiry,
    Evidence: _evidence,
    Barrier: _barrier,
    Retention: _retention,
    Threshold: _threshold,
    Label: _label,
}


def _asked(at: datetime | None) -> datetime:
    if at is None:
        raise KeyError("at")
    return at


def _moment(told: datetime | date) -> datetime:
    """Return a moment in UTC; a day without a time of day is its midnight."""
    if isinstance(told, datetime):
        return told if told.tzinfo is not None else told.replace(tzinfo=UTC)
    return datetime.combine(told, time(), tzinfo=UTC)
