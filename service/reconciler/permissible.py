"""Who could be let go: people whom a product holds back although the ledger says go on good evidence.

Reads only. A permissive change is planned where a newer live consent of sufficient evidence decides,
nothing suppresses, and no other address of the record says otherwise; never for somebody erased, and in
Campaigns never for somebody whose mailbox ever bounced or who ever complained, by its word or the ledger's.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, and_, func, literal, not_, or_, select

from service.consent import GRANTS, Category, Provenance, State
from service.db import (
    Moment,
    change,
    contact,
    crm_address,
    crm_record,
    drift,
    happening,
    member,
    outcome,
    standing,
    subject,
    suppression,
)
from service.db import plan as plans
from service.ledger.store import LOG_ID
from service.policy import PolicySet
from service.reconciler.crm_mirror import flipped_by
from service.reconciler.diff import RE_PERMISSION
from service.reconciler.enforcement import CAMPAIGNS, CRM
from service.reconciler.plan import AGAIN, COUNTS_AGAIN, Change, basis_in_crm, urgency
from service.reconciler.planning import change_of, governed_lists, in_crm, on_lists, person_rows, undone
from service.reconciler.port import Member, OutcomeKind

OPEN = ("open", "approved", "applying")
"""States of a plan whose permissive changes still wait."""


def permits(
    tx: Connection, run_id: int, *, policy: PolicySet, now: datetime, waiting: bool = False
) -> list[Change]:
    """Return what could be let go of the people that this run found held back, by what both sides show now.

    What waits in a plan already, was refused, or failed a moment ago is left out, unless `waiting`.
    """
    found = [_crm_permit(row, policy) for row in tx.execute(_crm_permits(run_id, policy, now))]
    rows = tx.execute(_list_permits(run_id, policy, now)).all()
    on = statuses(tx, [row.address_index for row in rows], governed_lists(policy))
    found += [_list_permit(row, policy, on.get(row.address_index, {})) for row in rows]
    known = set() if waiting else _waiting(tx, now)
    left = [item for item in found if (item.target, item.address_index, item.cause_idx) not in known]
    return sorted(left, key=urgency)


def reached(
    tx: Connection, run_id: int, *, policy: PolicySet, now: datetime
) -> set[tuple[str, bytes, int | None]]:
    """Return the changes (target, person, cause) that the ledger still wants and a product shows already.

    That is how a write looks of which a crash lost the answer.
    """
    target = literal(CRM) + crm_record.c.module + literal("/") + crm_record.c.record_id
    purpose = policy.zoho.governs
    columns = (standing.c.decided_by.label("cause_idx"),)
    allowed = _may_permit(run_id, policy, now)
    in_records = _in_records(person_rows(purpose, target.label("target"), *columns))
    lists = governed_lists(policy)
    on = and_(on_lists(lists, Member.ACTIVE), ~on_lists(lists, Member.UNSUBSCRIBED))
    listed = _decided(person_rows(purpose, literal(CAMPAIGNS).label("target"), *columns))
    granted = select(contact.c.address_index).where(
        contact.c.address_index == drift.c.address_index, contact.c.permission == "granted"
    )
    rows = [
        *tx.execute(in_records.where(allowed, crm_record.c.opted_out == 0)),
        *tx.execute(listed.where(allowed, on, granted.correlate(drift).exists())),
    ]
    return {(row.target, row.address_index, row.cause_idx) for row in rows}


def _in_records(rows: Select[Any]) -> Select[Any]:
    return in_crm(_decided(rows))


def _crm_permits(run_id: int, policy: PolicySet, now: datetime) -> Select[Any]:
    target = literal(CRM) + crm_record.c.module + literal("/") + crm_record.c.record_id
    rows = person_rows(
        policy.zoho.governs,
        target.label("target"),
        standing.c.decided_by.label("cause_idx"),
        undone(target, "permit", standing.c.decided_by, policy, now).label("undone"),
        happening.c.grade,
        _correction(),
        flipped_by().label("modified_by"),
        crm_record.c.unsubscribed_mode,
        crm_record.c.unsubscribed_at,
    )
    shown = and_(crm_record.c.opted_out == 1, crm_record.c.unknown == 0)
    return _in_records(rows).where(_may_permit(run_id, policy, now), shown, _no_other_address(policy))


def _list_permits(run_id: int, policy: PolicySet, now: datetime) -> Select[Any]:
    lists = governed_lists(policy)
    rows = person_rows(
        policy.zoho.governs,
        literal(CAMPAIGNS).label("target"),
        standing.c.decided_by.label("cause_idx"),
        undone(literal(CAMPAIGNS), "permit", standing.c.decided_by, policy, now).label("undone"),
        happening.c.grade,
        _correction(),
        literal(None).label("modified_by"),
        contact.c.permission,
    )
    left = on_lists(lists, Member.UNSUBSCRIBED)
    refused = and_(contact.c.permission == "refused", on_lists(lists, Member.ACTIVE))
    joined = _decided(rows).outerjoin(contact, contact.c.address_index == drift.c.address_index)
    dead = (OutcomeKind.COMPLAINED.value, OutcomeKind.BOUNCED_HARD.value)
    hurt = select(outcome.c.address_index).where(
        outcome.c.address_index == drift.c.address_index, outcome.c.kind.in_(dead)
    )
    return joined.where(
        _may_permit(run_id, policy, now),
        or_(left, refused),
        ~on_lists(lists, Member.BOUNCED),
        ~hurt.correlate(drift).exists(),
        ~_ever_hurt(),
    )


def _ever_hurt() -> ColumnElement[bool]:
    """Return whether the ledger knows of a complaint or a dead mailbox, even one that was lifted since."""
    ever = happening.alias("ever")
    told = ever.c.category.in_([Category.COMPLAINT.value, Category.BOUNCE_HARD.value])
    return select(ever.c.idx).where(ever.c.sub == standing.c.sub, told).correlate(standing).exists()


def _correction() -> ColumnElement[int | None]:
    """Return the correction by which something later than the deciding consent does not count any more."""
    later = happening.alias("later")
    return (
        select(func.max(later.c.idx))
        .where(
            later.c.log_id == LOG_ID,
            later.c.sub == standing.c.sub,
            later.c.corrects > standing.c.decided_by,
        )
        .correlate(standing)
        .scalar_subquery()
        .label("correction")
    )


def _decided(rows: Select[Any]) -> Select[Any]:
    """Join the event that decides."""
    return rows.join(happening, and_(happening.c.log_id == LOG_ID, happening.c.idx == standing.c.decided_by))


def _may_permit(run_id: int, policy: PolicySet, now: datetime) -> ColumnElement[bool]:
    """Return for whom the ledger says go on evidence that is good and fresh enough to write it.

    What is only implied (`fact`) lets nobody go: they said nothing.
    """
    rules = policy.enforcement.permissive
    grades = [grade for grade in "ABCDEF" if grade <= rules.weakest_grade]
    oldest = now - timedelta(days=rules.fresh_days)
    ran_out = and_(standing.c.valid_until.is_not(None), standing.c.valid_until <= literal(now, Moment()))
    kept_out = select(suppression.c.address_index).where(suppression.c.address_index == drift.c.address_index)
    return and_(
        drift.c.run_id == run_id,
        drift.c.kind == RE_PERMISSION,
        standing.c.state == State.PERMITTED.value,
        standing.c.must_stop == 0,
        standing.c.suppressed.is_(None),
        not_(ran_out),
        happening.c.category.in_([category.value for category in GRANTS]),
        happening.c.fact.is_(None),
        happening.c.provenance == Provenance.LIVE.value,
        happening.c.grade.in_(grades),
        happening.c.occurred_at >= literal(oldest, Moment()),
        ~kept_out.correlate(drift).exists(),
    )


def _no_other_address(policy: PolicySet) -> ColumnElement[bool]:
    """Return whether nobody else whose address stands on the record is held back by its one flag."""
    other, who, stands = crm_address.alias("other"), subject.alias("who"), standing.alias("stands")
    lets = and_(stands.c.state == State.PERMITTED.value, stands.c.must_stop == 0)
    return ~(
        select(other.c.address_index)
        .outerjoin(who, who.c.address_index == other.c.address_index)
        .outerjoin(stands, and_(stands.c.sub == who.c.sub, stands.c.purpose == policy.zoho.governs))
        .where(
            other.c.module == crm_record.c.module,
            other.c.record_id == crm_record.c.record_id,
            other.c.address_index != drift.c.address_index,
            or_(stands.c.sub.is_(None), not_(lets)),
        )
        .correlate(crm_record, drift)
        .exists()
    )


def statuses(
    tx: Connection, indexes: Sequence[bytes], lists: Sequence[str]
) -> Mapping[bytes, dict[str, str]]:
    """Return each person's status by list, for those of the lists on which they are known."""
    found: dict[bytes, dict[str, str]] = {}
    asked = select(member.c.address_index, member.c.list_name, member.c.status).where(
        member.c.address_index.in_(indexes), member.c.list_name.in_(lists)
    )
    for index, name, status in tx.execute(asked) if indexes else ():
        found.setdefault(index, {})[name] = status
    return found


