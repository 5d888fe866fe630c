"""Gotcha 4: one address on several CRM records, and the ones among them that contradict each other."""

import csv
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TextIO

from sqlalchemy import CTE, ColumnElement, Connection, Select, and_, case, distinct, func, select

from service.db import canary, crm_address, crm_record
from service.reconciler.audit.point import Figure, Point, Verdict
from service.vault.pseudonym import by_address

HEADINGS = (
    "person",
    "contradicts",
    "module",
    "record",
    "opted_out",
    "mode",
    "opted_out_at",
    "modified_at",
    "keep",
)


_SECOND = 2
"""A person is on several records from their second one on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Duplicates:
    """People with several records: all of them, those that contradict, those across modules."""

    people: int
    contradicting: int
    across_modules: int
    oldest: datetime | None
    """Since when the first of those who contradict do."""
    since: datetime | None
    """Since when the first of all these people has a second record."""
    records: int


def _groups() -> CTE:
    """Return one row per address on several records."""
    out = func.sum(crm_record.c.opted_out)
    told = func.coalesce(crm_record.c.unsubscribed_at, crm_record.c.modified_at)
    return (
        select(
            crm_address.c.address_index,
            func.count().label("records"),
            func.count(distinct(crm_address.c.module)).label("modules"),
            case(((out > 0) & (out < func.count()), 1), else_=0).label("contradicts"),
            func.max(case((crm_record.c.opted_out == 1, told))).label("since"),
        )
        .join(crm_record, _same_record())
        .where(crm_address.c.address_index.not_in(select(canary.c.address_index)))
        .group_by(crm_address.c.address_index)
        .having(func.count() > 1)
        .cte("duplicate")
    )


def duplicates(tx: Connection) -> Duplicates:
    """Return how many people have several records; one statement over the mirror."""
    d = _groups().c
    row = tx.execute(
        select(
            func.count(),
            func.coalesce(func.sum(d.contradicts), 0),
            func.coalesce(func.sum(case((d.modules > 1, 1), else_=0)), 0),
            func.min(case((d.contradicts == 1, d.since))),
            func.coalesce(func.sum(d.records), 0),
        )
    ).one()
    return Duplicates(
        people=row[0],
        contradicting=row[1],
        across_modules=row[2],
        oldest=row[3],
        since=_since(tx) if row[0] else None,
        records=row[4],
    )


def _since(tx: Connection) -> datetime | None:
    """Return when CRM made the second record of whoever had two first."""
    d = _groups()
    turn = func.row_number().over(partition_by=d.c.address_index, order_by=crm_record.c.created_at)
    made = (
        select(crm_record.c.created_at, turn.label("turn"))
        .join(crm_address, crm_address.c.address_index == d.c.address_index)
        .join(crm_record, _same_record())
        .where(crm_record.c.created_at.is_not(None))
        .subquery()
    )
    found: datetime | None = tx.scalar(select(func.min(made.c.created_at)).where(made.c.turn == _SECOND))
    return found


def _same_record() -> ColumnElement[bool]:
    return and_(
        crm_record.c.module == crm_address.c.module, crm_record.c.record_id == crm_address.c.record_id
    )


def candidates(tx: Connection) -> Iterator[Sequence[object]]:
    """Yield the rows of the merge list: contradictions first, records of a person together.

    People are pseudonyms and records their ids in CRM, which the admin looks up there. `keep` marks the
    record to merge into: the one that is opted out (a merge must lose no restriction), else the oldest id.
    """
    rows = tx.execute(_records())
    before = None
    for row in rows:
        yield (
            by_address(row.address_index),
            "yes" if row.contradicts else "no",
            row.module,
            row.record_id,
            "true" if row.opted_out else "false",
            row.unsubscribed_mode or "",
            _iso(row.unsubscribed_at),
            _iso(row.modified_at),
            "yes" if row.address_index != before else "",
        )
        before = row.address_index


def _records() -> Select[Any]:
    """Select the records of everybody who has several, a person's records together."""
    d = _groups()
    return (
        select(
            d.c.address_index,
            d.c.contradicts,
            crm_record.c.module,
            crm_record.c.record_id,
            crm_record.c.opted_out,
            crm_record.c.unsubscribed_mode,
            crm_record.c.unsubscribed_at,
            crm_record.c.modified_at,
        )
        .join(crm_address, crm_address.c.address_index == d.c.address_index)
        .join(crm_record, _same_record())
        .order_by(
            d.c.contradicts.desc(), d.c.address_index, crm_record.c.opted_out.desc(), crm_record.c.record_id
        )
    )


def write_csv(tx: Connection, target: TextIO) -> int:
    """Write the merge list as CSV with headings; return how many records it has."""
    writer = csv.writer(target)
    writer.writerow(HEADINGS)
    written = 0
    for row in candidates(tx):
        writer.writerow(row)
        written += 1
    return written


def records(found: Duplicates) -> Point:
    """Say how many addresses stand on several records, and whether a sync may be called safe."""
    verdict = Verdict.FAIL if found.contradicting else Verdict.WARN if found.people else Verdict.PASS
    safe = "no sync is safe while they do" if found.contradicting else "none contradict each other"
    return Point(
        number=4,
        key="duplicates",
        title="Duplicates, and duplicates that contradict",
        verdict=verdict,
        people=found.people,
        oldest=found.oldest or found.since,
        summary=(
            f"Addresses on several records: {found.people:,}, with flags that contradict: "
            f"{found.contradicting:,}; {safe}."
        ),
        how="Every e-mail field of every mapped module, compared by keyed hash of the normalised address.",
        advice=_advice(found),
        figures=(
            Figure(label="with contradicting Email Opt Out", value=found.contradicting, oldest=found.oldest),
            Figure(label="across modules (a Lead and a Contact)", value=found.across_modules),
            Figure(label="with several records in all", value=found.people, oldest=found.since),
        ),
    )


def _advice(found: Duplicates) -> tuple[str, ...]:
    advice = []
    if found.contradicting:
        advice.append(
            "Run consent-ledger reconcile --apply: the restrictive value is written to all records."
        )
    if found.people:
        advice.append(
            "Merge them in CRM (the module's menu, Deduplicate), into the record marked keep in the list "
            "that consent-ledger audit --duplicates FILE writes; a merge that loses Email Opt Out is undone "
            "by the next run."
        )
    return tuple(advice)


def _iso(at: datetime | None) -> str:
    return "" if at is None else f"{at:%Y-%m-%dT%H:%M:%SZ}"
