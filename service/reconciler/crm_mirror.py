"""CRM's mirror: its records as last read, and under which addresses each is known.

An address that is known already is neither hashed into a new row nor sealed again: of a million records a
night brings a few hundred new ones. Records without any address are kept too, since their number is what
tells that a record vanished without a trace (a merge that CRM does not list).
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, case, delete, exists, func, select, tuple_, update

from service.db import chunks, crm_address, crm_record
from service.policy import PolicySet
from service.reconciler import port
from service.reconciler.upsert import insert_into, moment, upsert
from service.vault import Vault

GONE = 0
"""What `seen_run` says of a record that CRM lists as deleted, until `drop_unseen` drops it."""


def put_records(
    tx: Connection, records: Sequence[port.CrmRecord], *, run_id: int, vault: Vault, policy: PolicySet
) -> None:
    """Put CRM records and the addresses that each has now; the last of one record counts."""
    latest = {(record.module, record.record_id): record for record in records}
    places: dict[tuple[str | None, str | None], str] = {}
    rows = [_row(record, run_id, policy, places) for record in latest.values()]
    changed = [name for name in rows[0] if name not in ("module", "record_id", "seen_run")] if rows else []
    upsert(tx, crm_record, rows, {**dict.fromkeys(changed), **_flipped(tx, run_id)})
    _put_addresses(tx, latest, vault)


def keep_unchanged(
    tx: Connection,
    run_id: int,
    *,
    gone: Iterable[tuple[str, str]],
    counts: Mapping[str, int],
    settled_before: datetime,
) -> Sequence[str]:
    """Call all records seen but those that are gone; return the modules for which that would be a guess.

    A module is one if CRM holds fewer records than the mirror: something vanished that CRM does not list.
    Records modified since `settled_before` may be missing in CRM's count, whose index lags.
    """
    for module, ids in _by_module(gone).items():
        for part in chunks(ids):
            known = crm_record.c.record_id.in_(part) & (crm_record.c.seen_run < run_id)
            tx.execute(update(crm_record).where(crm_record.c.module == module, known).values(seen_run=GONE))
    settled = select(crm_record.c.module, func.count()).where(
        crm_record.c.seen_run > GONE, crm_record.c.modified_at < moment(settled_before)
    )
    held = {row[0]: int(row[1]) for row in tx.execute(settled.group_by(crm_record.c.module))}
    sound = [module for module, count in counts.items() if held.get(module, 0) <= count]
    between = (crm_record.c.seen_run > GONE) & (crm_record.c.seen_run < run_id)
    tx.execute(update(crm_record).where(crm_record.c.module.in_(sound), between).values(seen_run=run_id))
    return [module for module in counts if module not in sound]


def flipped_by() -> ColumnElement[str | None]:
    """Return who changed a record's opt-out when that was seen, else who wrote the record last."""
    return func.coalesce(crm_record.c.changed_by, crm_record.c.modified_by)


def count_held(tx: Connection) -> Mapping[str, int]:
    """Return how many records the mirror holds of each module."""
    held = select(crm_record.c.module, func.count()).group_by(crm_record.c.module)
    return {row[0]: int(row[1]) for row in tx.execute(held)}


def count_addressed(tx: Connection, run_id: int) -> int:
    """Return how many records with an address this run has seen."""
    addressed = exists().where(
        crm_address.c.module == crm_record.c.module, crm_address.c.record_id == crm_record.c.record_id
    )
    where = (crm_record.c.seen_run >= run_id) & addressed
    return tx.scalar(select(func.count()).select_from(crm_record).where(where)) or 0


def _flipped(tx: Connection, run_id: int) -> Mapping[str, Any]:
    """Return what to note where the opt-out changed: which run saw it, and who had written last then."""
    fresh = insert_into(tx, crm_record).excluded
    same = crm_record.c.opted_out == fresh.opted_out
    return {
        "changed_run": case((same, crm_record.c.changed_run), else_=run_id),
        "changed_by": case((same, crm_record.c.changed_by), else_=fresh.modified_by),
        "changed_how": case((same, crm_record.c.changed_how), else_=None),
    }


def _put_addresses(tx: Connection, records: Mapping[tuple[str, str], port.CrmRecord], vault: Vault) -> None:
    """Insert the addresses that a record did not have, and delete those that it has no more."""
    now = {
        (*key, vault.address_index(address)): address
        for key, record in records.items()
        for address in record.addresses
    }
    before = set(_known(tx, records))
    fresh = [
        {
            "module": module,
            "record_id": number,
            "address_index": index,
            "address": vault.seal_address(address),
        }
        for (module, number, index), address in now.items()
        if (module, number, index) not in before
    ]
    upsert(tx, crm_address, fresh, {"address": None})
    key = tuple_(crm_address.c.module, crm_address.c.record_id, crm_address.c.address_index)
    for part in chunks([known for known in before if known not in now]):
        tx.execute(delete(crm_address).where(key.in_(part)))


def _known(tx: Connection, keys: Iterable[tuple[str, str]]) -> Iterable[tuple[str, str, bytes]]:
    columns = (crm_address.c.module, crm_address.c.record_id, crm_address.c.address_index)
    for module, ids in _by_module(keys).items():
        for part in chunks(ids):
            asked = select(*columns).where(crm_address.c.module == module, crm_address.c.record_id.in_(part))
            yield from ((row[0], row[1], row[2]) for row in tx.execute(asked))


def _by_module(keys: Iterable[tuple[str, str]]) -> Mapping[str, Sequence[str]]:
    found: dict[str, list[str]] = {}
    for module, record_id in keys:
        found.setdefault(module, []).append(record_id)
    return found


def _row(
    record: port.CrmRecord, run_id: int, policy: PolicySet, places: dict[tuple[str | None, str | None], str]
) -> dict[str, Any]:
    """Return a record's row; `places` remembers the jurisdiction of each way to write a country."""
    told = record.country, record.state
    place = places.get(told)
    if place is None:
        place = places[told] = policy.atlas.mirrored(*told)
    return {
        "module": record.module,
        "record_id": record.record_id,
        "opted_out": int(record.opted_out),
        "modified_at": record.modified_at,
        "unsubscribed_mode": record.unsubscribed_mode,
        "unsubscribed_at": record.unsubscribed_at,
        "jurisdiction": place,
        "views": "".join(f"{name}," for name in sorted(record.views)),
        "seen_run": run_id,
        "modified_by": record.modified_by,
        "created_at": record.created_at,
        "unknown": int(not record.understood),
    }
