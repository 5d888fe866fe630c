"""The rows behind calls in flight: which node holds how many places until when, and who waits for one."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Connection, delete, insert, select

from service.db import quota_block
from service.zoho.blocks import locked

WAITS_FOR = timedelta(seconds=3)
"""How long a node that found no place counts as waiting; while it waits it asks again and again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Places:
    """A node wants to hold so many of an account's `limit` places, until then at most.

    `busy` of them have calls on them and are kept whatever happens. It takes none of the last `kept` ones,
    but keeps what it has.
    """

    account: str
    node: str
    units: int
    busy: int
    limit: int
    kept: int
    until: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """How many places a node holds now, and how many it may fill while others wait (None: nobody does)."""

    units: int
    fair: int | None


def hold(tx: Connection, wish: Places, now: datetime) -> Held:
    """Let a node hold as many of the places as others leave, in place of what it held.

    While another node waits, nobody holds more than an equal part, but for calls that are in flight.
    """
    locked(tx, wish.account)
    rows = tx.execute(
        select(quota_block.c.account, quota_block.c.node, quota_block.c.units).where(
            quota_block.c.account.in_([wish.account, _waiting(wish)]), quota_block.c.spent_at > now
        )
    ).all()
    held = {row.node: row.units for row in rows if row.account == wish.account}
    others = {row.node for row in rows if row.account != wish.account} - {wish.node}
    fair = max(1, wish.limit // len({*held, *others, wish.node})) if others else None
    units = _granted(wish, held, fair)
    gone = (quota_block.c.node == wish.node) | (quota_block.c.spent_at <= now)
    tx.execute(delete(quota_block).where(quota_block.c.account.in_([wish.account, _waiting(wish)]), gone))
    if units:
        row = _row(wish, wish.account, now) | {"units": units, "spent_at": wish.until}
        tx.execute(insert(quota_block).values(row))
    if wish.units > max(units, wish.busy):
        row = _row(wish, _waiting(wish), now) | {"units": 1, "spent_at": now + WAITS_FOR}
        tx.execute(insert(quota_block).values(row))
    return Held(units=units, fair=fair)


def _granted(wish: Places, held: dict[str, int], fair: int | None) -> int:
    mine = held.get(wish.node, 0)
    left = wish.limit - sum(held.values()) + mine
    most = min(wish.units, left, max(mine, left - wish.kept))
    return max(0, wish.busy, most if fair is None else min(most, fair))


def _waiting(wish: Places) -> str:
    return f"{wish.account} wanted"


def _row(wish: Places, account: str, now: datetime) -> dict[str, object]:
    return {"account": account, "node": wish.node, "who": "", "taken_at": now, "is_open": 1}
