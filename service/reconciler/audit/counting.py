"""Count people by conditions in one pass over the facts, with the oldest and the newest case of each."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import CTE, ColumnElement, Connection, case, func, or_, select

from service.consent import State

Bool = ColumnElement[bool]


@dataclass(frozen=True, slots=True, kw_only=True)
class Measure:
    """Who is counted, and since when it is so for each of them as far as anybody knows."""

    where: Bool
    since: ColumnElement[Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Count:
    """How many people, and the earliest and latest `since` among them."""

    people: int
    oldest: datetime | None
    newest: datetime | None


def count(tx: Connection, fact: CTE, measures: Mapping[str, Measure]) -> dict[str, Count]:
    """Return each measure's count; one statement over `sides.facts`, whatever the number of measures."""
    columns = [
        column
        for name, measure in measures.items()
        for column in (
            func.coalesce(func.sum(case((measure.where, 1), else_=0)), 0).label(f"{name}_people"),
            func.min(case((measure.where, measure.since))).label(f"{name}_oldest"),
            func.max(case((measure.where, measure.since))).label(f"{name}_newest"),
        )
    ]
    row = tx.execute(select(*columns).select_from(fact)).one()._mapping  # noqa: SLF001  # SQLAlchemy's public name
    return {
        name: Count(people=row[f"{name}_people"], oldest=row[f"{name}_oldest"], newest=row[f"{name}_newest"])
        for name in measures
    }


def left_at(fact: CTE) -> ColumnElement[Any]:
    """Return when somebody left in Campaigns: its own word, else what we saw."""
    f = fact.c
    return func.coalesce(f.optout_told_at, f.complaint_at, f.left_since, f.optout_seen_at)


def has_left(fact: CTE) -> Bool:
    """Return who left in Campaigns and did not agree again since."""
    f = fact.c
    left = or_(f.unsubscribed > 0, f.optout_seen_at.is_not(None), f.complaints > 0)
    return left & ~_since_permitted(fact, left_at(fact))


def bounced_hard_at(fact: CTE) -> ColumnElement[Any]:
    """Return when a mailbox bounced for good, as far as known."""
    return func.coalesce(fact.c.hard_at, fact.c.bounced_since)


def has_bounced_hard(fact: CTE, soft_limit: int) -> Bool:
    """Return whose mailbox bounced for good; three soft ones in a row end on the same list, and are not."""
    f = fact.c
    on_list_alone = (f.bounced > 0) & (func.coalesce(f.softs, 0) < soft_limit)
    return or_(f.hards > 0, on_list_alone) & ~_lifted(fact, bounced_hard_at(fact))


def has_bounced_soft(fact: CTE, soft_limit: int) -> Bool:
    """Return whose mailbox bounced so often that the policy calls it dead, and never for good."""
    f = fact.c
    return (
        (f.softs >= soft_limit)
        & (func.coalesce(f.hards, 0) == 0)
        & ~_lifted(fact, f.soft_at)
        & ~has_left(fact)
    )


def is_open_in_crm(fact: CTE) -> Bool:
    """Return who has at least one CRM record without Email_Opt_Out."""
    return fact.c.records > fact.c.opted_out


def _since_permitted(fact: CTE, at: ColumnElement[Any]) -> Bool:
    """Return who gave live evidence after that moment, so that it counts no more."""
    f = fact.c
    later = (f.state == State.PERMITTED.value) & f.granted_at.is_not(None) & (f.granted_at >= at)
    return case((later, 1), else_=0) == 1


def _lifted(fact: CTE, at: ColumnElement[Any]) -> Bool:
    """Return whose bounce the ledger knows and holds against them no more."""
    f = fact.c
    known = f.hard_recorded_at.is_not(None) & (f.hard_recorded_at >= at) & f.suppressed.is_(None)
    return case((known, 1), else_=0) == 1
