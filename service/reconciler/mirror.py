"""The mirrors of both products in our tables: put what was read, drop what is gone.

Rows are put in chunks while a read is under way; `drop_unseen` belongs at its end, after the guard.
CRM's records are put by `crm_mirror`. Addresses are kept as keyed hashes beside their sealed form.
`seen_run` never goes back, so that two runs at a time cannot make each other's rows look gone.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime

from sqlalchemy import (
    ColumnElement,
    Connection,
    Table,
    and_,
    case,
    delete,
    exists,
    func,
    or_,
    select,
    text,
    update,
)

from service.db import contact, crm_address, crm_record, member, outcome
from service.reconciler import crm_mirror, port
from service.reconciler.upsert import Rows, alone, insert_into, moment, upsert
from service.vault import Vault

AWAITED = "awaited"
"""The status of somebody whom a list accepted and may be asking; Campaigns has no word for it."""

put_records = crm_mirror.put_records


def put_permissions(
    tx: Connection, addresses: Sequence[str], *, permission: str, run_id: int, at: datetime, vault: Vault
) -> None:
    """Put contacts of a segment with the permission that it stands for; call before `put_members`."""
    same = contact.c.permission.is_not_distinct_from(permission)
    changed = {
        "permission": permission,
        "since": case((same, contact.c.since), else_=moment(at)),
        "was": case((same, contact.c.was), else_=contact.c.permission),
    }
    upsert(tx, contact, _contact_rows(addresses, permission, run_id, at, vault), changed)


def put_members(
    tx: Connection, members: Sequence[port.ListMember], *, run_id: int, at: datetime, vault: Vault
) -> None:
    """Put list members in one status, and their contacts; one whom no segment showed has no permission."""
    fresh = contact.c.seen_run >= run_id
    unknown = contact.c.permission.is_(None)
    forgotten = {
        "permission": case((fresh, contact.c.permission), else_=None),
        "since": case((fresh | unknown, contact.c.since), else_=moment(at)),
        "was": case((fresh | unknown, contact.c.was), else_=contact.c.permission),
    }
    upsert(tx, contact, _contact_rows([m.address for m in members], None, run_id, at, vault), forgotten)
    keys = dict.fromkeys((m.list_name, vault.address_index(m.address), m.status.value) for m in members)
    rows = [
        {"list_name": name, "address_index": index, "status": status}
        | {"since": at, "was": None, "seen_run": run_id}
        for name, index, status in keys
    ]
    same = member.c.status == members[0].status.value
    moved = {
        "status": None,
        "since": case((same, member.c.since), else_=moment(at)),
        "was": case((same, member.c.was), else_=member.c.status),
    }
    upsert(tx, member, rows, moved)


def put_outcomes(tx: Connection, outcomes: Sequence[port.Outcome], *, at: datetime, vault: Vault) -> None:
    """Put outcomes; one that is known keeps when it was first seen and which entry recorded it."""
    by_key = {(o.campaign_key, vault.address_index(o.address), o.kind.value): o for o in outcomes}
    rows = [
        {
            "campaign_key": campaign_key,
            "address_index": index,
            "kind": kind,
            "happened_at": found.happened_at,
            "sent_at": found.sent_at,
            "observed_at": at,
            "address": vault.seal_address(found.address),
        }
        for (campaign_key, index, kind), found in by_key.items()
    ]
    insert = insert_into(tx, outcome)
    known = {
        name: func.coalesce(outcome.c[name], insert.excluded[name]) for name in ("happened_at", "sent_at")
    }
    upsert(tx, outcome, rows, known)


def count_seen(tx: Connection, run_id: int) -> dict[str, int]:
    """Return how many rows this run has seen, by what was read: `crm`, `permission`, `list:<name>`.

    Segments hold the active alone, so `permission` counts who is in one and who has left every list:
    else each stop that we write ourselves would look like a read that lost somebody.
    """
    active = exists().where(
        member.c.address_index == contact.c.address_index,
        member.c.status == port.Member.ACTIVE.value,
        member.c.seen_run >= run_id,
    )
    known = or_(contact.c.permission.is_not(None), ~active)
    found = {
        "crm": crm_mirror.count_addressed(tx, run_id),
        "permission": _count(tx, contact, and_(contact.c.seen_run >= run_id, known)),
    }
    per_list = (
        select(member.c.list_name, func.count())
        .where(member.c.seen_run >= run_id)
        .group_by(member.c.list_name)
    )
    return found | {f"list:{name}": count for name, count in tx.execute(per_list)}


def drop_unseen(tx: Connection, run_id: int, *, keep: frozenset[str] = frozenset()) -> None:
    """Drop what a complete read did not show again, and refresh what PostgreSQL's planner knows.

    `keep` names the products (`crm`, `campaigns`) whose read is not believed.
    """
    for table, product in ((crm_record, "crm"), (member, "campaigns"), (contact, "campaigns")):
        if product not in keep:
            tx.execute(delete(table).where(table.c.seen_run < run_id))
    of_record = (crm_record.c.module == crm_address.c.module) & (
        crm_record.c.record_id == crm_address.c.record_id
    )
    tx.execute(delete(crm_address).where(~exists().where(of_record)))
    if tx.dialect.name == "postgresql":
        tx.execute(text("ANALYZE crm_record, crm_address, contact, member, outcome"))


def note_opted_out(tx: Connection, records: Iterable[port.CrmRecord]) -> None:
    """Take over what a read-back of records showed; what differs now, we wrote ourselves."""
    changed = ("changed_run", "changed_by", "changed_how")
    alone(tx)
    for record in records:
        same = crm_record.c.opted_out == int(record.opted_out)
        tx.execute(
            update(crm_record)
            .where(crm_record.c.module == record.module, crm_record.c.record_id == record.record_id)
            .values(
                opted_out=int(record.opted_out),
                modified_at=record.modified_at,
                unsubscribed_mode=record.unsubscribed_mode,
                unsubscribed_at=record.unsubscribed_at,
                **{name: case((same, crm_record.c[name])) for name in changed},
            )
        )


def note_permitted(tx: Connection, index: bytes, lists: Sequence[str], at: datetime) -> None:
    """Take over that somebody is on the lists again, with the permission granted, through us."""
    active = port.Member.ACTIVE.value
    alone(tx)
    tx.execute(
        update(member)
        .where(member.c.address_index == index, member.c.list_name.in_(lists), member.c.status != active)
        .values(status=active, since=at, was=None)
    )
    tx.execute(
        update(contact)
        .where(contact.c.address_index == index)
        .values(permission="granted", since=at, was=None)
    )


def note_awaited(tx: Connection, indexes: Sequence[bytes], list_name: str, at: datetime) -> None:
    """Take over that a list accepted these people and does not show them: gone with the next full reading."""
    told = {"status": AWAITED, "since": at, "was": None, "seen_run": 0}
    rows = [{"list_name": list_name, "address_index": index, **told} for index in indexes]
    upsert(tx, member, rows, dict.fromkeys(("status", "since", "was")))


def note_refused(tx: Connection, indexes: Sequence[bytes], lists: Sequence[str], at: datetime) -> None:
    """Take over that these people left the lists through us, and that their permission is refused."""
    note_left(tx, indexes, lists, at)
    tx.execute(
        update(contact)
        .where(contact.c.address_index.in_(indexes), contact.c.permission == "granted")
        .values(permission="refused", since=at, was="granted")
    )


def note_left(tx: Connection, indexes: Sequence[bytes], lists: Sequence[str], at: datetime) -> None:
    """Take over that these people left the lists through us, so that their leaving is not news later."""
    unsub = port.Member.UNSUBSCRIBED.value
    rows = [
        {"list_name": name, "address_index": index, "status": unsub, "since": at, "was": None, "seen_run": 0}
        for name in lists
        for index in indexes
    ]
    same = member.c.status == unsub
    moved = {
        "status": unsub,
        "since": case((same, member.c.since), else_=moment(at)),
        "was": case((same, member.c.was), else_=member.c.status),
    }
    upsert(tx, member, rows, moved)


def _contact_rows(
    addresses: Iterable[str], permission: str | None, run_id: int, at: datetime, vault: Vault
) -> Rows:
    by_index = {vault.address_index(address): address for address in addresses}
    return [
        {
            "address_index": index,
            "address": vault.seal_address(address),
            "permission": permission,
            "since": at,
            "was": None,
            "seen_run": run_id,
        }
        for index, address in by_index.items()
    ]


def _count(tx: Connection, table: Table, where: ColumnElement[bool]) -> int:
    return tx.scalar(select(func.count()).select_from(table).where(where)) or 0
