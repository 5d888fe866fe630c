"""The nightly looks as they are kept: where a round stands, and whether something is damaged.

Only this module touches the table `look`. Nothing here commits.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Final

from sqlalchemy import Connection, insert, select

from service.db import look
from service.ledger.scrub import Damage
from service.ledger.scrub.share import Round, Share

_KEPT: Final = 200  # lines of findings; more of them say nothing new


@dataclass(frozen=True, slots=True, kw_only=True)
class Looked:
    """One night's look: at the entries from `start` up to `stop` of `size`, and what was found.

    `damaged` counts the places, `damage` names the first of them.
    """

    night: date
    start: int
    stop: int
    size: int
    finished_at: datetime
    damaged: int
    damage: tuple[str, ...]


def last(tx: Connection) -> Looked | None:
    """Return the newest look, None before the first; what it found stands until a later one finds nothing."""
    row = tx.execute(select(look).order_by(look.c.night.desc()).limit(1)).one_or_none()
    if row is None:
        return None
    return Looked(
        night=date.fromisoformat(row.night),
        start=row.start,
        stop=row.size if row.stop is None else min(row.stop, row.size),
        size=row.size,
        finished_at=row.finished_at,
        damaged=row.damaged,
        damage=tuple(row.damage.splitlines()),
    )


def where(tx: Connection) -> Round | None:
    """Return where the round over everything stands, None before the first look."""
    columns = (look.c.began, look.c.stop, look.c.high, look.c.damaged)
    row = tx.execute(select(*columns).order_by(look.c.night.desc()).limit(1)).one_or_none()
    if row is None:
        return None
    began = date.fromisoformat(row.began)
    return Round(began=began, stop=row.stop, high=row.high, damaged=row.damaged > 0)


def has(tx: Connection, night: date) -> bool:
    """Return whether the look of this night is kept already."""
    return tx.scalar(select(look.c.night).where(look.c.night == night.isoformat())) is not None


def keep(
    tx: Connection,
    share: Share,
    found: Sequence[Damage],
    *,
    night: date,
    began: date,
    size: int,
    started_at: datetime,
    finished_at: datetime,
) -> None:
    """Keep what one night's look at a share of a log of `size` entries found."""
    row = {
        "night": night.isoformat(),
        "began": began.isoformat(),
        "start": share.start,
        "stop": share.stop,
        "size": size,
        "high": share.high,
        "started_at": started_at,
        "finished_at": finished_at,
        "damaged": len(found),
        "damage": "\n".join(" ".join(str(one).split()) for one in found[:_KEPT]),
    }
    tx.execute(insert(look).values(row))
