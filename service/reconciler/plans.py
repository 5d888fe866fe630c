"""Plans that are kept: stored whole, approved by their digest, released when they may be written, or stale.

What was approved is what is applied: the digest is computed again from the rows each time, and a plan for
one of whose people the ledger, the mirrors or the rules moved is stale, and planned anew by the next run.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from sqlalchemy import Connection, and_, exists, insert, select, update

from service.db import Database, approval, change, plan
from service.errors import Forbidden, Malformed, NotFound, Stale
from service.intake.access import stated
from service.ledger.canonical import Json
from service.policy import PolicySet
from service.reconciler import permissible
from service.reconciler.plan import Change, digest
from service.vault.pseudonym import by_address

APPROVER = "approver"
"""The role that may approve and refuse."""

Decision = Literal["approve", "refuse"]
_WAITS = ("proposed", "planned", "written")


@dataclass(frozen=True, slots=True, kw_only=True)
class Decided:
    """Where a plan stands after a decision: its state, who approved so far, how many are needed."""

    run_id: int
    state: str
    approved_by: tuple[str, ...]
    needed: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Person:
    """Who decides, with the role that their account has now, and where they said so."""

    account: str
    role: str
    via: Literal["page", "api", "terminal"]


def settle(tx: Connection, at: datetime) -> None:
    """End plans of which nothing waits any more."""
    waits = exists().where(change.c.run_id == plan.c.run_id, change.c.state.in_(_WAITS))
    tx.execute(update(plan).where(plan.c.state == "applying", ~waits).values(state="done", ended_at=at))


def decide(
    db: Database,
    run_id: int,
    given: str,
    who: Person,
    decision: Decision,
    *,
    policy: PolicySet,
    now: datetime,
    reason: str = "",
) -> Decided:
    """Record that a person approves or refuses exactly the plan of this digest (hex); return where it stands.

    Raises `Forbidden` for another role, `NotFound` for no such plan, `Malformed` for a second decision of the
    same person, a plan that waits for nobody or a refusal that says no reason, `Stale` where it is not what
    was shown.
    """
    if who.role != APPROVER:
        raise Forbidden(f"the role {who.role} may not decide about plans; ask an account that is {APPROVER}")
    if decision == "refuse":
        reason = stated(reason, what="refuse it", field="reason")
    with db.begin() as tx:
        row = _locked(tx, run_id)
        _require_open(row, given)
        moved = what_moved(tx, row, policy, now)
        if moved is None:
            said = {"account": who.account, "via": who.via, "decision": decision, "reason": reason[:500]}
            return _record(tx, row, said, now)
        end(tx, run_id, "stale", moved, now)
    raise Stale(f"plan {run_id} is out of date: {moved}; the next run plans anew")


def release(tx: Connection, *, policy: PolicySet, now: datetime, held: frozenset[str] = frozenset()) -> None:
    """Make what was approved ready to be written, but nothing in the products `held`; end what is stale."""
    for row in tx.execute(select(plan).where(plan.c.state == "approved").order_by(plan.c.run_id)).all():
        moved = what_moved(tx, row, policy, now)
        if moved is not None:
            end(tx, row.run_id, "stale", moved, now)
        else:
            tx.execute(update(plan).where(plan.c.run_id == row.run_id).values(state="applying"))
    open_here = [~change.c.target.startswith(product, autoescape=True) for product in held]
    begun = select(plan.c.run_id).where(plan.c.state == "applying")
    tx.execute(
        update(change)
        .where(
            change.c.run_id.in_(begun),
            change.c.direction == "permit",
            change.c.state == "proposed",
            *open_here,
        )
        .values(state="planned")
    )


def expire(tx: Connection, *, policy: PolicySet, now: datetime) -> None:
    """End open and approved plans for one of whose people anything moved; the run that calls plans anew."""
    for row in tx.execute(select(plan).where(plan.c.state.in_(["open", "approved"]))).all():
        moved = what_moved(tx, row, policy, now)
        if moved is not None:
            end(tx, row.run_id, "stale", moved, now)


def what_moved(tx: Connection, row: Any, policy: PolicySet, now: datetime) -> str | None:  # noqa: ANN401  # a result row
    """Return what is not as it was when this plan was made, or None."""
    if row.policy != policy.digest:
        return "the rules were changed since"
    stored = tx.execute(select(change).where(change.c.run_id == row.run_id)).all()
    if digest(map(_told, stored), row.policy.hex()) != row.digest:
        return "its rows are not those that were planned"
    asked = {_key(one) for one in stored if one.direction == "permit" and one.state == "proposed"}
    current = {_key(one) for one in permissible.permits(tx, row.run_id, policy=policy, now=now, waiting=True)}
    gone = {key[1] for key in asked - current}
    if not gone:
        return None
    people = ", ".join(sorted(by_address(index) for index in gone)[:3])
    return f"the ledger or a product changed for {len(gone)} of its people ({people})"


def approvers(tx: Connection, run_id: int) -> tuple[str, ...]:
    """Return who approved a plan, by the digest that it has."""
    rows = tx.scalars(
        select(approval.c.account)
        .join(plan, and_(plan.c.run_id == approval.c.run_id, plan.c.digest == approval.c.digest))
        .where(approval.c.run_id == run_id, approval.c.decision == "approve")
        .order_by(approval.c.decided_at, approval.c.account)
    )
    return tuple(rows)


def end(tx: Connection, run_id: int, state: str, reason: str, at: datetime) -> None:
    """End a plan that is not to be written: stale or refused; its permissive changes end with it."""
    tx.execute(update(plan).where(plan.c.run_id == run_id).values(state=state, reason=reason, ended_at=at))
    ended = "refused" if state == "refused" else "superseded"
    tx.execute(
        update(change)
        .where(change.c.run_id == run_id, change.c.direction == "permit", change.c.state == "proposed")
        .values(state=ended, error=reason)
    )


def _require_open(row: Any, given: str) -> None:  # noqa: ANN401  # a result row
    if row.state != "open":
        raise Stale(f"plan {row.run_id} waits for nobody any more ({row.state}); look at the list of plans")
    if given.strip().lower() != row.digest.hex():
        raise Stale(f"plan {row.run_id} has another digest than the one given; look at it again")


def _record(tx: Connection, row: Any, said: Mapping[str, Any], now: datetime) -> Decided:  # noqa: ANN401  # as above
    account, reason = said["account"], said["reason"]
    mine = select(approval.c.decision).where(approval.c.run_id == row.run_id, approval.c.account == account)
    if (before := tx.scalar(mine)) is not None:
        raise Malformed(f"{account} has decided about plan {row.run_id} already ({before})")
    tx.execute(insert(approval).values(run_id=row.run_id, digest=row.digest, decided_at=now, **said))
    approved_by = approvers(tx, row.run_id)
    state = "open"
    if said["decision"] == "refuse":
        state = "refused"
        end(tx, row.run_id, state, f"refused by {account}" + (f": {reason}" if reason else ""), now)
    elif len(approved_by) >= row.approvals:
        state = "approved"
        tx.execute(update(plan).where(plan.c.run_id == row.run_id).values(state=state))
    return Decided(run_id=row.run_id, state=state, approved_by=approved_by, needed=row.approvals)


def _locked(tx: Connection, run_id: int) -> Any:  # noqa: ANN401  # a result row
    row = tx.execute(select(plan).where(plan.c.run_id == run_id).with_for_update()).one_or_none()
    if row is None:
        raise NotFound("there is no plan of this number; look at the list of plans")
    return row


def _told(row: Any) -> dict[str, Json]:  # noqa: ANN401  # a result row
    """Return a stored change as it was hashed."""
    contested = row.state == "contested"
    return Change(
        target=row.target,
        address_index=row.address_index,
        sub=row.sub,
        kind=row.kind,
        field=row.field,
        old=row.old,
        new=row.new,
        reason=row.reason,
        cause_idx=row.cause_idx,
        due_at=row.due_at,
        due_rule=row.due_rule,
        direction=row.direction,
        basis=row.basis,
        contested=contested,
    ).told()


def _key(one: Any) -> tuple[str, bytes, int | None, str]:  # noqa: ANN401  # a stored row, or a change
    return one.target, one.address_index, one.cause_idx, one.basis
