"""Who or what caused each drift, as far as the products tell; a cause that nobody tells is called unknown.

The mirror knows how somebody left (`Unsubscribed_Mode`) and who had written a record last when its opt-out
was seen changed; that names whoever opened it again, unless somebody else wrote to it in between. Timelines
are certain, and tell a person from an import, a sync and another application, but cost a credit each: as
many are read as policy grants, those first of whom the mirror names nobody, then some of each user's.
"""

from collections.abc import Iterable, Mapping, Sequence
from enum import StrEnum
from typing import Any, NamedTuple

from sqlalchemy import (
    ARRAY,
    ColumnElement,
    Connection,
    LargeBinary,
    Row,
    Subquery,
    and_,
    case,
    func,
    literal,
    or_,
    select,
    update,
)

from service.consent import Category
from service.db import chunks, crm_address, crm_record, drift, happening, member
from service.errors import ZohoError
from service.reconciler.actors import called
from service.reconciler.context import Context
from service.reconciler.crm_mirror import flipped_by
from service.reconciler.port import Member

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


RECORD = "record"
"""Told by the record alone: who had written it last."""
TIMELINE = "timeline"


class _Told(NamedTuple):
    """What is told of one drift; of an opening, by what."""

    cause: Cause
    actor: str | None
    by: str | None = None
    reopened: bool = False


def attribute(tx: Connection, run_id: int) -> None:
    """Say for every drift of a run what caused it, from the mirror alone."""
    found = tx.execute(_asked(run_id), execution_options={"yield_per": BATCH})
    for part in found.partitions():
        _put(tx, run_id, ((row.kind, row.address_index, _told(row)) for row in part))


def read_timelines(context: Context, run_id: int) -> int:
    """Read how records came to be open again, as many as policy grants; return how many told it.

    A product that tells nothing, or too much is asked of it, ends the reading: causes are no necessity.
    """
    with context.db.read() as tx:
        wanted = tx.execute(_untold(run_id, context.policy.enforcement.quota.timelines_per_run)).all()
    told: list[tuple[Row[Any], _Told]] = []
    for row in wanted:
        try:
            flip = context.crm.last_flip(row.module, row.record_id)
        except ZohoError:
            break
        if flip is not None:
            cause = SOURCES.get(flip.source, Cause.UNKNOWN)
            told.append((row, _opened(cause, flip.who or row.opened_by, by=TIMELINE)))
    with context.db.begin() as tx:
        _correct(tx, told)
    return len(told)


def cause_of(kind: str, *, mode: str | None) -> Cause:
    """Return what the mirror tells about the drift of somebody whom nobody opened again."""
    if kind in BY_KIND:
        return BY_KIND[kind]
    return MODES.get(mode or "", Cause.UNKNOWN)


def _asked(run_id: int) -> Any:  # noqa: ANN401  # a select of many columns
    """Select each drift of a run with what its CRM records tell."""
    out = crm_record.c.opted_out == 1
    side = (
        select(
            crm_address.c.address_index,
            func.max(case((out, crm_record.c.unsubscribed_mode))).label("mode"),
            func.max(case((out, flipped_by()))).label("closed_by"),
        )
        .join(crm_record, _same_record())
        .where(crm_address.c.address_index.in_(select(drift.c.address_index).where(drift.c.run_id == run_id)))
        .group_by(crm_address.c.address_index)
        .subquery()
    )
    opened = _openings(run_id)
    return (
        select(
            drift.c.kind,
            drift.c.action,
            drift.c.address_index,
            side.c.mode,
            side.c.closed_by,
            opened.c.opened_by,
            opened.c.changed_how,
            opened.c.changed_run,
            case((and_(_stopped_before(), _active_again()), 1), else_=0).label("back_in_campaigns"),
        )
        .outerjoin(side, side.c.address_index == drift.c.address_index)
        .outerjoin(opened, and_(opened.c.address_index == drift.c.address_index, opened.c.newest == 1))
        .where(drift.c.run_id == run_id)
    )


