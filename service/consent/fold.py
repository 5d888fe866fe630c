"""The fold: events of one person, in any order of arrival, become a standing. Pure.

Asymmetry is the law of this module. A refusal always counts. A grant counts only with evidence,
lifts an earlier refusal only when it is newer *and* was recorded live, and loses every tie. What is
only implied never lifts a refusal at all.
"""

import math
from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime

from service.consent.answer import Standing, State, decided
from service.consent.event import GRANTS, REFUSALS, STOPS, Category, Event, Ground, Provenance
from service.consent.proving import Objections, Shown, after_optout, objections
from service.consent.rules import Clock, Proof, Rules
from service.consent.suppressing import suppression

_TURN = {Category.REQUESTED: 1, Category.GRANTED: 2, Category.CONFIRMED: 3}
"""Whose turn it is among events of one moment: asking comes before answering."""


def standing(events: Iterable[Event], purpose: str, rules: Rules, at: datetime) -> Standing:
    """Return what `events` of one person add up to for `purpose` at the moment `at`.

    Events after `at` are left out, both by their own time and by when we recorded them, so that
    an answer "as of" never knows the future. Order of arrival does not matter: a later
    `occurred_at` wins, and on a tie the more restrictive event does. What was corrected does not count.
    """
    known = [
        e for e in events if e.purpose in (purpose, None) and e.recorded_at <= at and e.occurred_at <= at
    ]
    known.sort(key=_order)
    corrections = {e.corrects: e for e in known if e.corrects is not None}
    counts = [e for e in known if e.index not in corrections]
    consent = _fold_consent(counts, purpose, rules, at)
    for event in known:
        if (correction := corrections.get(event.index)) is not None:
            consent = _corrected(consent, event, correction)
    cause, by = suppression(counts, rules, at)
    return replace(consent, suppressed=cause, suppressed_by=by, policy=rules.policy)


def _corrected(consent: Standing, event: Event, correction: Event) -> Standing:
    """Return a standing that says what does not count; a permission stands anew from the correction on."""
    reason = f"{consent.reason}; entry {event.index} does not count: corrected by entry {correction.index}"
    if consent.state is not State.PERMITTED or consent.decided_at is None:
        return replace(consent, reason=reason)
    return replace(consent, reason=reason, decided_at=max(consent.decided_at, correction.occurred_at))


def _order(event: Event) -> tuple[datetime, int, float, int, int]:
    """Sort by the source's time; on a tie the more restrictive comes later, and so wins.

    A stop is more restrictive than all else, and what ends sooner than what ends later or never.
    The place in the log speaks last, where nothing depends on it but which of two equals is named.
    """
    stops = event.category in STOPS or event.category is Category.BOUNCE_SOFT
    ends = -math.inf if event.valid_until is None else -event.valid_until.timestamp()
    return event.occurred_at, int(stops), ends, _TURN.get(event.category, 0), event.index


def _fold_consent(known: list[Event], purpose: str, rules: Rules, at: datetime) -> Standing:
    result = Standing(
        purpose=purpose, state=State.UNKNOWN, reason="no event says anything about this purpose"
    )
    asked: Event | None = None
    barred: tuple[Event, Proof, str] | None = None
    for event in known:
        before, grants = result, event.category in GRANTS
        asks = event.category is Category.REQUESTED or (
            event.category is Category.GRANTED and event.ground is None
        )
        if event.category in REFUSALS:
            scope = "every purpose" if event.purpose is None else "this purpose"
            result = decided(event, purpose, State.REFUSED, f"refused for {scope} ({event.source})")
            asked = None
        elif asks and (not grants or rules.double_opt_in):
            if result.state in (State.UNKNOWN, State.EXPIRED):
                result = _asked(event, purpose, rules)
        elif grants:
            found = _objections(event, asked, before, rules)
            if (bar := next((one for one in found if one[0].counts), None)) is not None:
                barred = (event, *bar)
            elif event.ground is not None:
                result = _implied(result, event, purpose, rules, at)
            else:
                result = _granted(result, event, found, purpose, rules, at)
        asked = event if asks else asked
        barred = barred if result is before else None
    return result if barred is None else _barred(result, purpose, *barred)


def _objections(event: Event, asked: Event | None, before: Standing, rules: Rules) -> Objections:
    """Return the rules of evidence that a consent does not meet; none where what came with it was not kept.

    What confirms a request shows what the request showed. Who had opted out comes back as the history tells.
    """
    if event.brought is None:
        return []
    confirms = asked if event.category is Category.CONFIRMED else None
    names = event.brought if confirms is None else event.brought | (confirms.brought or frozenset())
    refused = before.state is State.REFUSED
    shown = Shown(
        brought=after_optout(names, steps=1 if confirms is None else 2) if refused else names,
        at=event.occurred_at,
        asked_at=event.occurred_at if confirms is None else confirms.occurred_at,
        implied=event.ground is not None,
        refused_at=before.decided_at if refused else None,
    )
    return objections(rules.proofs, shown)


def _barred(result: Standing, purpose: str, event: Event, proof: Proof, why: str) -> Standing:
    """Return a standing that says which consent was recorded after it, and why that does not count."""
    said = f"a consent ({event.source}, entry {event.index}) does not count under {proof.rule}: {why}"
    if result.state is State.UNKNOWN:
        return decided(event, purpose, State.UNKNOWN, said, rule=proof.rule)
    if result.state is State.PERMITTED:
        return replace(result, warnings=(*result.warnings, said))
    return replace(result, reason=f"{result.reason}; {said}", rule=proof.rule)


