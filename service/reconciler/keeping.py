"""Store a run's plan whole: a crash loses neither a write nor its proof, an approval names its digest."""

from datetime import datetime
from itertools import chain
from typing import Any

from sqlalchemy import Connection, and_, exists, insert, or_, update

from service.db import batches, change, plan
from service.policy import PolicySet
from service.reconciler.plan import Change, Plan, cost_of_permits
from service.reconciler.planning import governed_lists


def keep(tx: Connection, made: Plan, *, policy: PolicySet, applying: bool, at: datetime) -> None:
    """Store a plan with all its changes, so that a crash loses neither a write nor its proof.

    What an earlier plan left unwritten and this one plans again is superseded there. What it left and
    this one does not plan was written after all, by an answer that got lost: it still waits for its proof.
    """
    needed = policy.enforcement.permissive.approvals(made.to_permit)
    calls, crm_credits = cost_of_permits(made.permits, len(governed_lists(policy)))
    state = "open" if made.permits else "applying" if applying else "listed"
    tx.execute(
        insert(plan).values(
            run_id=made.run_id,
            digest=made.digest,
            policy=policy.digest,
            state=state,
            approvals=needed,
            calls=made.calls + calls,
            credits=made.crm_credits + crm_credits,
            made_at=at,
        )
    )
    stops = "planned" if applying else "proposed"
    rows = chain(
        (_row(made.run_id, item, stops) for item in made.changes),
        (_row(made.run_id, item, "contested") for item in made.contested),
        (_row(made.run_id, item, "contested" if item.contested else "proposed") for item in made.permits),
    )
    for part in batches(rows):
        tx.execute(insert(change), part)
    _supersede_earlier(tx, made.run_id)


def _supersede_earlier(tx: Connection, run_id: int) -> None:
    again = change.alias("again")
    replanned = exists().where(
        again.c.run_id == run_id,
        again.c.target == change.c.target,
        again.c.address_index == change.c.address_index,
        again.c.direction == change.c.direction,
    )
    earlier = and_(change.c.run_id < run_id, change.c.direction == "stop")
    left = or_(change.c.state == "proposed", and_(change.c.state == "planned", replanned))
    tx.execute(
        update(change)
        .where(earlier, left)
        .values(state="superseded", code="REPLANNED", error=f"planned again by run {run_id}", next_at=None)
    )


def _row(run_id: int, item: Change, state: str) -> dict[str, Any]:
    return {
        "run_id": run_id,
        "target": item.target,
        "address_index": item.address_index,
        "sub": item.sub,
        "kind": item.kind,
        "cause_idx": item.cause_idx,
        "due_at": item.due_at,
        "due_rule": item.due_rule,
        "state": state,
        "direction": item.direction,
        "field": item.field,
        "old": item.old,
        "new": item.new,
        "reason": item.reason,
        "basis": item.basis,
        "undone_by": item.undone_by,
    }
