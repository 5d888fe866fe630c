"""Stops in CRM that reach whom they are meant for: a record may have got another address since it was read.

A batch says when the newest of its records had been written as they were read, one condition for all, which
costs no call. What CRM then refuses as ALREADY_MODIFIED, and what the mirror does not know under the
address, is read again: still theirs, and it is stopped at once; somebody else's by now, and it is left.
A bulk write knows no condition, so what it is to write is all read again right before.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import datetime

from sqlalchemy import and_, select

from service.db import chunks, crm_address, crm_record
from service.reconciler.changes import Ended, Item
from service.reconciler.context import Context
from service.reconciler.port import CrmChange, Result

MODIFIED = "ALREADY_MODIFIED"
MOVED = Ended(
    state="superseded", code="MOVED", error="the record has another address by now; the next run looks at it"
)

Target = tuple[str, str]
"""Module and record id."""


def stop(
    context: Context, batch: Sequence[Item], reasons: Mapping[Target, str]
) -> Mapping[Target, Result | None]:
    """Opt out the records of `batch`, for the `reasons` given; None for what is somebody else's by now."""
    people = defaultdict[Target, set[bytes]](set)
    for item in batch:
        people[item.record].add(item.address_index)
    known = _last_written(context, people)
    first = _changes(reasons, known)
    results = _write(context, first) if context.crm.keeps_conditions(first) else {}
    unsure = [target for target in reasons if target not in results or results[target].code == MODIFIED]
    if not unsure:
        return results
    now_there = {(r.module, r.record_id): r for r in context.crm.read(unsure)}
    index = context.vault.address_index
    moved = {
        target
        for target, record in now_there.items()
        if not people[target] & {index(address) for address in record.addresses}
    }
    # What is gone is written all the same: CRM's own refusal is the evidence of it.
    as_of = {target: now_there[target].modified_at if target in now_there else None for target in unsure}
    again = _write(context, _changes(reasons, {t: at for t, at in as_of.items() if t not in moved}))
    return {**results, **again, **dict.fromkeys(moved)}


def _changes(reasons: Mapping[Target, str], as_of: Mapping[Target, datetime | None]) -> Sequence[CrmChange]:
    return [
        CrmChange(
            module=target[0],
            record_id=target[1],
            opted_out=True,
            reason=reasons[target],
            read_as_of=as_of[target],
        )
        for target in reasons
        if target in as_of
    ]


def _write(context: Context, changes: Sequence[CrmChange]) -> dict[Target, Result]:
    written = context.crm.enforce(changes) if changes else ()
    return {(c.module, c.record_id): result for c, result in zip(changes, written, strict=True)}


def _last_written(context: Context, people: Mapping[Target, set[bytes]]) -> dict[Target, datetime | None]:
    """Return when each record had last been written, of those that the mirror has under these addresses."""
    ids = defaultdict[str, list[str]](list)
    for module, record_id in people:
        ids[module].append(record_id)
    same = and_(
        crm_address.c.module == crm_record.c.module, crm_address.c.record_id == crm_record.c.record_id
    )
    wanted = select(crm_record.c.record_id, crm_record.c.modified_at, crm_address.c.address_index).join(
        crm_address, same
    )
    with context.db.read() as tx:
        found = {
            (module, row[0]): row[1]
            for module, all_ids in ids.items()
            for part in chunks(all_ids)
            for row in tx.execute(
                wanted.where(crm_record.c.module == module, crm_record.c.record_id.in_(part))
            )
            if row[2] in people[module, row[0]]
        }
    return {target: found[target] for target in people if target in found}
