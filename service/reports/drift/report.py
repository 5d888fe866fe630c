"""The nightly report to legal as data: the verdict, who was concerned, which deadline is next, what waits.

Reads only. The caller opens the transaction, so that every figure is from one state of the database.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from enum import StrEnum

from sqlalchemy import Connection

from service.consent import SubjectId
from service.intake.projection import events_of
from service.ledger.attestors import Attestor, attestors
from service.ledger.scrub import looks
from service.ledger.scrub.looks import Looked
from service.policy import PolicySet
from service.reconciler.audit import Audit
from service.reconciler.audit.keeping import last as last_audit
from service.reconciler.harm import MAILED_WRONGLY, Harm
from service.reconciler.harm import count as count_harm
from service.reconciler.openers import Openers, openers
from service.reports.drift import reading
from service.reports.drift.clocks import Clocks, NextDeadline, clocks, deadlines, missed_rules
from service.reports.drift.decisions import STOP, Decision, decisions
from service.reports.drift.elsewhere import said_elsewhere
from service.reports.drift.kinds import describe
from service.reports.drift.plans import PlanNews, plan_news
from service.reports.drift.reading import Found, Run, Withdrawal
from service.reports.drift.starting import started
from service.reports.drift.swift import swift
from service.reports.drift.thresholds import thresholds

TREND_NIGHTS = 30
STALE = timedelta(hours=36)
"""Without a look at both products for longer than a night and a half, nothing can be said about today."""
_BUSY = timedelta(hours=2)
"""A run that did not end after this long has died."""


class Verdict(StrEnum):
    """The night in a word; the value is what a person reads."""

    IN_ORDER = "in order"
    REPAIRED = "repaired"
    ACTION = "action needed"
    BLIND = "could not look"


@dataclass(frozen=True, slots=True, kw_only=True)
class People:
    """How many people may have been mailed wrongly: each counts once, however many kinds they stand under.

    `settled` were found by one run and no longer by the newest, without our writing. `late` are those,
    and those who withdrew, for whom a legal deadline passed before both products said stop.
    `opt_outs` of those found said stop themselves; the others are dead mailboxes and the like.
    """

    found: int
    repaired: int
    open: int
    settled: int
    late: int
    opt_outs: int


@dataclass(frozen=True, slots=True, kw_only=True)
class KindLine:
    """One kind of drift in the period; people who stand under two kinds count in both lines."""

    kind: str
    title: str
    meaning: str
    action: str
    found: int
    repaired: int
    open: int
    causes: tuple[tuple[str, int], ...]
    """What brought it about, as far as the products tell, with how many people; the most first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Night:
    """One bar of the trend; both figures are None where no run looked at everything that day."""

    day: date
    found: int | None
    repaired: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class LastRun:
    """The newest run, and why it told nothing (`trouble`, empty when it did)."""

    id: int | None
    kind: str
    state: str
    started_at: datetime | None
    finished_at: datetime | None
    trouble: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DriftReport:
    """All that legal is told about one night; people appear under pseudonyms only."""

    night: date
    controller: str
    origin: str
    since: datetime
    until: datetime
    verdict: Verdict
    last_run: LastRun
    people: People
    missed: tuple[tuple[str, int, bool], ...]
    """Rules whose deadline was missed, for how many people, and whether the rule is law."""
    overdue: NextDeadline | None
    deadline: NextDeadline | None
    clocks: Clocks
    decisions: tuple[Decision, ...]
    kinds: tuple[KindLine, ...]
    trend: tuple[Night, ...]
    harm: Harm
    """Who was in fact mailed while not permitted, of the windows that were noticed in the period."""
    harm_unlooked: int
    """People of whom nobody knows whether they were mailed: what was sent was not looked at after the run."""
    audit: Audit | None
    """The newest sync audit, None before the first."""
    reopened: Openers
    """Who opened again what had been stopped, in the last 30 nights."""
    plans: PlanNews
    """Breakers that tripped, what waits for approval, who undoes stops."""
    rows: tuple[Found, ...]
    log_size: int
    checkpoint: bytes
    policy_digest: bytes
    stored: Looked | None
    """The newest look at stored rows, None before the first."""
    attestors: tuple[Attestor, ...]
    """How it stands with each witness and time-stamping authority."""
    thresholds: tuple[tuple[str, str], ...]
    """The numbers of the policy set that decide in what is told here."""


