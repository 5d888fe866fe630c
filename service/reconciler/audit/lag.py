"""Gotcha 3: lists against the CRM views that feed them, one by one."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Select,
    and_,
    case,
    distinct,
    exists,
    func,
    literal,
    or_,
    select,
    true,
)

from service.consent import State
from service.db import canary, crm_address, crm_record, member, standing, subject
from service.policy import CampaignsList
from service.reconciler.audit.point import Figure, Point, Verdict
from service.reconciler.port import Member

DAILY = timedelta(hours=36)
"""A daily sync has brought everybody after a day and a night's delay."""
IMMEDIATE = timedelta(minutes=10)
"""An immediate sync brings a record within ten minutes (facts zoho-campaigns, section 6)."""

_FASTER = (
    "In Campaigns' sync with Zoho CRM choose immediate sync for this view, or daily where it is weekly; "
    "records that leave a view are taken off only where the sync says remove from list."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Lag:
    """How one list differs from its view; the oldest record of each side changed last at these times."""

    name: str
    missing: int
    missing_since: datetime | None
    permitted: int
    """Of the missing those whom the ledger permits, so that they may be put on the list."""
    stale: int
    stale_since: datetime | None


def lags(tx: Connection, lists: Sequence[CampaignsList]) -> list[Lag]:
    """Return how each list with a view differs from it; set-based, two statements a list."""
    return [_lag(tx, entry) for entry in lists if entry.view_field]


def missing_from(entry: CampaignsList, only: Sequence[bytes] | None = None) -> Select[Any]:
    """Select `address_index`, `sub`, `since` and `permitted` (0 or 1) of those whom a list lacks.

    Left out are people who must not be on it: opted out on any record, refused or suppressed in the
    ledger. `since` is when the record changed last: so long at least the list lags. `only` these addresses.
    """
    records = _addresses(entry.name, only).subquery("viewed")
    on_list = exists().where(
        member.c.list_name == entry.name, member.c.address_index == records.c.address_index
    )
    kept_out = func.coalesce(standing.c.must_stop, 0) == 1
    permitted = and_(standing.c.state == State.PERMITTED.value, standing.c.suppressed.is_(None))
    return (
        select(
            records.c.address_index,
            subject.c.sub,
            records.c.since,
            func.coalesce(permitted, literal(value=False)).label("permitted"),
            standing.c.valid_until,
        )
        .select_from(records)
        .outerjoin(subject, subject.c.address_index == records.c.address_index)
        .outerjoin(standing, and_(standing.c.sub == subject.c.sub, standing.c.purpose == entry.purpose))
        .where(records.c.viewed == 1, records.c.opted_out == 0, ~on_list, ~kept_out)
    )


def _addresses(name: str, only: Sequence[bytes] | None = None) -> Select[*tuple[Any, ...]]:
    """Select each address in CRM: whether a record of it is in the view, or opted out, and its change."""
    in_view = (literal(",") + crm_record.c.views).contains(f",{name},", autoescape=True)
    return (
        select(
            crm_address.c.address_index,
            func.max(_flag(in_view)).label("viewed"),
            func.max(crm_record.c.opted_out).label("opted_out"),
            func.max(crm_record.c.modified_at).label("since"),
        )
        .join(
            crm_record,
            and_(
                crm_record.c.module == crm_address.c.module,
                crm_record.c.record_id == crm_address.c.record_id,
            ),
        )
        .where(crm_address.c.address_index.not_in(select(canary.c.address_index)))
        .where(true() if only is None else crm_address.c.address_index.in_(only))
        .group_by(crm_address.c.address_index)
    )


def _flag(condition: ColumnElement[bool]) -> ColumnElement[int]:
    return case((condition, 1), else_=0)


def _lag(tx: Connection, entry: CampaignsList) -> Lag:
    lacking = missing_from(entry).subquery("lacking")
    missing = tx.execute(
        select(
            func.count(),
            func.min(lacking.c.since),
            func.coalesce(func.sum(_flag(lacking.c.permitted)), 0),
        ).select_from(lacking)
    ).one()
    records = _addresses(entry.name).subquery("viewed")
    stale = tx.execute(
        select(func.count(distinct(member.c.address_index)), func.min(records.c.since))
        .join(records, records.c.address_index == member.c.address_index)
        .where(
            member.c.list_name == entry.name,
            member.c.status == Member.ACTIVE.value,
            records.c.viewed == 0,
        )
    ).one()
    return Lag(
        name=entry.name,
        missing=missing[0],
        missing_since=missing[1],
        permitted=missing[2],
        stale=stale[0],
        stale_since=stale[1],
    )


def lists(found: Sequence[Lag], *, now: datetime) -> Point:
    """Say which lists lag behind their views, and how fast the sync that feeds them looks."""
    people = sum(lag.missing + lag.stale for lag in found)
    ages = [at for lag in found for at in (lag.missing_since, lag.stale_since) if at is not None]
    oldest = min(ages, default=None)
    late = oldest is not None and now - oldest > DAILY
    permitted = sum(lag.permitted for lag in found)
    return Point(
        number=3,
        key="lists",
        title="Lists that lag behind their CRM views",
        verdict=Verdict.FAIL if people and late else Verdict.WARN if people else Verdict.PASS,
        people=people,
        oldest=oldest,
        summary=f"Different between lists and views: {people:,}; {_pace(oldest, now)}.",
        how=(
            "Contacts of each list against the CRM checkbox that feeds it (policies/zoho.toml, view_field). "
            "The age counts from the record's last change: so long at least the list lags."
        ),
        advice=_advice(permitted, people),
        figures=tuple(figure for lag in found for figure in _figures(lag)),
    )


def _figures(lag: Lag) -> tuple[Figure, ...]:
    return (
        Figure(
            label=f"{lag.name}: in the view, not on the list", value=lag.missing, oldest=lag.missing_since
        ),
        Figure(label=f"{lag.name}: of those permitted by the ledger", value=lag.permitted),
        Figure(label=f"{lag.name}: on the list, not in the view", value=lag.stale, oldest=lag.stale_since),
    )


def _pace(oldest: datetime | None, now: datetime) -> str:
    if oldest is None:
        return "every list equals its view"
    age = now - oldest
    if age <= IMMEDIATE:
        return "all of it is younger than ten minutes, as with an immediate sync"
    return (
        "all of it may be gone after tonight's sync" if age <= DAILY else "a daily sync would have ended it"
    )


def _advice(permitted: int, people: int) -> tuple[str, ...]:
    if not people:
        return ()
    advice = [_FASTER]
    if permitted:
        advice.insert(0, f"Put the {permitted:,} permitted people on their lists now: consent-ledger push.")
    return tuple(advice)


def permitted_now(found: Select[Any], at: datetime) -> Select[Any]:
    """Keep of `missing_from` those whom the ledger permits at this moment."""
    rows = found.subquery("lacking")
    lasts = or_(rows.c.valid_until.is_(None), rows.c.valid_until > at)
    return select(rows.c.address_index, rows.c.sub).where(rows.c.permitted, lasts)
