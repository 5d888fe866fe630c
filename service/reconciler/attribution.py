"""Who or what caused each drift, as far as the products tell; a cause that nobody tells is called unknown.

The mirror knows how somebody left (`Unsubscribed_Mode`) and who wrote a record last. Of records that were
opted out and are open again, the newest ones' timelines are read, one credit each, because they tell
whether it was a person, an import, a sync or another application.
"""

from collections.abc import Iterable, Mapping
from datetime import datetime
from enum import StrEnum
from typing import Any, NamedTuple

from sqlalchemy import (
    ARRAY,
    ColumnElement,
    Connection,
    LargeBinary,
    Row,
    and_,
    case,
    func,
    literal,
    select,
    update,
)

from service.consent import Category
from service.db import chunks, crm_address, crm_record, drift, happening, member, run
from service.errors import ZohoError
from service.reconciler.actors import called
from service.reconciler.context import Context
from service.reconciler.port import Member

MOST = 50
"""Timelines that one run reads; the rest is attributed by the mirror alone."""
BATCH = 4_000
"""Drifts that are read at once; those of one cause are written by one statement."""


class Cause(StrEnum):
    """What brought a drift about; the value is what a person reads."""

    PERSON = "the person themselves"
    MAILBOX = "the mailbox"
    STAFF = "a user of CRM"
    SYNC = "Zoho's own sync"
    IMPORT = "an import or a mass update"
    AUTOMATION = "a workflow or another application"
    CAMPAIGNS = "somebody in Campaigns, which does not say who"
    NOT_CARRIED = "nobody carried it over"
    LAG = "the sync of the list"
    UNKNOWN = "the products do not tell"


MODES: Mapping[str, Cause] = {
    "Unsubscribe link": Cause.PERSON,
    "Consent form": Cause.PERSON,
    "Manual": Cause.STAFF,
    "Zoho campaigns": Cause.SYNC,
}
"""By what `Unsubscribed_Mode` says (facts zoho-crm, section 2.2)."""

SOURCES: Mapping[str, Cause] = {
    "crm_ui": Cause.STAFF,
    "crm_api": Cause.AUTOMATION,
    "workflow": Cause.AUTOMATION,
    "migration": Cause.IMPORT,
    "mass_update": Cause.IMPORT,
    "mass_addition_via_ui": Cause.IMPORT,
    "import": Cause.IMPORT,
    "zoho_campaigns": Cause.SYNC,
}
"""By the source of a line of `__timeline` (facts zoho-crm, section 2.6); others are unknown."""

BY_KIND: Mapping[str, Cause] = {
    "complaint_not_in_crm": Cause.NOT_CARRIED,
    "unsubscribed_not_in_crm": Cause.NOT_CARRIED,
    "permission_refused_in_campaigns": Cause.NOT_CARRIED,
    "withdrawn_not_enforced": Cause.NOT_CARRIED,
    "hard_bounce_not_in_crm": Cause.MAILBOX,
    "repeated_soft_bounce_not_in_crm": Cause.MAILBOX,
    "list_lag_missing": Cause.LAG,
    "list_lag_stale": Cause.LAG,
}
"""What a kind of drift comes from where no record tells more."""


class _Told(NamedTuple):
    """What is told of one drift."""

    cause: Cause
    actor: str | None
    reopened: bool


def attribute(tx: Connection, run_id: int) -> None:
    """Say for every drift of a run what caused it, from the mirror alone."""
    found = tx.execute(_asked(run_id), execution_options={"yield_per": BATCH})
    for part in found.partitions():
        _put(tx, run_id, ((row.kind, row.address_index, _told(row)) for row in part))


def read_timelines(context: Context, run_id: int) -> int:
    """Read how the newest of the records that were opened again came to be so; return how many were read.

    A product that tells nothing, or too much is asked of it, ends the reading: causes are no necessity.
    """
    with context.db.read() as tx:
        wanted = tx.execute(_reopened(run_id)).all()
    told: list[tuple[str, bytes, _Told]] = []
    for row in wanted:
        try:
            flip = context.crm.last_flip(row.module, row.record_id)
        except ZohoError:
            break
        if flip is not None:
            cause = SOURCES.get(flip.source, Cause.UNKNOWN)
            opened = _Told(cause, called(flip.who or row.modified_by), reopened=True)
            told.append((row.kind, row.address_index, opened))
    with context.db.begin() as tx:
        _put(tx, run_id, told)
    return len(told)


def cause_of(kind: str, *, mode: str | None) -> Cause:
    """Return what the mirror tells about the drift of somebody whom nobody opened again."""
    if kind in BY_KIND:
        return BY_KIND[kind]
    return MODES.get(mode or "", Cause.UNKNOWN)


