"""Carry out planned changes and prove them; safe to run again after a crash between any two steps.

Works on the stops among the rows of `change`, whichever run planned them, most urgent first, at any
hour; what permits is `letting`'s. Right before each write the standing and the change itself are read
again, and once more where this process was frozen since: no plan outlives a newer consent, and what
another run has settled meanwhile is left to it. A change goes from planned to written (accepted by the
product, answer kept) to proved (read back and recorded). What a crash repeats does no harm: writes are
absolute, and the ledger's key names the run and the target.
"""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from sqlalchemy import Connection, select

from service.db import member
from service.errors import ZohoError
from service.reconciler import changes, plans, proof, theirs
from service.reconciler.changes import Ended, Item
from service.reconciler.context import Context
from service.reconciler.enforcement import CAMPAIGNS, CRM
from service.reconciler.port import BOUNCED, Member, Result
from service.reconciler.sealed import addresses_of

BOUNCES = {
    "hard_bounce_not_in_crm": BOUNCED,
    "repeated_soft_bounce_not_in_crm": "Repeated soft bounces",
}
"""What CRM is told about a dead mailbox, where a field is there for it."""
WRITERS = 8
"""Calls to Campaigns at a time; the products allow ten connections."""
CAMPAIGNS_BATCH = 32
HOLDS = timedelta(seconds=5)
"""How long a decision that was read holds: after a longer freeze it is read again before the write."""

NEWER = Ended(state="superseded", code="OUTDATED", error="the ledger does not say stop any more")

LEFT = Ended(state="left")
"""Not written, and whatever has to be said of it is said already."""

Write = Callable[[Context, Sequence[Item], datetime], Mapping[Item, Ended]]
"""Takes changes and when it was read that they are wanted; returns how each ended."""


@dataclass(slots=True, kw_only=True)
class Applied:
    """How the changes ended; `stopped` says per product why the rest was left for the next run."""

    proved: int = 0
    failed: int = 0
    superseded: int = 0
    open: int = 0
    stopped: dict[str, str] = field(default_factory=dict)


def apply(context: Context, *, without: frozenset[str] = frozenset()) -> Applied:
    """Carry out and prove every stop that waits, but none in the products `without`.

    A product that fails, or whose window is used up, does not stop the other.
    """
    applied = Applied()
    with context.db.read() as tx:
        runs = changes.unsettled(tx)
    _write_all(context, applied, without)
    for product, prove in ((CRM, proof.prove_crm), (CAMPAIGNS, proof.prove_campaigns)):
        try:
            if product.rstrip(":") not in without:
                prove(context)
        except ZohoError as error:
            applied.stopped[product] = str(error)
    with context.db.begin() as tx:
        changes.settle(tx, runs, context.now())
        plans.settle(tx, context.now())
        states = changes.count(tx, runs)
    applied.proved, applied.failed = states.get("proved", 0), states.get("failed", 0)
    applied.superseded = states.get("superseded", 0)
    applied.open = states.get("planned", 0) + states.get("written", 0)
    return applied


def _write_all(context: Context, applied: Applied, without: frozenset[str]) -> None:
    """Write batch by batch, next from where the most urgent change waits: by deadline, then by cost."""
    queues = _queues(context, without)
    totals = {name: len(queue) for name, queue in queues.items()}
    while queues:
        name = min(queues, key=lambda one: changes.urgency(queues[one][0]))
        of_crm = name != CAMPAIGNS
        size = context.crm.at_once(len(queues[name])) if of_crm else CAMPAIGNS_BATCH
        write: Write = _write_crm if of_crm else _write_campaigns
        batch, queues[name] = queues[name][:size], queues[name][size:]
        try:
            _write(context, name, batch, write, done=totals[name] - len(batch) - len(queues[name]))
        except ZohoError as error:
            applied.stopped[name] = str(error)
            queues[name] = []
        queues = {name: queue for name, queue in queues.items() if queue}


def _queues(context: Context, without: frozenset[str]) -> dict[str, list[Item]]:
    """Return the stops that wait, by what one call can write: a CRM module, or Campaigns."""
    names = [f"{CRM}{module.name}/" for module in context.policy.zoho.crm.modules]
    with context.db.read() as tx:
        found = {
            name: changes.waiting(tx, name, "planned")
            for name in (*names, CAMPAIGNS)
            if name.partition(":")[0] not in without
        }
    return {name: items for name, items in found.items() if items}


