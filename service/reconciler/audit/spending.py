"""What was spent of the organisation's CRM credits, from the blocks that all nodes booked."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple

import msgspec
from sqlalchemy import Connection, func, select

from service.db import quota_account, quota_block, run
from service.reconciler.audit.budget import DAY, HOURS, Spending
from service.reconciler.runs import BELIEVED

CRM = "crm"
FOREIGN_FOR = timedelta(hours=1)
"""How long the budget believes the vendor's own count; later, nobody knows what others use."""


def spending(tx: Connection, *, now: datetime, reserve: float = 0.0, own: int | None = None) -> Spending:
    """Return the credits of the last 24 hours, by hour and by purpose, and what the allowance is.

    `reserve` is the share of the allowance that is kept for withdrawals; `own` is what the settings allow
    instead of what the edition does. What nobody told yet is 0 or None. Blocks that are still open are not
    used but held; those of a node that died, and closed none, count whole.
    """
    account = tx.execute(
        select(quota_account.c.facts, quota_account.c.foreign_units, quota_account.c.foreign_at).where(
            quota_account.c.name == CRM
        )
    ).one_or_none()
    known: Mapping[str, Any] = msgspec.json.decode(account.facts) if account and account.facts else {}
    allowance = own or int(known.get("allowance") or 0)
    blocks = _blocks(tx, now)
    spent = [block for block in blocks if not block.is_held]
    fresh = account is not None and account.foreign_at is not None and account.foreign_at > now - FOREIGN_FOR
    return Spending(
        allowance=allowance,
        edition=str(known.get("edition") or "edition unknown"),
        by_hour=_by_hour(spent, now),
        by_whom=_by_whom(spent),
        unknown=account.foreign_units if account is not None and fresh else None,
        next_runs=_next_runs(tx),
        reserve=int(allowance * reserve),
        held=sum(block.units for block in blocks if block.is_held),
    )


class _Block(NamedTuple):
    """Credits that one purpose took at one moment."""

    who: str
    at: datetime
    units: int
    is_held: bool


def _blocks(tx: Connection, now: datetime) -> Sequence[_Block]:
    """Return the blocks of the last 24 hours; held is what is open and not at its end."""
    taken = (quota_block.c.who, quota_block.c.spent_at, quota_block.c.is_open)
    rows = tx.execute(
        select(*taken, func.sum(quota_block.c.units))
        .where(quota_block.c.account == CRM, quota_block.c.spent_at > now - DAY)
        .group_by(*taken)
    )
    return [_Block(who, at, int(units), bool(is_open) and at > now) for who, at, is_open, units in rows]


def _by_hour(spent: Sequence[_Block], now: datetime) -> tuple[int, ...]:
    """Return the credits of each of the last 24 hours, the latest first."""
    hours = [0] * HOURS
    for _, at, units, _ in spent:
        ago = max(0, int((now - at).total_seconds() // 3600))
        hours[min(ago, HOURS - 1)] += units
    return tuple(hours)


def _by_whom(spent: Sequence[_Block]) -> Mapping[str, int]:
    found: dict[str, int] = {}
    for who, _, units, _ in spent:
        found[who] = found.get(who, 0) + units
    return dict(sorted(found.items(), key=lambda pair: -pair[1]))


def _next_runs(tx: Connection) -> Mapping[str, int]:
    """Return what the next reconciliation will take: as much as the last one that read everything."""
    summary = tx.scalar(
        select(run.c.summary)
        .where(run.c.state.in_(BELIEVED), run.c.finished_at.is_not(None))
        .order_by(run.c.id.desc())
        .limit(1)
    )
    credits_ = int(msgspec.json.decode(summary).get("credits", 0)) if summary else 0
    return {"nightly run": credits_} if credits_ else {}