def _asked(run_id: int) -> Any:  # noqa: ANN401  # a select of many columns
    """Select each drift of a run with what its CRM records tell."""
    out = crm_record.c.opted_out == 1
    opened = and_(crm_record.c.opted_out == 0, crm_record.c.changed_run.is_not(None))
    side = (
        select(
            crm_address.c.address_index,
            func.max(case((out, crm_record.c.unsubscribed_mode))).label("mode"),
            func.max(case((out, crm_record.c.modified_by))).label("closed_by"),
            func.max(case((opened, crm_record.c.modified_by))).label("opened_by"),
            func.max(case((opened, 1), else_=0)).label("reopened"),
        )
        .join(crm_record, _same_record())
        .where(crm_address.c.address_index.in_(select(drift.c.address_index).where(drift.c.run_id == run_id)))
        .group_by(crm_address.c.address_index)
        .subquery()
    )
    return (
        select(
            drift.c.kind,
            drift.c.action,
            drift.c.address_index,
            side.c.mode,
            side.c.closed_by,
            side.c.opened_by,
            func.coalesce(side.c.reopened, 0).label("reopened"),
            case((and_(_stopped_before(), _active_again()), 1), else_=0).label("back_in_campaigns"),
        )
        .outerjoin(side, side.c.address_index == drift.c.address_index)
        .where(drift.c.run_id == run_id)
    )


def _stopped_before() -> ColumnElement[bool]:
    """Return who was stopped by us before: an enforcement of theirs is recorded."""
    return (
        select(happening.c.idx)
        .where(happening.c.sub == drift.c.sub, happening.c.category == Category.ENFORCEMENT.value)
        .exists()
    )


def _active_again() -> ColumnElement[bool]:
    """Return who is active on a list of Campaigns now."""
    return (
        select(member.c.address_index)
        .where(member.c.address_index == drift.c.address_index, member.c.status == Member.ACTIVE.value)
        .exists()
    )


def _told(row: Row[Any]) -> _Told:
    if row.action == "stop" and row.reopened:
        return _Told(Cause.STAFF, called(row.opened_by), reopened=True)
    if row.action == "stop" and row.back_in_campaigns:
        return _Told(Cause.CAMPAIGNS, None, reopened=True)
    cause = cause_of(row.kind, mode=row.mode)
    return _Told(cause, called(row.closed_by) if cause is Cause.STAFF else None, reopened=False)


def _put(tx: Connection, run_id: int, told: Iterable[tuple[str, bytes, _Told]]) -> None:
    """Write what is told of drifts, each named by its kind and its address: one statement for all alike."""
    alike: dict[tuple[str, _Told], list[bytes]] = {}
    for kind, index, one in told:
        alike.setdefault((kind, one), []).append(index)
    for (kind, one), indexes in alike.items():
        new = {"cause": one.cause.value, "actor": one.actor, "reopened": int(one.reopened)}
        of_kind = update(drift).where(drift.c.run_id == run_id, drift.c.kind == kind).values(new)
        if tx.dialect.name == "postgresql":
            tx.execute(of_kind.where(drift.c.address_index == func.any(literal(indexes, ARRAY(LargeBinary)))))
            continue
        for part in chunks(indexes):
            tx.execute(of_kind.where(drift.c.address_index.in_(part)))


def _reopened(run_id: int) -> Any:  # noqa: ANN401  # as above
    """Select the open records of people whom this run found opened again, those changed last first."""
    return (
        select(
            drift.c.kind,
            drift.c.address_index,
            crm_record.c.module,
            crm_record.c.record_id,
            crm_record.c.modified_by,
        )
        .join(crm_address, crm_address.c.address_index == drift.c.address_index)
        .join(crm_record, _same_record())
        .where(
            drift.c.run_id == run_id,
            drift.c.reopened == 1,
            crm_record.c.opted_out == 0,
            crm_record.c.changed_run.is_not(None),
        )
        .order_by(crm_record.c.changed_run.desc(), crm_record.c.modified_at.desc(), crm_record.c.record_id)
        .limit(MOST)
    )


def _same_record() -> Any:  # noqa: ANN401  # a condition
    return and_(
        crm_record.c.module == crm_address.c.module, crm_record.c.record_id == crm_address.c.record_id
    )


def top_openers(
    tx: Connection, since: datetime, until: datetime, most: int = 5
) -> list[tuple[str, str, int]]:
    """Return who opened again what had been stopped: name, what did it, people; the most first."""
    who = func.coalesce(drift.c.actor, "somebody whom the product does not name")
    people = func.count(drift.c.address_index.distinct())
    rows = tx.execute(
        select(who, drift.c.cause, people)
        .join(run, run.c.id == drift.c.run_id)
        .where(run.c.started_at > since, run.c.started_at <= until, drift.c.reopened == 1)
        .group_by(who, drift.c.cause)
        .order_by(people.desc(), who)
        .limit(most)
    )
    return [(str(name), cause or Cause.UNKNOWN.value, count) for name, cause, count in rows]
