"""One reconciliation from reading to read-back; a dry run unless told otherwise.

observe, guard, compare, record news, plan, and then, only when applying: write, read back, record. A
dry run writes to neither product and records nothing in the ledger; it fills the mirrors and lists.
"""

import time
from collections.abc import Mapping
from dataclasses import dataclass

from sqlalchemy import func, select, update

from service.db import drift, subject
from service.errors import ServiceError
from service.reconciler import diff, mirror, news, plan, runs
from service.reconciler.apply import Applied, apply
from service.reconciler.context import Context
from service.reconciler.diff import STOPPING
from service.reconciler.news import News
from service.reconciler.observe import observe, require_complete
from service.reconciler.plan import Plan


@dataclass(frozen=True, slots=True, kw_only=True)
class RunResult:
    """What one run saw and did; counts are people by kind of drift, unless said otherwise.

    `found` is everything that disagreed, `new` what the previous run did not know, `applied` who was
    repaired, `failed` who was not, `remaining` who is still to be stopped. `news` counts events by
    category; in a dry run those that would be recorded. `calls` and `credits` are what this run spent.
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
    calls: Mapping[str, int]
    credits: int
    seconds: float


def reconcile(context: Context, *, applying: bool = False) -> RunResult:
    """Run once and return what was seen and done.

    Raises `Unsafe` when a read cannot be believed and `ZohoError` when it failed; then nothing was
    dropped, recorded or written, and the run is kept as refused with the reason.
    """
    clock = time.monotonic()
    calls, spent = dict(context.crm.meter.calls), context.crm.meter.credits
    resumed = _resume(context) if applying else None
    run_id, previous = _observed(context)
    found, heard = _compared(context, run_id, applying=applying)
    with context.db.begin() as tx:
        made = plan.plan(tx, run_id, found, policy=context.policy)
        runs.advance(
            tx, run_id, "applying" if applying else "planned", planned=len(made.changes), policy=made.policy
        )
        if applying:
            plan.keep(tx, made)
    context.progress("planned", len(made.changes), len(made.changes))
    done = apply(context) if applying else None
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
        remaining=_sum(states, "found", "failed", "open"),
        changes=done,
        resumed=resumed,
        calls={name: n - calls.get(name, 0) for name, n in context.crm.meter.calls.items()},
        credits=context.crm.meter.credits - spent,
        seconds=time.monotonic() - clock,
    )
    _finish(context, result)
    return result


def _resume(context: Context) -> Applied | None:
    """Finish what an earlier run left, if it left anything."""
    left = apply(context)
    context.progress("resumed", left.proved, left.proved)
    return left if left != Applied() else None


def _observed(context: Context) -> tuple[int, int | None]:
    """Read both products into the mirrors; return this run and the one that is compared with."""
    started = context.now()
    with context.db.begin() as tx:
        run_id = runs.begin(tx, started)
        believed = runs.last_believed(tx, run_id)
    context.progress("observing", 0, 0)
    previous, since, before = believed or (None, None, {})
    try:
        observe(context, run_id, since=since)
        with context.db.read() as tx:
            seen = mirror.count_seen(tx, run_id)
        require_complete(seen, before, context.policy.enforcement.largest_shrink)
    except ServiceError as error:
        with context.db.begin() as tx:
            runs.advance(tx, run_id, "refused", finished_at=context.now(), reason=str(error))
        raise
    context.progress("believed", sum(seen.values()), sum(seen.values()))
    with context.db.begin() as tx:
        mirror.drop_unseen(tx, run_id)
        runs.advance(tx, run_id, "observing", seen=seen)
    context.progress("observed", sum(seen.values()), sum(seen.values()))
    return run_id, previous


def _compared(context: Context, run_id: int, *, applying: bool) -> tuple[diff.Found, News]:
    """Compare first, then record what the ledger did not know (in a dry run: count it)."""
    at = context.now()
    with context.db.begin() as tx:
        found = diff.compare(tx, run_id, policy=context.policy, vault=context.vault, now=at)
    context.progress("compared", sum(found.kinds.values()), sum(found.kinds.values()))
    if not applying:
        with context.db.read() as tx:
            return found, news.preview(tx, context.policy, at)
    heard = news.record(context, at)
    with context.db.begin() as tx:
        known = (
            select(subject.c.sub).where(subject.c.address_index == drift.c.address_index).scalar_subquery()
        )
        tx.execute(update(drift).where(drift.c.run_id == run_id, drift.c.sub.is_(None)).values(sub=known))
    return found, heard


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
