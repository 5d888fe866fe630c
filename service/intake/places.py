"""What CRM tells about where people are, from the mirror of its records. Derived, and read only."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, bindparam, case, func, select

from service.db import chunks, crm_address, crm_record, subject
from service.policy import UNKNOWN


def crm_countries(tx: Connection, indexes: Sequence[bytes]) -> dict[bytes, str]:
    """Return jurisdictions by keyed address; `UNKNOWN` where records contradict each other, none left out."""
    return _collected(tx, _BY_ADDRESS, indexes)


def crm_countries_of(tx: Connection, subs: Sequence[bytes]) -> dict[bytes, str]:
    """Return jurisdictions by person, as `crm_countries` does."""
    return _collected(tx, _BY_PERSON, subs)


def _told(key: ColumnElement[bytes]) -> Select[Any]:
    code = crm_record.c.jurisdiction
    return (
        select(key, case((func.min(code) == func.max(code), func.min(code)), else_=UNKNOWN))
        .select_from(crm_address)
        .join(
            crm_record,
            (crm_record.c.module == crm_address.c.module)
            & (crm_record.c.record_id == crm_address.c.record_id),
        )
        .where(code != UNKNOWN, key.in_(bindparam("keys", expanding=True)))
        .group_by(key)
    )


def _collected(tx: Connection, told: Select[Any], keys: Sequence[bytes]) -> dict[bytes, str]:
    found: dict[bytes, str] = {}
    for part in chunks(keys):
        found.update((one, code) for one, code in tx.execute(told, {"keys": part}))
    return found


_BY_ADDRESS = _told(crm_address.c.address_index)
_BY_PERSON = _told(subject.c.sub).join(subject, subject.c.address_index == crm_address.c.address_index)
