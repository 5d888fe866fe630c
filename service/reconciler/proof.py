"""Read back what was written, and record each enforcement in the ledger; only then is it proved."""

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

from service.consent import SubjectId
from service.reconciler import changes, mirror
from service.reconciler.changes import Ended, Item
from service.reconciler.context import Context
from service.reconciler.enforcement import (
    CAMPAIGNS,
    CONFIRMED,
    CRM,
    DIFFERS,
    GONE,
    Enforced,
    require_recorded,
)
from service.reconciler.plan import CRM_BATCH, FEW
from service.reconciler.port import CrmRecord, Member, Result
from service.reconciler.sealed import addresses_of
from service.vault.address import fold

READERS = 8
"""Calls at a time; the products allow ten connections."""


def prove_crm(context: Context) -> None:
    """Read written CRM records back in batches and record them; a `ZohoError` leaves the rest written."""
    with context.db.read() as tx:
        written = changes.waiting(tx, CRM, "written")
    for batch in changes.by_module(written, CRM_BATCH):
        records = {(r.module, r.record_id): r for r in context.crm.read([item.record for item in batch])}
        context.progress("read back crm", len(batch), len(written))
        _record(context, {item: _seen(records.get(item.record)) for item in batch})
        with context.db.begin() as tx:
            mirror.note_opted_out(tx, records.values())


def prove_campaigns(context: Context) -> None:
    """Read refusals back, one by one or, where they are many, from the lists; record them likewise."""
    with context.db.read() as tx:
        written = changes.waiting(tx, CAMPAIGNS, "written")
        known = addresses_of(tx, [item.address_index for item in written], context.vault)
    if not written:
        return
    few = len(written) <= FEW
    seen = _asked(context, written, known) if few else _listed(context, written)
    context.progress("read back campaigns", len(seen), len(written))
    for batch in changes.parts(list(seen), CRM_BATCH):
        confirmed = [item.address_index for item in batch if seen[item] == CONFIRMED]
        with context.db.begin() as tx:
            mirror.note_refused(tx, confirmed, context.lists, context.now())
        _record(context, {item: seen[item] for item in batch})


def _seen(record: CrmRecord | None) -> str:
    if record is None:
        return GONE
    return CONFIRMED if record.opted_out else DIFFERS


def _asked(context: Context, written: Sequence[Item], known: Mapping[bytes, str]) -> dict[Item, str]:
    """Ask Campaigns about each; who could not be asked is left out, and so stays written."""

    def ask(item: Item) -> Result:
        return context.campaigns.is_refused(known[item.address_index])

    with ThreadPoolExecutor(max_workers=READERS, thread_name_prefix="read-back") as threads:
        answers = list(threads.map(ask, written))
    return {
        item: CONFIRMED if answer.done else DIFFERS
        for item, answer in zip(written, answers, strict=True)
        if answer.done or not answer.retry
    }


def _listed(context: Context, written: Sequence[Item]) -> dict[Item, str]:
    """Read who left each list, and look for those who were written."""
    awaited = {item.address_index for item in written}
    left = {
        index
        for name in context.lists
        for found in context.campaigns.members(name, Member.UNSUBSCRIBED)
        if (index := context.vault.address_index(found.address)) in awaited
    }
    return {item: CONFIRMED if item.address_index in left else DIFFERS for item in written}


def _record(context: Context, seen: Mapping[Item, str]) -> None:
    """Record what was read back, then say so in our rows; a crash in between repeats the same keys."""
    nameless = [item.address_index for item in seen if item.sub is None]
    with context.db.read() as tx:
        known = addresses_of(tx, nameless, context.vault)
    now = context.now()
    claims = [
        enforced(item, read_back, address=known.get(item.address_index)).claim(context.policy, now)
        for item, read_back in seen.items()
    ]
    require_recorded(context.intake.record(claims))
    context.progress("recorded", len(claims), len(claims))
    differs = Ended(state="failed", error="read back, it still permits")
    ended = [(item, differs if how == DIFFERS else Ended(state="proved")) for item, how in seen.items()]
    with context.db.begin() as tx:
        changes.mark(tx, ended, now)
    context.progress("proved", len(ended), len(ended))


def enforced(
    item: Item,
    read_back: str,
    *,
    address: str | None = None,
    approved: tuple[str, tuple[str, ...]] | None = None,
) -> Enforced:
    """Return what the ledger is told of one change of a run; `address` where it knows nobody by it."""
    assert item.written_at is not None
    assert (item.sub is None) == (address is not None)
    return Enforced(
        key=f"run:{item.run_id}:{item.target}:{item.address_index.hex()}",
        target=item.target,
        code=item.code or "",
        answer_sha256=item.answer_sha256 or b"",
        read_back=read_back,
        cause=item.cause_idx,
        written_at=item.written_at,
        subject=None if item.sub is None else SubjectId(item.sub),
        address=None if address is None else fold(address),
        approved=approved,
    )
