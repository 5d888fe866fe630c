"""COQL queries as text: select lists, criteria, and values that cannot break out of their quotes. Pure.

Facts `zoho-crm` section 2.4: WHERE is mandatory, more than two conditions are bracketed in pairs,
a page has at most 2,000 rows and the next one starts after the last id.
"""

from collections.abc import Sequence
from datetime import datetime
from functools import reduce

from service.errors import Malformed
from service.zoho.records import iso

LARGEST_PAGE = 2_000
SMALLEST_PAGE = 200
LARGEST_IN = 50
"""Values in one `in (...)`."""


def select(columns: Sequence[str], module: str, where: str, limit: int) -> str:
    """Return one query over `module`, ordered by id, for keyset paging."""
    return f"select {', '.join(columns)} from {module} where {where} order by id asc limit {limit}"  # noqa: S608  # values are quoted by `literal`, names come from the policy file


def after(record_id: str, criterion: str | None) -> str:
    """Return the criterion of the page after `record_id`; "0" is the first page."""
    page = f"id > {int(record_id)}"
    return page if criterion is None else f"({criterion} and {page})"


def modified_since(since: datetime) -> str:
    """Return the criterion of records modified at or after `since`."""
    return f"Modified_Time >= '{iso(since)}'"


def opted_out_since(field: str, since: datetime) -> str:
    """Return the criterion of records that say stop and were modified at or after `since`."""
    return f"({field} = 'true' and {modified_since(since)})"


def any_equal(fields: Sequence[str], values: Sequence[str]) -> str:
    """Return the criterion that one of the fields holds one of the values, bracketed in pairs."""
    tests = [f"{name} = {literal(value)}" for name in fields for value in values]
    return reduce(lambda left, right: f"({left} or {right})", tests)


def any_in(fields: Sequence[str], values: Sequence[str]) -> str:
    """Return the criterion that one of the fields holds one of at most 50 values, bracketed in pairs."""
    assert 0 < len(values) <= LARGEST_IN
    listed = ", ".join(literal(value) for value in values)
    return reduce(lambda left, right: f"({left} or {right})", [f"{name} in ({listed})" for name in fields])


def one_of(record_ids: Sequence[str]) -> str:
    """Return the criterion that picks at most 50 records by id."""
    assert len(record_ids) <= LARGEST_IN
    return f"id in ({', '.join(str(int(record_id)) for record_id in record_ids)})"


def literal(value: str) -> str:
    """Return `value` in quotes; raises `Malformed` for control characters, which no value needs."""
    if not value.isprintable():
        raise Malformed("a value for a CRM query holds control characters; it cannot be looked for")
    escaped = value.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"
