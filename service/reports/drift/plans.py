"""What legal is told about plans: breakers that tripped, what waits for approval, who undoes what again."""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, func, select

from service.db import approval, breaker, change, plan

PRODUCTS = {"crm": "CRM", "campaigns": "Campaigns"}
LEFT_OUT = (
    "The product was left out of the run: nothing of it was taken as news, the run wrote nothing to it."
)
NOBODY_GO = "Nobody is permitted again there; stops were written all the same."


@dataclass(frozen=True, slots=True, kw_only=True)
class Tripped:
    """One breaker that tripped in the period, as it did last; `effect` says what that stopped."""

    product: str
    name: str
    reason: str
    left_out: bool
    at: datetime

    @property
    def effect(self) -> str:
        """Return what it stopped, in a sentence."""
        return LEFT_OUT if self.left_out else NOBODY_GO


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """One plan that waits for people to approve it."""

    run_id: int
    people: int
    approved: int
    needed: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanNews:
    """The period's plans; `undoers` are who undid stops so often that they are not written again."""

    tripped: tuple[Tripped, ...]
    waiting: tuple[Waiting, ...]
    let_go: int
    undoers: tuple[tuple[str, int], ...]

    @property
    def is_quiet(self) -> bool:
        """Return whether there is nothing to tell."""
        return not (self.tripped or self.waiting or self.let_go or self.undoers)


def plan_news(tx: Connection, since: datetime, now: datetime) -> PlanNews:
    """Return what the mail of the time from `since` to `now` says about plans."""
    return PlanNews(
        tripped=_tripped(tx, since, now),
        waiting=_waiting(tx),
        let_go=_let_go(tx, since, now),
        undoers=_undoers(tx),
    )


def _tripped(tx: Connection, since: datetime, now: datetime) -> tuple[Tripped, ...]:
    rows = tx.execute(
        select(breaker)
        .where(breaker.c.tripped_at > since, breaker.c.tripped_at <= now)
        .order_by(breaker.c.run_id)
    )
    last = {(row.target, row.name): row for row in rows}
    found = [
        Tripped(
            product=PRODUCTS.get(row.target, row.target),
            name=row.name,
            reason=row.reason,
            left_out=row.stops == "all",
            at=row.tripped_at,
        )
        for row in last.values()
    ]
    return tuple(sorted(found, key=lambda one: (not one.left_out, one.product, one.name)))


def _waiting(tx: Connection) -> tuple[Waiting, ...]:
    people = (
        select(func.count(change.c.address_index.distinct()))
        .where(change.c.run_id == plan.c.run_id, change.c.direction == "permit")
        .scalar_subquery()
    )
    voices = (
        select(func.count())
        .where(approval.c.run_id == plan.c.run_id, approval.c.decision == "approve")
        .scalar_subquery()
    )
    rows = tx.execute(
        select(plan.c.run_id, people.label("people"), voices.label("approved"), plan.c.approvals)
        .where(plan.c.state == "open")
        .order_by(plan.c.run_id)
    )
    return tuple(
        Waiting(run_id=row.run_id, people=row.people, approved=row.approved, needed=row.approvals)
        for row in rows
    )


def _let_go(tx: Connection, since: datetime, now: datetime) -> int:
    return (
        tx.scalar(
            select(func.count(change.c.address_index.distinct())).where(
                change.c.direction == "permit",
                change.c.state == "proved",
                change.c.written_at > since,
                change.c.written_at <= now,
            )
        )
        or 0
    )


def _undoers(tx: Connection) -> tuple[tuple[str, int], ...]:
    """Return who undoes stops, by the newest plan, with how many people it concerns; the most first."""
    newest = select(func.max(plan.c.run_id)).scalar_subquery()
    who = func.coalesce(change.c.undone_by, "somebody whom the product does not name")
    people = func.count(change.c.address_index.distinct())
    rows = tx.execute(
        select(who, people)
        .where(change.c.run_id == newest, change.c.state == "contested", change.c.direction == "stop")
        .group_by(who)
        .order_by(people.desc(), who)
    )
    return tuple((str(actor), count) for actor, count in rows)
