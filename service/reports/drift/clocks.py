"""The two clocks of every withdrawal, and the deadline that comes next.

Pure. The first clock runs from receipt until both products had accepted the stop, the second until
both were read back.
"""

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from service.policy import Deadline, PolicySet
from service.reports.drift.reading import Found, Withdrawal


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """How long it took: the median, the 95th percentile (nearest rank) and the slowest."""

    count: int
    p50: timedelta
    p95: timedelta
    slowest: timedelta


@dataclass(frozen=True, slots=True, kw_only=True)
class Clocks:
    """Withdrawals of the period: received to stopped, received to proved; None where none ended.

    `waiting` are still under way, `overdue` those of them past their deadline, `late` those that were
    carried out after it.
    """

    received: int
    stopped: Span | None
    proved: Span | None
    waiting: int
    overdue: int
    late: int


@dataclass(frozen=True, slots=True, kw_only=True)
class NextDeadline:
    """A deadline of something still open, under which law; `left` is negative once it passed."""

    at: datetime
    left: timedelta
    rule: str
    law: str
    citation: str
    people: int


def clocks(withdrawals: Sequence[Withdrawal], now: datetime) -> Clocks:
    """Return the two clocks over these withdrawals."""
    waiting = [one for one in withdrawals if one.is_open]
    return Clocks(
        received=len(withdrawals),
        stopped=_span(one.stopped_at - one.received_at for one in withdrawals if one.stopped_at),
        proved=_span(one.proved_at - one.received_at for one in withdrawals if one.proved_at),
        waiting=len(waiting),
        overdue=sum(one.is_late(now) for one in waiting),
        late=sum(one.is_late(now) for one in withdrawals if not one.is_open),
    )


def deadlines(
    policy: PolicySet, rows: Iterable[Found], withdrawals: Iterable[Withdrawal], now: datetime
) -> tuple[NextDeadline | None, NextDeadline | None]:
    """Return the deadline missed first, and the one next, of stops that do not yet stand everywhere."""
    running = [
        (row.due_at, row.due_rule or "")
        for row in rows
        if row.is_open and row.action == "stop" and row.due_at is not None
    ]
    running += [(one.due_at, one.due_rule) for one in withdrawals if one.is_open]
    missed = [one for one in running if one[0] < now]
    coming = [one for one in running if one[0] >= now]
    return _deadline(policy, missed, now), _deadline(policy, coming, now)


def missed_rules(
    policy: PolicySet, rows: Iterable[Found], withdrawals: Iterable[Withdrawal], now: datetime
) -> tuple[tuple[str, int, bool], ...]:
    """Return under which rules a deadline was missed, for how many people, and whether it is law.

    What mailbox providers demand is not law, and is told apart. The most people first.
    """
    late = {(row.subject or row.person, row.due_rule or "") for row in rows if row.is_late(now)}
    late |= {(one.sub, one.due_rule) for one in withdrawals if one.is_late(now)}
    rules = Counter(rule for _, rule in late)
    demanded = {d.id for j in policy.jurisdictions.values() if j.domains for d in j.deadlines}
    laws: Counter[tuple[str, bool]] = Counter()
    for rule, count in rules.items():
        found = _law(policy, rule)
        laws[found.law if found else rule, rule not in demanded] += count
    return tuple((name, count, is_law) for (name, is_law), count in laws.most_common())


def _deadline(
    policy: PolicySet, running: Sequence[tuple[datetime, str]], now: datetime
) -> NextDeadline | None:
    """Return the earliest of these deadlines with its law."""
    if not running:
        return None
    at, rule = min(running)
    law = _law(policy, rule)
    return NextDeadline(
        at=at,
        left=at - now,
        rule=rule,
        law=law.law if law else rule,
        citation=law.citation if law else "",
        people=sum(moment == at for moment, _ in running),
    )


def _law(policy: PolicySet, rule: str) -> Deadline | None:
    every = (deadline for law in policy.jurisdictions.values() for deadline in law.deadlines)
    return next((deadline for deadline in every if deadline.id == rule), None)


def _span(durations: Iterable[timedelta]) -> Span | None:
    ordered = sorted(durations)
    if not ordered:
        return None
    return Span(count=len(ordered), p50=_rank(ordered, 0.5), p95=_rank(ordered, 0.95), slowest=ordered[-1])


def _rank(ordered: Sequence[timedelta], share: float) -> timedelta:
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]
