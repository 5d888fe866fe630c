"""What of CRM a run reads: everything, or what was changed, deleted or merged since the run before.

An increment is trusted only beside a mirror that is complete: the run just before was believed, by the same
rules, and everything was read not long ago. A small module is read whole, which costs as little; so is one
that an increment cannot follow.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import islice

import msgspec
from sqlalchemy import Connection, select

from service.db import run
from service.errors import ZohoDenied, ZohoError
from service.reconciler import crm_mirror, runs
from service.reconciler.asking import ask
from service.reconciler.context import Context
from service.reconciler.port import CrmRecord

Put = Callable[[Iterable[CrmRecord]], None]
"""Takes records into the mirror, chunk by chunk."""

FOLLOWED_FROM = 6_000
"""Records of a module from which on an increment costs less: 6 credits of COQL, deletions and a count."""
OVERLAP = timedelta(minutes=10)
"""How far behind the run before changes are asked for again, and how young a record may be to be missing in
CRM's count: its index lags. Both by CRM's own clock, never by ours."""
MOST_DELETED = 5_000
"""Deletions that are followed one by one: 50 credits. More are found cheaper by reading everything."""
UNPAGED = {"DISCRETE_PAGINATION_LIMIT_EXCEEDED", "PAGINATION_LIMIT_EXCEEDED", "LIMIT_EXCEEDED"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Base:
    """When CRM was asked, by its own clock, in the run that an increment builds on; and last read whole."""

    asked_at: datetime
    swept_at: datetime


def read_crm(context: Context, run_id: int, put: Put, *, followed_from: int = FOLLOWED_FROM) -> None:
    """Read CRM into the mirror through `put`, and keep with the run which modules were read whole."""
    at, asked = context.now(), ask(context)
    every = {module.name for module in context.policy.zoho.crm.modules}
    with context.db.read() as tx:
        base = base_of(tx, run_id, context, at)
        held = crm_mirror.count_held(tx)
    large = {name for name in every if held.get(name, 0) >= followed_from}
    lost = large if base is None else _follow(context, run_id, base, put, sorted(large))
    whole = sorted((every - large) | set(lost))
    if whole:
        put(context.crm.observe(modules=whole))
    swept_at = at if base is None or set(whole) == every else base.swept_at
    rules = context.policy.digest.hex()
    facts = {"swept_at": swept_at, "asked_at": asked.by_crm(context), "rules": rules, "whole": whole}
    with context.db.begin() as tx:
        runs.advance(tx, run_id, "observing", crm=facts)


def _follow(context: Context, run_id: int, base: Base, put: Put, modules: Sequence[str]) -> Iterable[str]:
    """Take over what changed since `base`; return the modules that have to be read whole all the same.

    What was deleted is asked for first: whoever is deleted and restored since is then seen as changed.
    """
    if not modules:
        return ()
    since, asked = base.asked_at - OVERLAP, ask(context)
    try:
        gone = list(islice(context.crm.deleted(since, modules), MOST_DELETED + 1))
        if len(gone) > MOST_DELETED:
            return modules
        put(context.crm.observe(since=since, modules=modules))
        counts = context.crm.counts(modules)
    except ZohoError as error:
        if isinstance(error, ZohoDenied) or error.code in UNPAGED:
            return modules
        raise
    settled = asked.by_crm(context) - OVERLAP
    with context.db.begin() as tx:
        return crm_mirror.keep_unchanged(tx, run_id, gone=gone, counts=counts, settled_before=settled)


def base_of(tx: Connection, run_id: int, context: Context, at: datetime) -> Base | None:
    """Return the run before this one if an increment may build on it."""
    row = tx.execute(
        select(run.c.state, run.c.started_at, run.c.summary)
        .where(run.c.kind == runs.KIND, run.c.id < run_id)
        .order_by(run.c.id.desc())
        .limit(1)
    ).one_or_none()
    if row is None or row.state not in runs.BELIEVED:
        return None
    facts = msgspec.json.decode(row.summary).get("crm", {})
    if facts.get("rules") != context.policy.digest.hex():
        return None
    swept_at = datetime.fromisoformat(facts["swept_at"])
    oldest = timedelta(hours=context.policy.enforcement.full_sweep_hours)
    is_fresh = timedelta(0) <= at - swept_at < oldest
    asked_at = runs.asked_at(row.summary) or row.started_at
    return Base(asked_at=asked_at, swept_at=swept_at) if is_fresh else None
