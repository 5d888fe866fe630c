"""Write what people approved: let somebody be mailed again, read it back, record it with who approved.

Only in the off-hours, and only what is still exactly what was approved. Before each write the ledger and
the record are read again; after it, somebody who withdrew meanwhile is stopped again. Works on the rows of
`change`, so that a crash between any two steps is carried on by the next run.
"""

import hashlib
from collections.abc import Sequence

from sqlalchemy import select

from service.db import plan
from service.errors import ZohoError
from service.reconciler import breakers, changes, confirming, permissible, plans, runs
from service.reconciler.changes import Ended, Item
from service.reconciler.context import Context
from service.reconciler.enforcement import (
    CAMPAIGNS,
    CRM,
    GONE,
)
from service.reconciler.plan import CRM_BATCH, basis_in_crm
from service.reconciler.port import CrmChange, CrmRecord, Member, Result
from service.reconciler.sealed import addresses_of

ALREADY = "ALREADY"
LIST_BATCH = 16


def let_go(context: Context, held: frozenset[str] = frozenset()) -> dict[str, str]:
    """Write and prove what was approved, but nothing in the products `held`; return which stopped and why."""
    now = context.now()
    if context.opens(now) > now:
        return {}
    with context.db.begin() as tx:
        plans.release(tx, policy=context.policy, now=now, held=held)
    stopped: dict[str, str] = {}
    for product, steps in (
        (CRM, (_write_crm, confirming.prove_crm)),
        (CAMPAIGNS, (_write_lists, confirming.prove_lists)),
    ):
        for step in steps:
            try:
                if product.rstrip(":") not in held:
                    step(context)
            except ZohoError as error:
                stopped[product] = str(error)
    with context.db.begin() as tx:
        begun = tx.scalars(select(plan.c.run_id).where(plan.c.state == "applying")).all()
        changes.settle_permits(tx, begun)
        plans.settle(tx, context.now())
    return stopped


def between_runs(context: Context) -> dict[str, str]:
    """Do the same without a run, by what the newest run tripped; asks nothing where nothing was approved."""
    with context.db.read() as tx:
        approved = select(plan.c.run_id).where(plan.c.state.in_(["approved", "applying"])).limit(1)
        if tx.scalar(approved) is None:
            return {}
        believed = runs.last_believed(tx)
        trips = [] if believed is None else breakers.tripped(tx, believed[0])
    return let_go(context, breakers.held(trips))


def _write_crm(context: Context) -> None:
    for batch in changes.by_module(confirming.waiting(context, CRM, "planned"), CRM_BATCH):
        current = _still_approved(context, batch)
        records = {(r.module, r.record_id): r for r in context.crm.read([item.record for item in current])}
        ended = {item: _settled(item, records.get(item.record)) for item in current}
        fresh = list(dict.fromkeys(item.record for item in current if ended[item] is None))
        context.progress("permit crm", 0, len(fresh))
        written = context.crm.enforce([_unopted(records[record]) for record in fresh])
        context.progress("permitted crm", len(fresh), len(fresh))
        results = dict(zip(fresh, written, strict=True))
        confirming.mark(context, {item: end or _ended([results[item.record]]) for item, end in ended.items()})


def _settled(item: Item, record: CrmRecord | None) -> Ended | None:
    """Return how a change ends without a write, or None where it is to be written."""
    if record is None:
        return Ended(state="failed", code=GONE, error="the record is gone")
    if not record.opted_out:
        return Ended(state="written", code=ALREADY)
    if basis_in_crm(record.unsubscribed_at, record.unsubscribed_mode) != item.basis:
        return Ended(state="superseded", code="MOVED", error="somebody changed the record since")
    return None


def _unopted(record: CrmRecord) -> CrmChange:
    """Return the write that fails if anybody wrote the record since it was read."""
    return CrmChange(
        module=record.module,
        record_id=record.record_id,
        opted_out=False,
        unmodified_since=record.modified_at,
    )


def _write_lists(context: Context) -> None:
    """Write the permission and bring back whom Do-Not-Mail holds: each has a fresh consent, so it may be."""
    for batch in changes.parts(confirming.waiting(context, CAMPAIGNS, "planned"), LIST_BATCH):
        current = _still_approved(context, batch)
        indexes = [item.address_index for item in current]
        statuses = confirming.lists_of(context, indexes)
        with context.db.read() as tx:
            known = addresses_of(tx, indexes, context.vault)
        context.progress("permit campaigns", 0, len(current))
        ended = {}
        for item in current:
            lists = statuses.get(item.address_index, {})
            left = Member.UNSUBSCRIBED.value in lists.values()
            results = context.campaigns.permit(known[item.address_index], sorted(lists), rejoin=left)
            ended[item] = _ended(results)
        context.progress("permitted campaigns", len(current), len(current))
        confirming.mark(context, ended)


def _still_approved(context: Context, batch: Sequence[Item]) -> list[Item]:
    """Return those of the changes that are still what was approved; the others are superseded.

    One that a product shows already is: a crash lost the answer to its write.
    """
    rules, now, right = context.policy, context.now(), set[tuple[int, str, bytes, int | None]]()
    with context.db.read() as tx:
        under = select(plan.c.run_id).where(
            plan.c.run_id.in_({item.run_id for item in batch}), plan.c.policy == rules.digest
        )
        for run_id in tx.scalars(under).all():
            basis = {(item.target, item.address_index): item.basis for item in batch if item.run_id == run_id}
            for one in permissible.permits(tx, run_id, policy=rules, now=now, waiting=True):
                if basis.get((one.target, one.address_index)) == one.basis:
                    right.add((run_id, one.target, one.address_index, one.cause_idx))
            there = permissible.reached(tx, run_id, policy=rules, now=now)
            right |= {(run_id, *key) for key in there}
    kept = [i for i in batch if (i.run_id, i.target, i.address_index, i.cause_idx) in right]
    moved = Ended(state="superseded", code="MOVED", error="not what was approved any more")
    confirming.mark(context, {item: moved for item in batch if item not in kept})
    return kept


def _ended(results: Sequence[Result]) -> Ended:
    """Return what the steps of one change add up to."""
    answers = hashlib.sha256(b"".join(result.answer_sha256 for result in results)).digest()
    undone = [result for result in results if not result.done]
    if not undone:
        return Ended(state="written", code=results[0].code if results else "", answer_sha256=answers)
    worst = min(undone, key=lambda result: result.retry)
    return Ended(
        state="planned" if worst.retry else "failed",
        code=worst.code,
        answer_sha256=answers,
        error=f"{worst.code} {worst.reason}".strip(),
        until=worst.until,
    )