def drift_report(tx: Connection, policy: PolicySet, *, now: datetime) -> DriftReport:
    """Return the report of the night of `now` (its UTC date), about the time since the last mail."""
    night = now.date()
    since = reading.period_start(tx, night, now)
    looked = reading.last_run(tx, now, reading.LOOKED)
    newest = _last_run(reading.last_run(tx, now), looked, now)
    rows = reading.found_since(tx, since, now, looked)
    withdrawals = reading.withdrawals_since(tx, since, now)
    told = events_of(tx, [SubjectId(sub) for sub in {one.sub for one in withdrawals}])
    withdrawals = started(tx, policy, withdrawals, told)
    elsewhere = said_elsewhere(rows, {one.sub for one in withdrawals}, now)
    times = clocks([*withdrawals, *elsewhere.values()], now)
    stops = [row for row in rows if row.action == STOP]
    people = _people(stops, withdrawals, now)
    stored = looks.last(tx)
    damaged = stored.damaged if stored else 0
    planned = plan_news(tx, since, now)
    found = decisions(
        rows,
        withdrawals,
        looked.without_consent if looked else 0,
        now,
        damaged=damaged,
        left_out=len({one.product for one in planned.tripped if one.left_out}),
        swift=swift(tx, since, now, policy.enforcement.swift_seconds),
    )
    overdue, deadline = deadlines(policy, rows, withdrawals, now)
    origin, size, checkpoint = reading.log_head(tx)
    harm = count_harm(tx, since=since)
    return DriftReport(
        night=night,
        controller=policy.controller.name,
        origin=origin,
        since=since,
        until=now,
        verdict=Verdict.ACTION if damaged else _verdict(newest, people, found),
        last_run=newest,
        people=people,
        missed=missed_rules(policy, stops, withdrawals, now),
        overdue=overdue,
        deadline=deadline,
        clocks=times,
        decisions=found,
        kinds=_kinds(rows),
        trend=_trend(tx, now),
        harm=harm,
        harm_unlooked=_unlooked(harm, looked, stops),
        audit=last_audit(tx),
        reopened=openers(tx, now - timedelta(days=TREND_NIGHTS), now),
        plans=planned,
        rows=tuple(sorted(rows, key=_urgency)),
        log_size=size,
        checkpoint=checkpoint,
        policy_digest=policy.digest,
        stored=stored,
        attestors=attestors(tx, now),
        thresholds=thresholds(policy),
    )


def _last_run(newest: Run | None, looked: Run | None, now: datetime) -> LastRun:
    if newest is None:
        return LastRun(
            id=None,
            kind="",
            state="never",
            started_at=None,
            finished_at=None,
            trouble="The two products have never been read.",
        )
    return LastRun(
        id=newest.id,
        kind=newest.kind,
        state=newest.state,
        started_at=newest.started_at,
        finished_at=newest.finished_at,
        trouble=_trouble(newest, looked, now),
    )


def _trouble(newest: Run, looked: Run | None, now: datetime) -> str:
    """Return why tonight's figures say little, or nothing if they are sound."""
    if newest.state == "refused":
        return f"The last run stopped before it wrote anything: {newest.reason or 'no reason was recorded'}"
    if newest.state == "observing" and now - newest.started_at > _BUSY:
        return f"The last run began on {newest.started_at:%d %B at %H:%M} UTC and never ended."
    if looked is None or now - looked.started_at > STALE:
        when = "ever" if looked is None else f"since {looked.started_at:%d %B at %H:%M} UTC"
        return f"No run has looked at both products {when}."
    return ""


def _verdict(last: LastRun, people: People, waiting: Iterable[Decision]) -> Verdict:
    if last.trouble:
        return Verdict.BLIND
    if any(decision.urgent for decision in waiting):
        return Verdict.ACTION
    return Verdict.REPAIRED if people.found or people.late else Verdict.IN_ORDER


def _people(rows: Sequence[Found], withdrawals: Sequence[Withdrawal], now: datetime) -> People:
    still = {row.person for row in rows if row.is_open}
    repaired = {row.person for row in rows if row.state == "repaired"} - still
    everybody = {row.person for row in rows}
    late = {row.subject or row.person for row in rows if row.is_late(now)}
    late |= {one.sub for one in withdrawals if one.is_late(now)}
    return People(
        found=len(everybody),
        repaired=len(repaired),
        open=len(still),
        settled=len(everybody - still - repaired),
        late=len(late),
        opt_outs=len({row.person for row in rows if describe(row.kind).opt_out}),
    )


def _unlooked(harm: Harm, looked: Run | None, stops: Iterable[Found]) -> int:
    """Return of how many who were found the mails were not looked at; none where the look came after."""
    if looked is None or (harm.looked_at is not None and harm.looked_at >= looked.started_at):
        return 0
    return len({row.person for row in stops if row.kind in MAILED_WRONGLY})


def _kinds(rows: Sequence[Found]) -> tuple[KindLine, ...]:
    lines = []
    for kind, action in {(row.kind, row.action) for row in rows}:
        same = [row for row in rows if (row.kind, row.action) == (kind, action)]
        lines.append(
            KindLine(
                kind=kind,
                title=describe(kind).title,
                meaning=describe(kind).meaning,
                action=action,
                found=len(same),
                repaired=sum(row.state == "repaired" for row in same),
                open=sum(row.is_open for row in same),
                causes=tuple(Counter(filter(None, map(_caused, same))).most_common()),
            )
        )
    return tuple(sorted(lines, key=lambda line: (line.action != STOP, -line.open, -line.found, line.kind)))


def _caused(row: Found) -> str:
    return f"{row.cause}, {row.actor}" if row.actor else row.cause


def _trend(tx: Connection, now: datetime) -> tuple[Night, ...]:
    first = now.date() - timedelta(days=TREND_NIGHTS - 1)
    looked, counts = reading.days_looked(tx, first, now), reading.days_found(tx, first, now, STOP)
    nothing = reading.DayCount(found=0, repaired=0)
    nights: list[Night] = []
    for day in (first + timedelta(days=number) for number in range(TREND_NIGHTS)):
        if day in looked:
            count = counts.get(day, nothing)
            nights.append(Night(day=day, found=count.found, repaired=count.repaired))
        else:
            nights.append(Night(day=day, found=None, repaired=None))
    return tuple(nights)


def _urgency(row: Found) -> tuple[bool, bool, bool, datetime, str, str]:
    """Sort what is open first, stops before reports, the nearest deadline first."""
    due = row.due_at or row.since
    return not row.is_open, row.action != STOP, row.due_at is None, due, row.kind, row.person
