"""What others outside attested about the log, in the database: cosignatures and time stamps.

Only this module touches the tables `cosignature` and `time_stamp`. Nothing here commits, and nothing here
speaks to anybody: `service.anchor` does, and keeps here what it has checked.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, insert, select

from service.db import checkpoint, cosignature, time_stamp
from service.ledger.store import LOG_ID
from service.ledger.witness import Cosignature

_SIZES = 200  # newest attested sizes that are looked through for a quorum


@dataclass(frozen=True, slots=True, kw_only=True)
class TimeStamp:
    """An authority's reply over a published checkpoint's bytes; `chain` holds its certificates as PEM."""

    authority: str
    at: datetime
    size: int
    note: bytes
    reply: bytes
    chain: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Attested:
    """A size that somebody outside attested, and the time that they state."""

    size: int
    at: datetime
    who: str


def keep_cosignatures(tx: Connection, size: int, found: Sequence[Cosignature]) -> None:
    """Keep checked cosignatures of the published checkpoint of this size; known ones are passed over."""
    for one in found:
        row = {"log_id": LOG_ID, "size": size, "witness": one.key, "at": one.at}
        known = select(cosignature.c.size).where(
            *(cosignature.c[name] == value for name, value in row.items())
        )
        if tx.scalar(known) is None:
            tx.execute(insert(cosignature).values(**row, line=one.line))


def keep_time_stamp(tx: Connection, stamp: TimeStamp) -> None:
    """Keep a checked time stamp."""
    row = {name: getattr(stamp, name) for name in TimeStamp.__dataclass_fields__}
    key = {name: row[name] for name in ("authority", "at", "size")}
    known = select(time_stamp.c.size).where(
        time_stamp.c.log_id == LOG_ID, *(time_stamp.c[name] == value for name, value in key.items())
    )
    if tx.scalar(known) is None:
        tx.execute(insert(time_stamp).values(log_id=LOG_ID, **row))


def cosigned_sizes(tx: Connection, *, above: int) -> list[int]:
    """Return the newest cosigned sizes that are larger than `above`, largest first, some hundred at most."""
    return list(
        tx.scalars(
            select(cosignature.c.size)
            .where(cosignature.c.log_id == LOG_ID, cosignature.c.size > above)
            .distinct()
            .order_by(cosignature.c.size.desc())
            .limit(_SIZES)
        )
    )


def cosigned(
    tx: Connection, sizes: Collection[int], *, newest: bool = False
) -> dict[int, tuple[Cosignature, ...]]:
    """Return the cosignatures of these sizes, one of each witness and size.

    That is the first in time, which proves most; with `newest` the last, which shows who is awake.
    """
    at = cosignature.c.at if newest else cosignature.c.at.desc()
    rows = tx.execute(
        select(cosignature.c.size, cosignature.c.witness, cosignature.c.at, cosignature.c.line)
        .where(cosignature.c.log_id == LOG_ID, cosignature.c.size.in_(sizes))
        .order_by(cosignature.c.size, cosignature.c.witness, at)
    )
    found: dict[int, dict[str, Cosignature]] = {}
    for size, key, signed_at, line in rows:
        found.setdefault(size, {})[key] = Cosignature(key=key, at=signed_at, line=line)
    return {size: tuple(of_size.values()) for size, of_size in found.items()}


def dressed(tx: Connection, size: int, note: bytes) -> bytes:
    """Return a published checkpoint of this size with the newest line of each witness under it."""
    lines = cosigned(tx, [size], newest=True).get(size, ())
    return note + b"".join(one.line for one in lines)


def lines_at(tx: Connection, size: int, at: datetime) -> list[bytes]:
    """Return the lines of the witnesses who cosigned this size at this very time."""
    same = cosignature.c.log_id == LOG_ID, cosignature.c.size == size, cosignature.c.at == at
    return list(tx.scalars(select(cosignature.c.line).where(*same).order_by(cosignature.c.witness)))


def time_stamps(tx: Connection, *, above: int = -1) -> list[TimeStamp]:
    """Return the stamps over checkpoints of more than `above` entries, the largest and newest last."""
    columns = [time_stamp.c[name] for name in TimeStamp.__dataclass_fields__]
    rows = tx.execute(
        select(*columns)
        .where(time_stamp.c.log_id == LOG_ID, time_stamp.c.size > above)
        .order_by(time_stamp.c.size, time_stamp.c.at, time_stamp.c.authority)
    )
    return [TimeStamp(**row._mapping) for row in rows]  # noqa: SLF001  # SQLAlchemy's public name for it


def published_note(tx: Connection, size: int) -> bytes | None:
    """Return the checkpoint that was first published for a size, None if none was."""
    return tx.scalar(
        select(checkpoint.c.note)
        .where(checkpoint.c.log_id == LOG_ID, checkpoint.c.size == size)
        .order_by(checkpoint.c.number)
        .limit(1)
    )


def attested(tx: Connection) -> list[Attested]:
    """Return every size with each time that somebody outside gave it, oldest first: what brackets a time."""
    words = select(cosignature.c.size, cosignature.c.at, cosignature.c.witness).where(
        cosignature.c.log_id == LOG_ID
    )
    stamps = select(time_stamp.c.size, time_stamp.c.at, time_stamp.c.authority).where(
        time_stamp.c.log_id == LOG_ID
    )
    rows = [*tx.execute(words), *tx.execute(stamps)]
    found = [Attested(size=size, at=at, who=who) for size, at, who in rows]
    return sorted(found, key=lambda one: (one.at, one.size, one.who))


def around(tx: Connection, moment: datetime) -> list[Attested]:
    """Return the few attestations that bracket a moment, for `bracket`: few rows, however long the log."""
    found: list[Attested] = []
    for table, who in ((cosignature, cosignature.c.witness), (time_stamp, time_stamp.c.authority)):
        of_log = select(table.c.size, table.c.at, who).where(table.c.log_id == LOG_ID)
        before = of_log.where(table.c.at <= moment).order_by(table.c.size.desc(), table.c.at).limit(1)
        found += [Attested(size=size, at=at, who=name) for size, at, name in tx.execute(before)]
    floor = max((one.size for one in found), default=0)
    for table, who in ((cosignature, cosignature.c.witness), (time_stamp, time_stamp.c.authority)):
        of_log = select(table.c.size, table.c.at, who).where(table.c.log_id == LOG_ID, table.c.size >= floor)
        after = of_log.where(table.c.at > moment).order_by(table.c.at, table.c.size).limit(1)
        found += [Attested(size=size, at=at, who=name) for size, at, name in tx.execute(after)]
    return found