def _waiting(tx: Connection, now: datetime) -> set[tuple[str, bytes, int | None]]:
    """Return the permissive changes that need no other plan: they wait, were refused, or failed just now."""
    waits = or_(
        change.c.state.in_(["planned", "written", "refused", "contested"]),
        and_(change.c.state == "proposed", plans.c.state.in_(OPEN)),
        and_(change.c.state == "failed", change.c.next_at > literal(now, Moment())),
    )
    rows: Iterable[Any] = tx.execute(
        select(change.c.target, change.c.address_index, change.c.cause_idx)
        .join(plans, plans.c.run_id == change.c.run_id)
        .where(change.c.direction == "permit", waits)
    )
    return {(row.target, row.address_index, row.cause_idx) for row in rows}


def _crm_permit(row: Any, policy: PolicySet) -> Change:  # noqa: ANN401  # a result row
    return change_of(
        row,
        policy,
        policy.zoho.crm.opt_out_field,
        ("true", "false"),
        reason=_newer(row),
        direction="permit",
        basis=basis_in_crm(row.unsubscribed_at, row.unsubscribed_mode),
    )


def _list_permit(row: Any, policy: PolicySet, statuses: Mapping[str, str]) -> Change:  # noqa: ANN401  # as above
    mapping = policy.zoho.campaigns
    stands = "; ".join(f"{name} {status}" for name, status in sorted(statuses.items()))
    return change_of(
        row,
        policy,
        mapping.permission_label,
        (mapping.refused, mapping.granted),
        reason=_newer(row),
        direction="permit",
        basis=f"permission {row.permission or 'unknown'}; {stands}",
    )


def _newer(row: Any) -> str:  # noqa: ANN401  # a result row
    if row.correction is None:
        return f"{AGAIN}, entry {row.cause_idx} with evidence {row.grade}"
    return (
        f"{COUNTS_AGAIN}, entry {row.cause_idx} with evidence {row.grade}: "
        f"entry {row.correction} corrects what stood against it"
    )
