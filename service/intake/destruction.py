"""Delete all that is kept about one person beside the log: nothing here appends, nothing here decides."""

from sqlalchemy import Connection, delete, exists, select

from service.consent import SubjectId
from service.db import (
    change,
    contact,
    crm_address,
    crm_record,
    directory_next,
    drift,
    happening,
    harm,
    harm_window,
    hint,
    member,
    outcome,
    payload,
    standing,
    subject,
    subject_key,
    task,
)


def destroy(tx: Connection, sub: SubjectId, index: bytes | None) -> None:
    """Delete all that could be opened, or says more than the entries; `index` None where it is gone."""
    for own in (payload, subject_key, subject, directory_next, standing, task, happening):
        tx.execute(delete(own).where(own.c.sub == sub))
    for found in (drift, change):
        theirs = found.c.sub == sub
        tx.execute(
            delete(found).where(theirs if index is None else theirs | (found.c.address_index == index))
        )
    if index is not None:
        _destroy_mirrored(tx, index)


def _destroy_mirrored(tx: Connection, index: bytes) -> None:
    """Delete what was read or told of an address by the two products, and records that nobody else shares."""
    here = crm_address.c.address_index == index
    records = tx.execute(select(crm_address.c.module, crm_address.c.record_id).where(here)).all()
    for mirror in (crm_address, contact, member, outcome, harm, harm_window, hint):
        tx.execute(delete(mirror).where(mirror.c.address_index == index))
    for module, record_id in records:
        shared = exists().where(crm_address.c.module == module, crm_address.c.record_id == record_id)
        this = (crm_record.c.module == module) & (crm_record.c.record_id == record_id)
        tx.execute(delete(crm_record).where(this, ~shared))
