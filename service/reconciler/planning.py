"""From a run's `drift` rows and the mirrors to its stops, for every record that shares the address.

Reads only. Who could be let go is `permissible`'s.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, and_, case, func, literal, select

from service.db import Moment, change, crm_address, crm_record, drift, member, standing, subject
from service.policy import PolicySet
from service.reconciler.actors import called
from service.reconciler.crm_mirror import flipped_by
from service.reconciler.diff import RE_PERMISSION, STOPPING, Found
from service.reconciler.enforcement import CAMPAIGNS, CRM
from service.reconciler.plan import Change, Direction, Plan, cost, urgency
from service.reconciler.port import Member


def plan(
    tx: Connection,
    run_id: int,
    found: Found,
    *,
    policy: PolicySet,
    now: datetime,
    permits: Sequence[Change] = (),
    without: frozenset[str] = frozenset(),
) -> Plan:
    """Return the plan of this run: its stops, but none in the products `without`, and these permits."""
    lists = governed_lists(policy)
    rows: list[Change] = []
    if "crm" not in without:
        rows += [_crm_stop(row, policy) for row in tx.execute(_crm_stops(run_id, policy, now))]
    if CAMPAIGNS not in without:
        rows += [_list_stop(row, policy) for row in tx.execute(_list_stops(run_id, policy, now))]
    stops = sorted(rows, key=urgency)
    changes = tuple(item for item in stops if not item.contested)
    calls, crm_credits = cost(changes, len(lists))
    return Plan(
        run_id=run_id,
        changes=changes,
        contested=tuple(item for item in stops if item.contested),
        permits=tuple(permits),
        re_permissions=found.kinds.get(RE_PERMISSION, 0),
        reports={k: n for k, n in found.kinds.items() if k not in STOPPING and k != RE_PERMISSION},
        without_consent=found.without_consent,
        calls=calls,
        crm_credits=crm_credits,
        policy=policy.digest.hex(),
    )


def governed_lists(policy: PolicySet) -> tuple[str, ...]:
    """Return the names of the lists of the purpose that both consent fields stand for."""
    return tuple(entry.name for entry in policy.zoho.campaigns.lists if entry.purpose == policy.zoho.governs)


def cause(must_stop: ColumnElement[Any]) -> ColumnElement[int | None]:
    """Return the entry that decides for stopping: the refusal, else what suppresses."""
    refused = standing.c.state == "refused"
    return case((refused, standing.c.decided_by), (must_stop == 1, standing.c.suppressed_by))


def person_rows(purpose: str, *columns: Any) -> Select[Any]:  # noqa: ANN401  # columns of any table
    """Return a select of columns beside each person whom drift was found about, and their standing."""
    return (
        select(*columns, drift.c.address_index, subject.c.sub, drift.c.kind, drift.c.due_at, drift.c.due_rule)
        .select_from(drift)
        .outerjoin(subject, subject.c.address_index == drift.c.address_index)
        .outerjoin(standing, and_(standing.c.sub == subject.c.sub, standing.c.purpose == purpose))
    )


def in_crm(rows: Select[Any]) -> Select[Any]:
    """Join the records that carry the person's address."""
    return rows.join(crm_address, crm_address.c.address_index == drift.c.address_index).join(
        crm_record,
        and_(crm_record.c.module == crm_address.c.module, crm_record.c.record_id == crm_address.c.record_id),
    )


def on_lists(lists: Sequence[str], status: Member) -> ColumnElement[bool]:
    """Return whether the person is on one of these lists in this status."""
    return (
        select(member.c.address_index)
        .where(
            member.c.address_index == drift.c.address_index,
            member.c.list_name.in_(lists),
            member.c.status == status.value,
        )
        .correlate(drift)
        .exists()
    )


def undone(
    target: ColumnElement[Any],
    direction: Direction,
    because: ColumnElement[Any],
    policy: PolicySet,
    now: datetime,
) -> ColumnElement[Any]:
    """Return how often this very change was written and proved lately: since it is needed again, undone."""
    before = change.alias("before")
    since = now - timedelta(days=policy.enforcement.flapping.within_days)
    return (
        select(func.count())
        .where(
            before.c.target == target,
            before.c.address_index == drift.c.address_index,
            before.c.direction == direction,
            before.c.state == "proved",
            before.c.cause_idx.is_not_distinct_from(because),
            before.c.written_at >= literal(since, Moment()),
        )
        .scalar_subquery()
    )


def change_of(
    row: Any,  # noqa: ANN401  # a result row
    policy: PolicySet,
    field: str,
    values: tuple[str, str],
    *,
    reason: str,
    direction: Direction = "stop",
    basis: str = "",
) -> Change:
    """Return the change that a row asks for; `values` are from and to."""
    return Change(
        target=row.target,
        address_index=row.address_index,
        sub=row.sub,
        kind=row.kind,
        field=field,
        old=values[0],
        new=values[1],
        reason=reason,
        cause_idx=row.cause_idx,
        due_at=row.due_at,
        due_rule=row.due_rule,
        direction=direction,
        basis=basis,
        contested=row.undone >= policy.enforcement.flapping.undone_limit,
        undone_by=called(row.modified_by) if row.undone else None,
    )


def _crm_stops(run_id: int, policy: PolicySet, now: datetime) -> Select[Any]:
    target = literal(CRM) + crm_record.c.module + literal("/") + crm_record.c.record_id
    because = cause(standing.c.must_stop)
    rows = person_rows(
        policy.zoho.governs,
        target.label("target"),
        because.label("cause_idx"),
        undone(target, "stop", because, policy, now).label("undone"),
        flipped_by().label("modified_by"),
        standing.c.rule.label("rule"),
    )
    return in_crm(rows).where(drift.c.run_id == run_id, drift.c.action == "stop", crm_record.c.opted_out == 0)


def _list_stops(run_id: int, policy: PolicySet, now: datetime) -> Select[Any]:
    because = cause(standing.c.must_stop)
    rows = person_rows(
        policy.zoho.governs,
        literal(CAMPAIGNS).label("target"),
        because.label("cause_idx"),
        undone(literal(CAMPAIGNS), "stop", because, policy, now).label("undone"),
        literal(None).label("modified_by"),
        standing.c.rule.label("rule"),
    )
    active = on_lists(governed_lists(policy), Member.ACTIVE)
    return rows.where(drift.c.run_id == run_id, drift.c.action == "stop", active)


def _crm_stop(row: Any, policy: PolicySet) -> Change:  # noqa: ANN401  # a result row
    return change_of(row, policy, policy.zoho.crm.opt_out_field, ("false", "true"), reason=_why(row))


def _list_stop(row: Any, policy: PolicySet) -> Change:  # noqa: ANN401  # a result row
    mapping = policy.zoho.campaigns
    values = (mapping.granted, mapping.refused)
    return change_of(row, policy, mapping.permission_label, values, reason=_why(row))


def _why(row: Any) -> str:  # noqa: ANN401  # a result row
    """Return why somebody is stopped; where their standing is what stops them, by which rule, if by one."""
    by_standing = row.kind in ("withdrawn_not_enforced", "permitted_without_consent")
    return f"{STOPPING[row.kind]} ({row.rule})" if by_standing and row.rule else STOPPING[row.kind]
