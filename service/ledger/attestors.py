"""Who attests the log from outside, how it went with each lately, and whose silence is worrying.

Only this module touches the table `attestor`. Nothing here commits. Consent capture never stops for a
witness that is away: it is waited for, then reported, and that is all (tlog.md 3.11).
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import IntEnum, StrEnum
from typing import Final

from sqlalchemy import ColumnElement, Connection, delete, func, insert, select, update

from service.db import attestor, checkpoint
from service.ledger.fence import Sighting
from service.ledger.store import LOG_ID

LATE: Final = timedelta(minutes=10)
RED: Final = timedelta(hours=24)
"""How long a checkpoint may wait for a witness, and a day's stamp for its authority (tlog.md 3.11)."""
DAILY: Final = timedelta(days=1)
"""How often a log that does not grow is attested again."""


class Kind(StrEnum):
    """What an attestor does."""

    WITNESS = "witness"
    AUTHORITY = "authority"


class Level(IntEnum):
    """How worrying the silence of an attestor is."""

    FINE = 0
    LATE = 1
    RED = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Attestor:
    """One witness or authority: the largest size it attested, when, and since when it is waited for.

    `due_at` is None while nothing is waited for; `trouble` tells why the last attempt failed.
    """

    kind: Kind
    name: str
    size: int
    succeeded_at: datetime | None
    due_at: datetime | None
    trouble: str | None
    level: Level


def enroll(tx: Connection, kind: Kind, names: Iterable[str], at: datetime) -> None:
    """Keep a row for each attestor that the settings name, and none for others; what they said stays."""
    wanted = set(names)
    found = set(tx.scalars(select(attestor.c.name).where(*_of(kind))))
    if gone := found - wanted:
        tx.execute(delete(attestor).where(*_of(kind), attestor.c.name.in_(gone)))
    for name in sorted(wanted - found):
        row = {"log_id": LOG_ID, "kind": kind, "name": name, "enrolled_at": at, "size": 0, "seen_size": 0}
        tx.execute(insert(attestor).values(row))


def attestors(tx: Connection, now: datetime) -> tuple[Attestor, ...]:
    """Return how it stands with each, witnesses first; for /readyz and legal's report."""
    columns = (attestor.c.kind, attestor.c.name, attestor.c.size, attestor.c.succeeded_at, attestor.c.trouble)
    rows = tx.execute(
        select(*columns, attestor.c.enrolled_at)
        .where(attestor.c.log_id == LOG_ID)
        .order_by(attestor.c.kind.desc(), attestor.c.name)
    ).all()
    found = []
    for kind, name, size, succeeded_at, trouble, enrolled_at in rows:
        due = _due(tx, Kind(kind), size, succeeded_at)
        due = None if due is None or due > now else max(due, enrolled_at)
        found.append(
            Attestor(
                kind=Kind(kind),
                name=name,
                size=size,
                succeeded_at=succeeded_at,
                due_at=due,
                trouble=trouble,
                level=_level(due, now),
            )
        )
    return tuple(found)


def worst(found: Iterable[Attestor]) -> Level:
    """Return the level of the worst attestor; fine if there is none."""
    return max((one.level for one in found), default=Level.FINE)


def succeeded(tx: Connection, kind: Kind, name: str, size: int, at: datetime) -> None:
    """Note that an attestor attested a checkpoint of this size."""
    values = {"size": size, "succeeded_at": at, "asked_at": at, "trouble": None}
    tx.execute(update(attestor).where(*_of(kind), attestor.c.name == name).values(values))


def failed(tx: Connection, kind: Kind, name: str, at: datetime, trouble: str) -> None:
    """Note why an attempt failed; the text names no person."""
    values = {"asked_at": at, "trouble": trouble[:500]}
    tx.execute(update(attestor).where(*_of(kind), attestor.c.name == name).values(values))


def saw(tx: Connection, name: str, size: int, root: bytes | None) -> None:
    """Note how large a tree of this log a witness says it knows; the root where our signature is on it."""
    row = (*_of(Kind.WITNESS), attestor.c.name == name)
    tx.execute(update(attestor).where(*row).values(seen_size=size, seen_root=root))


def seen_size(tx: Connection, name: str) -> int:
    """Return the size that a witness last said it knows; 0 before it said any."""
    row = (*_of(Kind.WITNESS), attestor.c.name == name)
    return tx.scalar(select(attestor.c.seen_size).where(*row)) or 0


def last_success(tx: Connection, kind: Kind, name: str) -> datetime | None:
    """Return when an attestor last gave its word, by our clock; None before it did."""
    return tx.scalar(select(attestor.c.succeeded_at).where(*_of(kind), attestor.c.name == name))


def sightings(tx: Connection, *, proven: bool = False) -> list[Sighting]:
    """Return what witnesses say they know; with `proven`, only what bears our own signature."""
    rows = tx.execute(
        select(attestor.c.name, attestor.c.seen_size, attestor.c.seen_root).where(*_of(Kind.WITNESS))
    )
    return [
        Sighting(who=f"the witness {name}", size=size, root=root)
        for name, size, root in rows
        if size and not (proven and root is None)
    ]


def _of(kind: Kind) -> tuple[ColumnElement[bool], ...]:
    return attestor.c.log_id == LOG_ID, attestor.c.kind == kind


def _due(tx: Connection, kind: Kind, size: int, succeeded_at: datetime | None) -> datetime | None:
    """Return since when it is waited for: the first newer checkpoint, or a day after its last word."""
    if succeeded_at is not None and kind is Kind.AUTHORITY:
        return succeeded_at + DAILY
    newer = select(func.min(checkpoint.c.published_at)).where(
        checkpoint.c.log_id == LOG_ID, checkpoint.c.size > size
    )
    found = tx.scalar(newer)
    if found is None and succeeded_at is not None:
        return succeeded_at + DAILY
    return found


def _level(due: datetime | None, now: datetime) -> Level:
    if due is None or now - due <= LATE:
        return Level.FINE
    return Level.LATE if now - due <= RED else Level.RED
