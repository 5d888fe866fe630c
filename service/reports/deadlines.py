"""The two clocks of every withdrawal against each rule that applies: stop sending, prove that it stopped.

Both run from the first receipt on any channel: what somebody told Zoho, or a system whose file was imported,
counts from when they told it.
Reads only; people are pseudonyms until whoever may see names asks for them.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum

from sqlalchemy import Connection

from service.consent import SubjectId
from service.intake.places import crm_countries_of
from service.intake.projection import events_of
from service.policy import Deadline, PolicySet
from service.reports.drift.clocks import Clocks, clocks
from service.reports.drift.elsewhere import said_elsewhere
from service.reports.drift.reading import LOOKED, Withdrawal, found_since, last_run, withdrawals_since
from service.reports.drift.starting import started
from service.vault import Vault
from service.vault.pseudonym import by_subject


class Kept(StrEnum):
    """How a deadline was kept, the worst last; the value is what people read."""

    MET = "met"
    RUNNING = "running"
    LATE = "met late"
    MISSED = "missed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Clock:
    """One rule's deadline for one withdrawal: how stopping kept it, and how proving did."""

    rule: str
    law: str
    citation: str
    due_at: datetime
    stopped: Kept
    proved: Kept


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One withdrawal with all its clocks, the strictest rule first."""

    sub: SubjectId
    person: str
    jurisdiction: str
    received_at: datetime
    stopped_at: datetime | None
    proved_at: datetime | None
    clocks: tuple[Clock, ...]

    @property
    def is_breach(self) -> bool:
        """Return whether mail was not stopped in time under some rule."""
        return any(clock.stopped in (Kept.LATE, Kept.MISSED) for clock in self.clocks)


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleLine:
    """One rule over all withdrawals to which it applies: how many, by how stopping and proving kept it."""

    rule: str
    law: str
    citation: str
    people: int
    stopped: Mapping[Kept, int]
    proved: Mapping[Kept, int]

    @property
    def breaches(self) -> int:
        """Return for how many it was not kept."""
        return self.stopped.get(Kept.LATE, 0) + self.stopped.get(Kept.MISSED, 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Deadlines:
    """The period's withdrawals: the two clocks over all, every rule, the strictest first, and each breach."""

    since: datetime
    until: datetime
    overall: Clocks
    rules: tuple[RuleLine, ...]
    breaches: tuple[Case, ...]


def deadlines(
    tx: Connection, policy: PolicySet, vault: Vault, *, since: datetime, now: datetime
) -> Deadlines:
    """Return the clocks of all withdrawals received since, and of older ones that still run.

    Those that a run found in a product count like those that came here first.
    """
    here = withdrawals_since(tx, since, now)
    rows = found_since(tx, since, now, last_run(tx, now, LOOKED))
    elsewhere = said_elsewhere(rows, {one.sub for one in here}, now)
    subs = [SubjectId(sub) for sub in dict.fromkeys(one.sub for one in (*here, *elsewhere.values())) if sub]
    events, crm, addresses = events_of(tx, subs), crm_countries_of(tx, subs), vault.addresses_of(tx, subs)
    found = [(one, by_subject(one.sub)) for one in started(tx, policy, here, events)]
    found += [(one, person) for person, one in elsewhere.items()]
    cases, counted = [], []
    for one, person in found:
        sub = SubjectId(one.sub)
        where = policy.place_of(events.get(sub, []), crm.get(sub)).jurisdiction
        applying = policy.deadlines(one.received_at, where, address=addresses.get(sub))
        counted.append(replace(one, due_at=applying[0][0], due_rule=applying[0][1].id))
        cases.append(_case(one, person, where=where, applying=applying, now=now))
    breaches = sorted((case for case in cases if case.is_breach), key=lambda case: case.clocks[0].due_at)
    return Deadlines(
        since=since,
        until=now,
        overall=clocks(counted, now),
        rules=_lines(cases),
        breaches=tuple(breaches),
    )


def _case(
    one: Withdrawal,
    person: str,
    *,
    where: str,
    applying: Sequence[tuple[datetime, Deadline]],
    now: datetime,
) -> Case:
    return Case(
        sub=SubjectId(one.sub),
        person=person,
        jurisdiction=where,
        received_at=one.received_at,
        stopped_at=one.stopped_at,
        proved_at=one.proved_at,
        clocks=tuple(
            Clock(
                rule=rule.id,
                law=rule.law,
                citation=rule.citation,
                due_at=due_at,
                stopped=_kept(one.stopped_at, due_at, now),
                proved=_kept(one.proved_at, due_at, now),
            )
            for due_at, rule in applying
        ),
    )


def _kept(done_at: datetime | None, due_at: datetime, now: datetime) -> Kept:
    if done_at is None:
        return Kept.RUNNING if now <= due_at else Kept.MISSED
    return Kept.MET if done_at <= due_at else Kept.LATE


def _lines(cases: Iterable[Case]) -> tuple[RuleLine, ...]:
    """Return one line per rule, the strictest first: the one that left somebody the least time."""
    by_rule: dict[str, list[Clock]] = {}
    allowed: dict[str, timedelta] = {}
    for case in cases:
        for clock in case.clocks:
            by_rule.setdefault(clock.rule, []).append(clock)
            left = clock.due_at - case.received_at
            allowed[clock.rule] = min(left, allowed.get(clock.rule, left))
    lines = [
        RuleLine(
            rule=rule,
            law=mine[0].law,
            citation=mine[0].citation,
            people=len(mine),
            stopped=_counts(clock.stopped for clock in mine),
            proved=_counts(clock.proved for clock in mine),
        )
        for rule, mine in by_rule.items()
    ]
    return tuple(sorted(lines, key=lambda line: (allowed[line.rule], -line.breaches, line.rule)))


def _counts(kept: Iterable[Kept]) -> Mapping[Kept, int]:
    counts: dict[Kept, int] = {}
    for one in kept:
        counts[one] = counts.get(one, 0) + 1
    return counts
