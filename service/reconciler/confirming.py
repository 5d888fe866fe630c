"""Read back what let people be mailed again, and record it with who approved; only then is it verified.

Somebody who withdrew while we were writing is stopped again.
"""

from collections.abc import Mapping, Sequence

from sqlalchemy import insert, or_, select

from service.db import plan, standing, task
from service.reconciler import changes, mirror, permissible, plans, proof
from service.reconciler.changes import Ended, Item
from service.reconciler.context import Context
from service.reconciler.enforcement import (
    CAMPAIGNS,
    CONFIRMED,
    CRM,
    DIFFERS,
    GONE,
    require_recorded,
)
from service.reconciler.plan import CRM_BATCH
from service.reconciler.planning import governed_lists
from service.reconciler.port import CrmRecord, Member


def prove_crm(context: Context) -> None:
    """Read written CRM records back in batches and record them; a `ZohoError` leaves the rest written."""
    for batch in changes.by_module(waiting(context, CRM, "written"), CRM_BATCH):
        records = {(r.module, r.record_id): r for r in context.crm.read([item.record for item in batch])}
        context.progress("read back permits crm", len(batch), len(batch))
        seen = {item: _shown(records.get(item.record)) for item in batch}
        _record(context, seen)
        with context.db.begin() as tx:
            mirror.note_opted_out(tx, records.values())
        _stop_again(context, batch)


def _shown(record: CrmRecord | None) -> str:
    if record is None:
        return GONE
    return DIFFERS if record.opted_out else CONFIRMED


def prove_lists(context: Context) -> None:
    """Read the lists back on which they should be active again."""
    written = waiting(context, CAMPAIGNS, "written")
    if not written:
        return
    awaited = lists_of(context, [item.address_index for item in written])
    active: dict[bytes, set[str]] = {}
    for name in sorted({name for lists in awaited.values() for name in lists}):
        for found in context.campaigns.members(name, Member.ACTIVE):
            index = context.vault.address_index(found.address)
            if index in awaited:
                active.setdefault(index, set()).add(name)
    seen = {
        item: CONFIRMED
        if set(awaited.get(item.address_index, ())) <= active.get(item.address_index, set())
        else DIFFERS
        for item in written
    }
    context.progress("read back permits campaigns", len(seen), len(seen))
    _record(context, seen)
    now = context.now()
    with context.db.begin() as tx:
        for item, how in seen.items():
            if how == CONFIRMED:
                mirror.note_permitted(tx, item.address_index, sorted(awaited[item.address_index]), now)
    _stop_again(context, written)


def _record(context: Context, seen: Mapping[Item, str]) -> None:
    """Record what was read back, with the approval that it was written under; then say so in our rows."""
    now = context.now()
    with context.db.read() as tx:
        approved = {
            run_id: (digest.hex(), plans.approvers(tx, run_id))
            for run_id, digest in tx.execute(
                select(plan.c.run_id, plan.c.digest).where(plan.c.run_id.in_({i.run_id for i in seen}))
            )
        }
    claims = [
        proof.enforced(item, how, approved=approved[item.run_id]).claim(context.policy, now)
        for item, how in seen.items()
        if item.sub is not None
    ]
    require_recorded(context.intake.record(claims))
    context.progress("recorded permits", len(claims), len(claims))
    differs = Ended(state="failed", error="read back, it was not as written; a list may ask to confirm first")
    mark(
        context, {item: Ended(state="proved") if how == CONFIRMED else differs for item, how in seen.items()}
    )


def _stop_again(context: Context, items: Sequence[Item]) -> None:
    """Carry a stop again that was recorded, and perhaps carried out, while we were writing the opposite."""
    subs = [item.sub for item in items if item.sub is not None]
    now = context.now()
    due_at, rule = context.policy.stop_by(now, "unknown", address=None)
    with context.db.begin() as tx:
        rows = tx.execute(
            select(standing.c.sub, standing.c.decided_by, standing.c.suppressed_by).where(
                standing.c.sub.in_(subs),
                standing.c.purpose == context.governed,
                or_(standing.c.must_stop == 1, standing.c.state == "refused"),
            )
        ).all()
        for row in rows:
            tx.execute(
                insert(task).values(
                    sub=row.sub,
                    cause_idx=row.suppressed_by or row.decided_by,
                    received_at=now,
                    due_at=due_at,
                    due_rule=rule.id,
                    state="open",
                    attempts=0,
                    not_before=now,
                )
            )


def lists_of(context: Context, indexes: Sequence[bytes]) -> Mapping[bytes, dict[str, str]]:
    """Return each person's status on the governed lists, as the mirror has it."""
    with context.db.read() as tx:
        return permissible.statuses(tx, indexes, governed_lists(context.policy))


def waiting(context: Context, product: str, state: str) -> list[Item]:
    """Return the permissive changes of a product in a state."""
    with context.db.read() as tx:
        return changes.waiting(tx, product, state, "permit")


def mark(context: Context, ended: Mapping[Item, Ended]) -> None:
    """Move changes to their new states."""
    if ended:
        with context.db.begin() as tx:
            changes.mark(tx, list(ended.items()), context.now())
