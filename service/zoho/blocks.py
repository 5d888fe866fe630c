"""The rows behind the shared quota: blocks of units taken by one node at a time, lock-outs, foreign use.

Whoever takes a block locks its account's row, so that nodes together never take more than a limit
allows. An open block counts whole, as if used at its last moment; a closed one by what was used of it.
Times are the callers' own clocks, which nodes keep together within seconds.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Connection, delete, func, insert, select, update
from sqlalchemy.dialects.postgresql import insert as insert_postgresql
from sqlalchemy.dialects.sqlite import insert as insert_sqlite

from service.db import quota_account, quota_block
from service.zoho.quota import Limit

SHARE, MASS_SHARE = 32, 4
"""A block is at most this part of what is left, so that little lies idle with one node near the end; calls
that leave a part to withdrawals may take more, since nobody waits for what is theirs."""
KEPT = {"crm": timedelta(days=7)}
"""How long used blocks are kept for reports; those of other accounts for a day, their longest window."""
FOREIGN_FOR = timedelta(hours=1)
"""How long the vendor's own count is believed; while it matters, each of its answers renews it."""


@dataclass(slots=True, kw_only=True)
class Block:
    """Units that this node may use until `open_until`."""

    id: int
    units: int
    open_until: datetime
    used: int = 0
    used_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What a taker wants: `units` at least, `most` at best, leaving the `spare` share of each limit."""

    account: str
    node: str
    who: str
    units: int
    most: int
    spare: float
    limits: Sequence[Limit]
    life: timedelta


@dataclass(frozen=True, slots=True, kw_only=True)
class Use:
    """What was used of one account in the last day, by whom of ours, and by others (vendor's count)."""

    by: dict[str, int]
    foreign: int

    @property
    def total(self) -> int:
        """Return all units that count against the day."""
        return sum(self.by.values()) + self.foreign


def take(tx: Connection, wish: Wish, now: datetime) -> Block | datetime:
    """Return a block of the account, or when there may be room for one."""
    account = locked(tx, wish.account)
    if account.locked_until is not None and account.locked_until > now:
        until: datetime = account.locked_until
        return until
    foreign = _foreign(account, now)
    left = min(_left(tx, wish, limit, now, foreign) for limit in wish.limits)
    if left < wish.units:
        return max(_free_at(tx, wish, limit, now, foreign) for limit in wish.limits)
    units = max(wish.units, min(wish.most, left // (MASS_SHARE if wish.spare else SHARE)))
    made = tx.execute(
        insert(quota_block)
        .values(
            account=wish.account,
            node=wish.node,
            who=wish.who,
            units=units,
            taken_at=now,
            spent_at=now + wish.life,
            is_open=1,
        )
        .returning(quota_block.c.id)
    ).scalar_one()
    tx.execute(_aged(wish.account, now))
    return Block(id=made, units=units, open_until=now + wish.life, used_at=now)


def settle(tx: Connection, block: Block) -> None:
    """Give back what was not used of a block; one of which nothing was used goes."""
    mine = quota_block.c.id == block.id
    if block.used == 0:
        tx.execute(delete(quota_block).where(mine))
    else:
        tx.execute(
            update(quota_block).where(mine).values(units=block.used, spent_at=block.used_at, is_open=0)
        )


def book(tx: Connection, account: str, who: str, units: int, now: datetime) -> None:
    """Book what was used past the budget: of a client that counted for itself."""
    row = {"account": account, "node": "", "who": who, "units": units, "is_open": 0}
    locked(tx, account)
    tx.execute(insert(quota_block).values(row | {"taken_at": now, "spent_at": now}))


def lock(tx: Connection, account: str, until: datetime) -> None:
    """Keep that the vendor has locked an account until then."""
    locked(tx, account)
    tx.execute(update(quota_account).where(quota_account.c.name == account).values(locked_until=until))


def locks(tx: Connection, product: str, now: datetime) -> dict[str, datetime]:
    """Return the accounts of a product that the vendor has locked, and until when."""
    rows = tx.execute(
        select(quota_account.c.name, quota_account.c.locked_until).where(
            quota_account.c.name.startswith(f"{product}:", autoescape=True),
            quota_account.c.locked_until > now,
        )
    )
    return {row.name: row.locked_until for row in rows}


def note_remaining(tx: Connection, account: str, limit: Limit, remaining: int, now: datetime) -> None:
    """Keep what others must have used, given what the vendor says is left.

    Open blocks of other nodes count whole: rather too little is put down to others than that a withdrawal
    is refused what is left; the vendor itself says so when it is not.
    """
    locked(tx, account)
    ours = tx.execute(
        select(func.coalesce(func.sum(quota_block.c.units), 0)).where(_since(account, limit, now))
    ).scalar_one()
    foreign = max(0, limit.calls - remaining - ours)
    mine = quota_account.c.name == account
    tx.execute(update(quota_account).where(mine).values(foreign_units=foreign, foreign_at=now))


def used(tx: Connection, account: str, limit: Limit, now: datetime) -> Use:
    """Return what counts against a limit now, by whom."""
    rows = tx.execute(
        select(quota_block.c.who, func.sum(quota_block.c.units))
        .where(_since(account, limit, now))
        .group_by(quota_block.c.who)
        .order_by(quota_block.c.who)
    )
    found = tx.execute(select(quota_account).where(quota_account.c.name == account)).one_or_none()
    foreign = 0 if found is None else _foreign(found, now)
    return Use(by={who: int(units) for who, units in rows}, foreign=foreign)


def keep_facts(tx: Connection, account: str, facts: str, now: datetime) -> None:
    """Keep what was learnt about an account, as JSON."""
    locked(tx, account)
    mine = quota_account.c.name == account
    tx.execute(update(quota_account).where(mine).values(facts=facts, learned_at=now))


Facts = tuple[str, datetime]
"""What was learnt as JSON, and when."""


def facts(tx: Connection, account: str) -> Facts | None:
    """Return what was learnt about an account, and when."""
    row = tx.execute(
        select(quota_account.c.facts, quota_account.c.learned_at).where(quota_account.c.name == account)
    ).one_or_none()
    return None if row is None or row.facts is None or row.learned_at is None else (row.facts, row.learned_at)


def locked(tx: Connection, name: str) -> Any:  # noqa: ANN401  # a result row
    """Return the account's row, locked until the transaction ends; it is made where there is none."""
    making = insert_sqlite if tx.dialect.name == "sqlite" else insert_postgresql
    wanted = select(quota_account).where(quota_account.c.name == name).with_for_update()
    found = tx.execute(wanted).one_or_none()
    if found is None:
        tx.execute(making(quota_account).values(name=name).on_conflict_do_nothing())
        found = tx.execute(wanted).one()
    return found


def _foreign(account: Any, now: datetime) -> int:  # noqa: ANN401  # a result row
    believed = account.foreign_at is not None and account.foreign_at > now - FOREIGN_FOR
    return int(account.foreign_units) if believed else 0


def _since(account: str, limit: Limit, now: datetime) -> ColumnElement[bool]:
    start = now - timedelta(seconds=limit.seconds)
    return (quota_block.c.account == account) & (quota_block.c.spent_at > start)


def _left(tx: Connection, wish: Wish, limit: Limit, now: datetime, foreign: int) -> int:
    counted = tx.execute(
        select(func.coalesce(func.sum(quota_block.c.units), 0)).where(_since(wish.account, limit, now))
    ).scalar_one()
    return limit.open_to(wish.spare) - int(counted) - foreign


def _free_at(tx: Connection, wish: Wish, limit: Limit, now: datetime, foreign: int) -> datetime:
    """Return when enough of what counts now has left the window; at once where there is room already.

    An open block of somebody else may come back sooner, when it ends.
    """
    rows = tx.execute(
        select(quota_block.c.spent_at, quota_block.c.units, quota_block.c.is_open)
        .where(_since(wish.account, limit, now))
        .order_by(quota_block.c.spent_at)
    ).all()
    left = limit.open_to(wish.spare) - foreign - sum(row.units for row in rows)
    if left >= wish.units:
        return now
    held = [row for row in rows if row.is_open and row.spent_at > now]
    if held and left + sum(row.units - 1 for row in held) >= wish.units:
        soon: datetime = min(row.spent_at for row in held)
        return soon
    for row in rows:
        left += row.units
        if left >= wish.units:
            at: datetime = row.spent_at + timedelta(seconds=limit.seconds)
            return max(now, at)
    return now + FOREIGN_FOR


def _aged(account: str, now: datetime) -> Any:  # noqa: ANN401  # a statement
    kept = KEPT.get(account, timedelta(days=1))
    old = (quota_block.c.account == account) & (quota_block.c.spent_at <= now - kept)
    return delete(quota_block).where(old)