def _openings(run_id: int) -> Subquery:
    """Return the records that were opened again of whom this run would stop; `newest` 1: a person's last."""
    newest = func.row_number().over(
        partition_by=crm_address.c.address_index,
        order_by=(crm_record.c.changed_run.desc(), crm_record.c.modified_at.desc(), crm_record.c.record_id),
    )
    stops = select(drift.c.address_index).where(drift.c.run_id == run_id, drift.c.action == "stop")
    return (
        select(
            crm_address.c.address_index,
            *(crm_record.c[name] for name in ("module", "record_id", "modified_at", "changed_run")),
            crm_record.c.changed_how,
            flipped_by().label("opened_by"),
            newest.label("newest"),
        )
        .join(crm_record, _same_record())
        .where(crm_record.c.opted_out == 0, crm_record.c.changed_run.is_not(None))
        .where(crm_address.c.address_index.in_(stops))
        .subquery()
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
    if row.action == "stop" and row.changed_run is not None:
        if row.changed_how is not None:
            return _opened(Cause(row.changed_how), row.opened_by, by=TIMELINE)
        return _opened(Cause.STAFF, row.opened_by, by=RECORD)
    if row.action == "stop" and row.back_in_campaigns:
        return _Told(Cause.CAMPAIGNS, None, reopened=True)
    cause = cause_of(row.kind, mode=row.mode)
    return _Told(cause, called(row.closed_by) if cause is Cause.STAFF else None)


def _opened(cause: Cause, who: str | None, *, by: str) -> _Told:
    return _Told(cause, called(who), by, reopened=True)


def _put(tx: Connection, run_id: int, told: Iterable[tuple[str, bytes, _Told]]) -> None:
    """Write what is told of drifts, each named by its kind and its address: one statement for all alike."""
    alike: dict[tuple[str, _Told], list[bytes]] = {}
    for kind, index, one in told:
        alike.setdefault((kind, one), []).append(index)
    for (kind, one), indexes in alike.items():
        _write(tx, and_(drift.c.run_id == run_id, drift.c.kind == kind), indexes, one)


def _correct(tx: Connection, told: Iterable[tuple[Row[Any], _Told]]) -> None:
    """Write what timelines told into the mirror, and into the drifts of every run that saw that opening."""
    alike: dict[tuple[int, _Told], list[bytes]] = {}
    for row, one in told:
        alike.setdefault((row.changed_run, one), []).append(row.address_index)
        of_record = (crm_record.c.module == row.module) & (crm_record.c.record_id == row.record_id)
        new = {"changed_by": one.actor, "changed_how": one.cause.value}
        tx.execute(update(crm_record).where(of_record).values(new))
    for (changed_run, one), indexes in alike.items():
        _write(tx, and_(drift.c.run_id >= changed_run, drift.c.reopened == 1), indexes, one)


def _write(tx: Connection, which: ColumnElement[bool], indexes: Sequence[bytes], one: _Told) -> None:
    new = {"cause": one.cause.value, "actor": one.actor, "told_by": one.by, "reopened": int(one.reopened)}
    those = update(drift).where(which).values(new)
    if tx.dialect.name == "postgresql":
        tx.execute(those.where(drift.c.address_index == func.any(literal(indexes, ARRAY(LargeBinary)))))
        return
    for part in chunks(indexes):
        tx.execute(those.where(drift.c.address_index.in_(part)))


def _untold(run_id: int, most: int) -> Any:  # noqa: ANN401  # as above
    """Select whose timelines are asked: first of nobody named, then each user's in turn, newest first."""
    opened = _openings(run_id)
    fresh = (opened.c.changed_run.desc(), opened.c.modified_at.desc(), opened.c.record_id)
    nameless = or_(opened.c.opened_by.is_(None), func.rtrim(opened.c.opened_by, "0123456789") == "")
    turn = func.row_number().over(partition_by=opened.c.opened_by, order_by=fresh)
    return (
        select(opened)
        .where(opened.c.newest == 1, opened.c.changed_how.is_(None))
        .order_by(case((nameless, 0), else_=1), turn, *fresh)
        .limit(most)
    )


def _same_record() -> Any:  # noqa: ANN401  # a condition
    return and_(
        crm_record.c.module == crm_address.c.module, crm_record.c.record_id == crm_address.c.record_id
    )
