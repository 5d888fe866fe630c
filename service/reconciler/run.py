"""One reconciliation from reading to read-back; a dry run unless told otherwise.

observe, judge, compare, record news, plan, and then, only when applying: stop, let go what was approved,
read back, record. A dry run writes to neither product and records nothing in the ledger; it fills the
mirrors and keeps its plan. A product that a breaker leaves out is as if nobody were in it.
"""

import time
from collections.abc import Mapping
from dataclasses import dataclass

from sqlalchemy import func, select, update

from service.db import drift, subject
from service.reconciler import (
    attribution,
    breakers,
    diff,
    keeping,
    letting,
    news,
    permissible,
    planning,
    plans,
    runs,
)
from service.reconciler.apply import Applied, apply
from service.reconciler.breakers import Trip
from service.reconciler.context import Context
from service.reconciler.diff import STOPPING
from service.reconciler.looking import look
from service.reconciler.news import News
from service.reconciler.plan import Plan


@dataclass(frozen=True, slots=True, kw_only=True)
class RunResult:
    """What one run saw and did; counts are people by kind of drift, unless said otherwise.

    `found` is everything that disagreed, `new` what the previous run did not know, `applied` who was
    repaired, `failed` who was not, `remaining` who is still to be stopped. `news` counts events by
    category; in a dry run those that would be recorded. `tripped` are the breakers that left a product out
    or let nobody go in it. `calls` and `credits` are what this run spent.
    """

    run_id: int
    applying: bool
    found: Mapping[str, int]
    new: Mapping[str, int]
    news: Mapping[str, int]
    plan: Plan
    applied: Mapping[str, int]
    failed: Mapping[str, int]
    remaining: Mapping[str, int]
    changes: Applied | None
    resumed: Applied | None
    tripped: tuple[Trip, ...]
    calls: Mapping[str, int]
    credits: int
    seconds: float


def reconcile(context: Context, *, applying: bool = False) -> RunResult:
    """Run once and return what was seen and done.

    Raises `Unsafe` when neither product can be believed and `ZohoError` when a read failed; then nothing
    was dropped, recorded or written, and the run is kept as refused with the reason.
    """
    clock = time.monotonic()
    calls, spent = dict(context.crm.meter.calls), context.crm.meter.credits
    resumed = _resume(context) if applying else None
    run_id, previous, trips = look(context, applying=applying)
    found, heard = _compared(context, run_id, breakers.blind(trips), applying=applying)
    made, trips = _planned(context, run_id, found, trips, applying=applying)
    context.progress("planned", len(made.changes), len(made.changes))
    done = None
    if applying:
        done = apply(context, without=breakers.blind(trips))
        done.stopped |= letting.let_go(context, breakers.held(trips))
    states = _states(context, run_id)
    result = RunResult(
        run_id=run_id,
        applying=applying,
        found=found.kinds,
        new=_new(context, run_id, previous),
        news=heard.recorded,
        plan=made,
        applied=states.get("repaired", {}),
        failed=states.get("failed", {}),
        remaining=_sum(states, "found", "failed", "open", "contested"),
        changes=done,
        resumed=resumed,
        tripped=tuple(trips),
        calls={name: n - calls.get(name, 0) for name, n in context.crm.meter.calls.items()},
        credits=context.crm.meter.credits - spent,
        seconds=time.monotonic() - clock,
    )
    _finish(context, result)
    return result


def _resume(context: Context) -> Applied | None:
    """Finish the stops that an earlier run left, if it left any, but not where its breakers tripped."""
    with context.db.read() as tx:
        believed = runs.last_believed(tx)
        trips = [] if believed is None else breakers.tripped(tx, believed[0])
    left = apply(context, without=breakers.blind(trips))
    context.progress("resumed", left.proved, left.proved)
    return left if left != Applied() else None


def _compared(
    context: Context, run_id: int, without: frozenset[str], *, applying: bool
) -> tuple[diff.Found, News]:
    """Compare first, then record what the ledger did not know (in a dry run: count it)."""
    at = context.now()
    with context.db.begin() as tx:
        found = diff.compare(tx, run_id, policy=context.policy, vault=context.vault, now=at, without=without)
        attribution.attribute(tx, run_id)
    attribution.read_timelines(context, run_id)
    context.progress("compared", sum(found.kinds.values()), sum(found.kinds.values()))
    if not applying:
        with context.db.read() as tx:
            return found, news.preview(tx, context.policy, at, without=without)
    heard = news.record(context, at, without=without)
    with context.db.begin() as tx:
        known = (
            select(subject.c.sub).where(subject.c.address_index == drift.c.address_index).scalar_subquery()
        )
        tx.execute(update(drift).where(drift.c.run_id == run_id, drift.c.sub.is_(None)).values(sub=known))
    return found, heard


def _planned(
    context: Context, run_id: int, found: diff.Found, trips: list[Trip], *, applying: bool
) -> tuple[Plan, list[Trip]]:
    """Keep the plan of this run; return it with all that tripped. Older plans that are out of date end."""
    policy, at = context.policy, context.now()
    with context.db.begin() as tx:
        plans.expire(tx, policy=policy, now=at)
        permits = permissible.permits(tx, run_id, policy=policy, now=at)
        many = breakers.judge_re_permissions(tx, policy, permits)
        breakers.keep(tx, run_id, many, at)
        trips = [*trips, *many]
        held = breakers.held(trips)
        made = planning.plan(
            tx,
            run_id,
            found,
            policy=policy,
            now=at,
            permits=[item for item in permits if item.target.partition(":")[0] not in held],
            without=breakers.blind(trips),
        )
        runs.advance(
            tx, run_id, "applying" if applying else "planned", planned=len(made.changes), policy=made.policy
        )
        keeping.keep(tx, made, policy=policy, applying=applying, at=at)
    return made, trips


def _states(context: Context, run_id: int) -> dict[str, dict[str, int]]:
    """Return how many people who are to be stopped are in which state, by state and kind."""
    with context.db.read() as tx:
        rows = tx.execute(
            select(drift.c.state, drift.c.kind, func.count())
            .where(drift.c.run_id == run_id, drift.c.kind.in_(STOPPING))
            .group_by(drift.c.state, drift.c.kind)
        )
        states: dict[str, dict[str, int]] = {}
        for state, kind, count in rows:
            states.setdefault(state, {})[kind] = count
    return states


def _sum(states: Mapping[str, Mapping[str, int]], *names: str) -> dict[str, int]:
    total: dict[str, int] = {}
    for name in names:
        for kind, count in states.get(name, {}).items():
            total[kind] = total.get(kind, 0) + count
    return total


def _new(context: Context, run_id: int, previous: int | None) -> Mapping[str, int]:
    with context.db.read() as tx:
        return diff.new_since(tx, run_id, previous)


def _finish(context: Context, result: RunResult) -> None:
    facts = {
        "found": dict(result.found),
        "new": dict(result.new),
        "news": dict(result.news),
        "applied": dict(result.applied),
        "failed": dict(result.failed),
        "remaining": dict(result.remaining),
        "without_consent": sum(result.plan.without_consent.values()),
        "calls": dict(result.calls),
        "credits": result.credits,
        "seconds": round(result.seconds, 3),
    }
    with context.db.begin() as tx:
        state = "done" if result.applying else "planned"
        runs.advance(tx, result.run_id, state, finished_at=context.now(), **facts)
    context.progress("finished", 1, 1)