def _asked(event: Event, purpose: str, rules: Rules) -> Standing:
    rule = rules.double_opt_in_rule if event.category is Category.GRANTED else None
    reason = "asked for, and not yet confirmed by mail" + (f", which {rule} demands" if rule else "")
    return decided(event, purpose, State.PENDING, reason, rule=rule)


def _granted(  # noqa: PLR0917  # as read by the fold
    before: Standing, event: Event, found: Objections, purpose: str, rules: Rules, at: datetime
) -> Standing:
    """Return the standing after a grant; one without evidence changes nothing."""
    if event.grade > rules.weakest_grade:
        if before.state is not State.UNKNOWN:
            return before
        reason = (
            f"a grant was asserted ({event.source}) without sufficient evidence (grade {event.grade}, "
            f"{rules.grade_rule} is {rules.weakest_grade})"
        )
        return decided(event, purpose, State.UNKNOWN, reason, rule=rules.grade_rule)
    if before.state is State.REFUSED and event.provenance is not Provenance.LIVE:
        return before
    until, rule = _first_end(event, rules.express, event.occurred_at)
    if until is not None and until <= at:
        return _expired(event, purpose, until, rule)
    reason = f"granted with evidence of grade {event.grade} ({event.source})"
    made = decided(event, purpose, State.PERMITTED, reason, rule=rules.grade_rule)
    asides = tuple(
        f"{proof.rule}, which is not in force, would not let this count: {why}" for proof, why in found
    )
    return replace(made, valid_until=until, warnings=(*_warnings(event, rules, at), *asides))


def _implied(before: Standing, event: Event, purpose: str, rules: Rules, at: datetime) -> Standing:
    """Return the standing after an implied consent: it never lifts a refusal, nor shortens a consent.

    It permits only where a rule that counts says so, for as long as that rule says, from the fact's day.
    """
    ground = event.ground
    assert ground is not None, "an implied consent has a ground"
    if before.state is State.REFUSED:
        return before
    clocks = tuple(clock for clock in rules.implied.get(ground.fact, ()) if clock.was_law(ground.at))
    if (lacks := _lacks(event, ground, clocks, rules.jurisdiction)) is not None:
        if before.state is State.UNKNOWN:
            reason = f"implied by {ground.fact} of {ground.at:%Y-%m-%d} ({event.source}), and {lacks}"
            return decided(event, purpose, State.UNKNOWN, reason, rule=clocks[0].rule if clocks else None)
        return before
    until, rule = _first_end(event, clocks, ground.at)
    if before.state is State.PERMITTED and (
        before.valid_until is None or (until is not None and until <= before.valid_until)
    ):
        return before
    if until is not None and until <= at:
        return _expired(event, purpose, until, rule)
    rule = rule or clocks[0].rule
    reason = f"implied by {ground.fact} of {ground.at:%Y-%m-%d} ({event.source}) under {rule}"
    made = decided(event, purpose, State.PERMITTED, reason, rule=rule)
    return replace(made, valid_until=until)


def _lacks(event: Event, ground: Ground, clocks: tuple[Clock, ...], place: str) -> str | None:
    """Return why an implied consent does not count, or None where it does."""
    if not clocks:
        return f"no rule lets that count where they are ({place or 'unknown'})"
    if ground.at > event.recorded_at:
        return "that day had not come when it was told"
    for clock in clocks:
        if not clock.counts:
            return f"{clock.rule} would let that count, but is not in force: it only warns"
        if missing := sorted(clock.conditions - ground.conditions):
            return f"{clock.rule} demands {', '.join(missing)} as well"
        if event.grade > clock.weakest_grade:
            return f"{clock.rule} demands evidence of grade {clock.weakest_grade}, not {event.grade}"
    return None


def _first_end(
    event: Event, clocks: tuple[Clock, ...], since: datetime
) -> tuple[datetime | None, str | None]:
    """Return when a consent ends, and by which rule: the first end of what its source and the rules say."""
    ends: list[tuple[datetime, str | None]] = [
        (end, clock.rule) for clock in clocks if clock.counts and (end := clock.ends(since)) is not None
    ]
    if event.valid_until is not None:
        ends.append((event.valid_until, None))
    return min(ends, key=lambda pair: pair[0], default=(None, None))


def _warnings(event: Event, rules: Rules, at: datetime) -> tuple[str, ...]:
    """Return what rules that are not in force would say about a consent that was given."""
    told = [
        f"{clock.rule}, which is not in force, would have ended this on {end:%Y-%m-%d}"
        for clock in rules.express
        if not clock.counts and (end := clock.ends(event.occurred_at)) is not None and end <= at
    ]
    if rules.double_opt_in_warning is not None and event.category is Category.GRANTED and event.grade > "A":
        told.append(f"{rules.double_opt_in_warning}, which is not in force, asks for a confirmation by mail")
    return tuple(told)


def _expired(event: Event, purpose: str, until: datetime, rule: str | None) -> Standing:
    kind = "implied consent" if event.ground is not None or rule is None else "consent"
    reason = f"{kind} ran out on {until:%Y-%m-%d}" + (f" under {rule}" if rule else "")
    return replace(decided(event, purpose, State.EXPIRED, reason, rule=rule), valid_until=until)
