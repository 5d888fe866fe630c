"""What CRM tells about where people are, from the mirror of its records. Derived, and read only."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from sqlalchemy import ARRAY, ColumnElement, Connection, LargeBinary, Select, bindparam, case, func, select

from service.db import chunks, crm_address, crm_record, subject
from service.policy import UNKNOWN


class _By(NamedTuple):
    """One question in two spellings: with one array of keys, and with so many keys as are asked about."""

    at_once: Select[Any]
    in_parts: Select[Any]


def crm_countries(tx: Connection, indexes: Sequence[bytes]) -> dict[bytes, str]:
    """Return jurisdictions by keyed address; `UNKNOWN` where records contradict each other, none left out."""
    return _collected(tx, _BY_ADDRESS, indexes)


def crm_countries_of(tx: Connection, subs: Sequence[bytes]) -> dict[bytes, str]:
    """Return jurisdictions by person, as `crm_countries` does."""
    return _collected(tx, _BY_PERSON, subs)


def _told(key: ColumnElement[bytes]) -> Select[Any]:
    """Select codes by `key`; the caller says among which keys."""
    code = crm_record.c.jurisdiction
    return (
        select(key, case((func.min(code) == func.max(code), func.min(code)), else_=UNKNOWN))
        .select_from(crm_address)
        .join(
            crm_record,
            (crm_record.c.module == crm_address.c.module)
            & (crm_record.c.record_id == crm_address.c.record_id),
        )
        .where(code != UNKNOWN)
        .group_by(key)
    )


def _collected(tx: Connection, by: _By, keys: Sequence[bytes]) -> dict[bytes, str]:
    """Return what is told about these keys: on PostgreSQL asked for at once, else in parts."""
    if tx.dialect.name == "postgresql":
        return dict(tx.execute(by.at_once, {"keys": list(keys)}).all()) if keys else {}
    found: dict[bytes, str] = {}
    for part in chunks(keys):
        found.update((one, code) for one, code in tx.execute(by.in_parts, {"keys": part}))
    return found


def _by(key: ColumnElement[bytes], told: Select[Any]) -> _By:
    array = bindparam("keys", type_=ARRAY(LargeBinary))
    return _By(
        at_once=told.where(key == func.any(array)),
        in_parts=told.where(key.in_(bindparam("keys", expanding=True))),
    )


_BY_ADDRESS = _by(crm_address.c.address_index, _told(crm_address.c.address_index))
_BY_PERSON = _by(
    subject.c.sub,
    _told(subject.c.sub).join(subject, subject.c.address_index == crm_address.c.address_index),
)
