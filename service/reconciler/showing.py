"""A stored plan as people and programs are shown it: totals, cost, deadlines, who decided, every change.

People appear under pseudonyms; the address of a change is `opened` only for who may see names.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import msgspec
from sqlalchemy import Connection, case, func, select

from service.db import approval, change, plan
from service.errors import NotFound
from service.reconciler import breakers
from service.reconciler.breakers import Trip
from service.reconciler.lasting import lasting
from service.reconciler.plan import AGAIN, COUNTS_AGAIN
from service.reconciler.sealed import addresses_of
from service.vault import Vault
from service.vault.pseudonym import by_address

PAGE = 200
"""Changes shown at a time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Total:
    """How many people and writes of one kind a plan holds for one product: stop, permit or contested."""

    direction: str
    kind: str
    reason: str
    product: str
    people: int
    writes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One change, as it stands now; `person` is a pseudonym, `address` is there where it was opened."""

    person: str
    target: str
    direction: str
    kind: str
    field: str
    old: str
    new: str
    reason: str
    cause: int | None
    due_at: datetime | None
    due_rule: str | None
    state: str
    error: str | None
    next_at: datetime | None
    undone_by: str | None
    lasting: str | None = None
    """Why this write cannot be undone; None where it can."""
    address: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Voice:
    """What one person decided about a plan, where, and when."""

    account: str
    decision: str
    reason: str
    via: str
    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """One plan in the list of plans."""

    run_id: int
    state: str
    made_at: datetime
    ended_at: datetime | None
    reason: str | None
    needed: int
    approved: int
    stop: int
    permit: int
    contested: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """One plan whole; `lines` are a part of `size` changes, permissive ones first, from `start` on.

    `overdue` are writes that still wait past their deadline, `late` those that were made after it.
    """

    summary: Summary
    digest: str
    policy: str
    calls: int
    credits: int
    states: Mapping[str, int]
    totals: tuple[Total, ...]
    overdue: int
    late: int
    next_due: tuple[datetime, str] | None
    voices: tuple[Voice, ...]
    tripped: tuple[Trip, ...]
    lines: tuple[Line, ...]
    start: int
    size: int


def listed(tx: Connection, limit: int = 50) -> list[Summary]:
    """Return the newest plans, those that wait for somebody first."""
    waits = case((plan.c.state == "open", 0), (plan.c.state.in_(["approved", "applying"]), 1), else_=2)
    rows = tx.execute(select(plan).order_by(waits, plan.c.run_id.desc()).limit(limit)).all()
    return _summaries(tx, rows)


def show(
    tx: Connection,
    run_id: int,
    *,
    now: datetime,
    start: int = 0,
    limit: int = PAGE,
    vault: Vault | None = None,
) -> Shown:
    """Return one plan; with a `vault`, the addresses of the shown people. Raises `NotFound`."""
    row = tx.execute(select(plan).where(plan.c.run_id == run_id)).one_or_none()
    if row is None:
        raise NotFound("there is no plan of this number; look at the list of plans")
    mine = change.c.run_id == run_id
    states = dict(tx.execute(select(change.c.state, func.count()).where(mine).group_by(change.c.state)).all())
    due = select(change.c.due_at, change.c.due_rule).where(
        mine, change.c.due_at.is_not(None), change.c.state.in_(["proposed", "planned", "failed", "contested"])
    )
    coming = tx.execute(due.where(change.c.due_at >= now).order_by(change.c.due_at).limit(1)).one_or_none()
    overdue = tx.scalar(select(func.count()).select_from(due.where(change.c.due_at < now).subquery()))
    late = select(func.count()).where(
        mine, change.c.state.in_(["written", "proved"]), change.c.written_at > change.c.due_at
    )
    return Shown(
        summary=_summaries(tx, [row])[0],
        digest=row.digest.hex(),
        policy=row.policy.hex(),
        calls=row.calls,
        credits=row.credits,
        states=states,
        totals=_totals(tx, run_id),
        overdue=overdue or 0,
        late=tx.scalar(late) or 0,
        next_due=None if coming is None else (coming.due_at, coming.due_rule or ""),
        voices=_voices(tx, run_id),
        tripped=tuple(breakers.tripped(tx, run_id)),
        lines=_lines(tx, run_id, start, limit, vault),
        start=start,
        size=sum(states.values()),
    )


def to_data(found: Shown) -> dict[str, Any]:
    """Return a plan as JSON values: times as text, people as pseudonyms."""
    told: dict[str, Any] = msgspec.to_builtins(found)
    return {**summary_data(found.summary), **{k: v for k, v in told.items() if k != "summary"}}


def summary_data(one: Summary) -> dict[str, Any]:
    """Return a plan of the list as JSON values."""
    told: dict[str, Any] = msgspec.to_builtins(one)
    return {"plan": told.pop("run_id"), **told}


def _summaries(tx: Connection, rows: Sequence[Any]) -> list[Summary]:
    ids = [row.run_id for row in rows]
    people: dict[int, dict[str, int]] = {}
    kind = case((change.c.state == "contested", "contested"), else_=change.c.direction)
    for run_id, which, count in tx.execute(
        select(change.c.run_id, kind, func.count(change.c.address_index.distinct()))
        .where(change.c.run_id.in_(ids))
        .group_by(change.c.run_id, kind)
    ):
        people.setdefault(run_id, {})[which] = count
    votes = select(approval.c.run_id, func.count()).where(
        approval.c.run_id.in_(ids), approval.c.decision == "approve"
    )
    approved = {run_id: count for run_id, count in tx.execute(votes.group_by(approval.c.run_id))}  # noqa: C416  # rows are no pairs to mypy
    return [
        Summary(
            run_id=row.run_id,
            state=row.state,
            made_at=row.made_at,
            ended_at=row.ended_at,
            reason=row.reason,
            needed=row.approvals,
            approved=approved.get(row.run_id, 0),
            stop=people.get(row.run_id, {}).get("stop", 0),
            permit=people.get(row.run_id, {}).get("permit", 0),
            contested=people.get(row.run_id, {}).get("contested", 0),
        )
        for row in rows
    ]


def _totals(tx: Connection, run_id: int) -> tuple[Total, ...]:
    product = case((change.c.target.startswith("crm:"), "CRM"), else_="Campaigns")
    direction = case((change.c.state == "contested", "contested"), else_=change.c.direction)
    # Of permissive changes each names its own entry, so that only what stops is told apart by its reason.
    corrected = change.c.reason.startswith(COUNTS_AGAIN)
    permits = change.c.direction == "permit"
    reason = case((permits & corrected, COUNTS_AGAIN), (permits, AGAIN), else_=change.c.reason)
    rows = tx.execute(
        select(
            direction.label("direction"),
            change.c.kind,
            reason.label("reason"),
            product.label("product"),
            func.count(change.c.address_index.distinct()).label("people"),
            func.count().label("writes"),
        )
        .where(change.c.run_id == run_id)
        .group_by(direction, change.c.kind, reason, product)
        .order_by(direction.desc(), func.count().desc(), change.c.kind, product)
    )
    return tuple(Total(**row) for row in rows.mappings())


def _voices(tx: Connection, run_id: int) -> tuple[Voice, ...]:
    rows = tx.execute(select(approval).where(approval.c.run_id == run_id).order_by(approval.c.decided_at))
    return tuple(
        Voice(account=row.account, decision=row.decision, reason=row.reason, via=row.via, at=row.decided_at)
        for row in rows
    )


def _lines(tx: Connection, run_id: int, start: int, limit: int, vault: Vault | None) -> tuple[Line, ...]:
    rows = tx.execute(
        select(change)
        .where(change.c.run_id == run_id)
        .order_by(
            change.c.direction,
            change.c.state != "contested",
            change.c.due_at.is_(None),
            change.c.due_at,
            change.c.address_index,
            change.c.target,
        )
        .offset(start)
        .limit(limit)
    ).all()
    names = {} if vault is None else addresses_of(tx, [row.address_index for row in rows], vault)
    return tuple(
        Line(
            person=by_address(row.address_index),
            target=row.target,
            direction=row.direction,
            kind=row.kind,
            field=row.field,
            old=row.old,
            new=row.new,
            reason=row.reason,
            cause=row.cause_idx,
            due_at=row.due_at,
            due_rule=row.due_rule,
            state=row.state,
            error=row.error,
            next_at=row.next_at,
            undone_by=row.undone_by,
            lasting=lasting(row.target, row.direction),
            address=names.get(row.address_index),
        )
        for row in rows
    )