def _write(context: Context, product: str, batch: Sequence[Item], write: Write, *, done: int) -> None:
    """Write one batch; raises a `ZohoError` where the product takes nothing now."""
    context.progress(f"write {product}", done, done + len(batch))
    read_at = context.now()
    current = _still_wanted(context, batch)
    ends = [end for end in write(context, current, read_at).items() if end[1] is not LEFT]
    context.progress(f"written {product}", done, done + len(batch))
    with context.db.begin() as tx:
        changes.mark(tx, ends, context.now())
    if ends and all(end.state == "planned" for _, end in ends):
        raise ZohoError(f"{product} takes nothing now ({ends[0][1].code}); the rest is left for the next run")


def _still_wanted(context: Context, batch: Sequence[Item]) -> list[Item]:
    """Return what of a batch is to be written: still planned by its run, and still a stop to the ledger."""
    with context.db.read() as tx:
        planned = changes.still(tx, batch, "planned")
        outdated = changes.outdated(tx, batch, context.governed)
    mine = [item for item in batch if (item.run_id, item.target, item.address_index) in planned]
    dropped = [(item, NEWER) for item in mine if item.address_index in outdated]
    if dropped:
        with context.db.begin() as tx:
            changes.mark(tx, dropped, context.now())
    return [item for item in mine if item.address_index not in outdated]


def _write_crm(context: Context, batch: Sequence[Item], _read_at: datetime) -> Mapping[Item, Ended]:
    """Opt the records out that still are theirs; one that two addresses share is written once."""
    reasons = {item.record: BOUNCES.get(item.kind, "") for item in batch}
    results = theirs.stop(context, batch, reasons)
    return {
        item: theirs.MOVED if (result := results[item.record]) is None else ended(result) for item in batch
    }


def _write_campaigns(context: Context, batch: Sequence[Item], read_at: datetime) -> Mapping[Item, Ended]:
    """Refuse the contacts, several at a time."""
    indexes = [item.address_index for item in batch]
    with context.db.read() as tx:
        known = addresses_of(tx, indexes, context.vault)
        active = active_lists(tx, indexes, context.lists)

    def refuse(item: Item) -> Ended:
        if context.now() - read_at > HOLDS and not _still_wanted(context, [item]):
            return LEFT
        lists = active.get(item.address_index, ())
        active_on = lists[0] if lists else None
        return refused(
            context.campaigns.refuse(known[item.address_index], lists, active_on=active_on), active_on
        )

    with ThreadPoolExecutor(max_workers=WRITERS, thread_name_prefix="refuse") as threads:
        return dict(zip(batch, threads.map(refuse, batch), strict=True))


def ended(result: Result) -> Ended:
    """Return what a result makes of a change: what may be tried again as it is stays planned."""
    state = "written" if result.done else "planned" if result.retry else "failed"
    return Ended(
        state=state,
        code=result.code,
        answer_sha256=result.answer_sha256,
        error=None if result.done else f"{result.code} {result.reason}".strip(),
        until=result.until,
    )


def refused(results: Sequence[Result], active_on: str | None) -> Ended:
    """Return what the steps of one refusal add up to.

    Leaving the lists and entering Do-Not-Mail must succeed. The permission field, written first, may fail
    for good: Campaigns refuses it for somebody who left a moment ago, and they are kept out all the same.
    """
    needed = [r for r in results if r.retry or active_on is None or r is not results[0]]
    worst = min(
        (ended(result) for result in needed),
        key=lambda end: ("failed", "planned", "written").index(end.state),
    )
    answers = hashlib.sha256(b"".join(result.answer_sha256 for result in results)).digest()
    return replace(worst, answer_sha256=answers)


def active_lists(
    tx: Connection, indexes: Sequence[bytes], lists: Sequence[str]
) -> Mapping[bytes, tuple[str, ...]]:
    """Return on which of the lists each person was active when last seen."""
    rows = tx.execute(
        select(member.c.address_index, member.c.list_name)
        .where(
            member.c.address_index.in_(indexes),
            member.c.list_name.in_(lists),
            member.c.status == Member.ACTIVE.value,
        )
        .order_by(member.c.list_name)
    )
    found: dict[bytes, tuple[str, ...]] = {}
    for index, name in rows:
        found[index] = (*found.get(index, ()), name)
    return found
