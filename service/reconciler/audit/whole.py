"""One audit from the mirrors to a kept row: count, judge, compare with the one before."""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, select

from service.db import run
from service.errors import NotFound
from service.policy import PolicySet
from service.reconciler import roomy, runs
from service.reconciler.audit import budget, duplicates, fields, flowback, keeping, lag
from service.reconciler.audit.budget import Spending
from service.reconciler.audit.counting import count
from service.reconciler.audit.fields import Metadata
from service.reconciler.audit.point import Audit, Point, compared
from service.reconciler.sides import facts


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What is handed to an audit from outside the database: metadata, spending, a planned push."""

    metadata: Metadata
    spending: Spending
    push: int = 0


def audit(tx: Connection, policy: PolicySet, asked: Asked, *, now: datetime) -> Audit:
    """Audit what the last believed run read, and keep the result.

    Raises `NotFound` while no run has read both products to the end.
    """
    believed = runs.last_believed(tx)
    if believed is None:
        raise NotFound("nothing was ever read from both products; run `consent-ledger reconcile` first")
    run_id = believed[0]
    points = compared(_points(tx, policy, asked, now), keeping.points_before(tx))
    return Audit(
        id=keeping.keep(tx, points, run_id=run_id, at=now),
        at=now,
        run_id=run_id,
        read_at=tx.scalars(select(run.c.started_at).where(run.c.id == run_id)).one(),
        points=points,
    )


def _points(tx: Connection, policy: PolicySet, asked: Asked, now: datetime) -> tuple[Point, ...]:
    rules, mapping = policy.enforcement, policy.zoho
    roomy.prepare(tx)
    fact = facts(policy, now)
    found = count(tx, fact, flowback.measures(fact, soft_limit=rules.soft_bounce_limit))
    planned = budget.forecast(asked.spending, contacts=asked.push, now=now)
    return (
        flowback.unsubscribes(found),
        fields.mapping(fields.compare(mapping, asked.metadata)),
        lag.lists(lag.lags(tx, mapping.campaigns.lists), now=now),
        duplicates.records(duplicates.duplicates(tx)),
        flowback.bounces(found, soft_limit=rules.soft_bounce_limit, soft_days=rules.soft_bounce_days),
        budget.calls(asked.spending, planned),
        flowback.permissions(found, label=mapping.campaigns.permission_label),
    )
