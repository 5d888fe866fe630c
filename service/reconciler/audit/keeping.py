"""The rows of `audit`: each sync audit that was made, as it was shown."""

from collections.abc import Sequence
from datetime import datetime

import msgspec
from sqlalchemy import Connection, insert, select

from service.db import audit, run
from service.reconciler.audit.point import Audit, Point, worst

_POINTS = msgspec.json.Decoder(tuple[Point, ...])


def keep(tx: Connection, points: Sequence[Point], *, run_id: int, at: datetime) -> int:
    """Keep one audit; return its id."""
    row = {
        "at": at,
        "run_id": run_id,
        "verdict": worst(point.verdict for point in points).value,
        "points": msgspec.json.encode(points).decode(),
    }
    key = tx.execute(insert(audit).values(row)).inserted_primary_key
    assert key is not None, "an audit has a key of its own"
    return int(key[0])


def points_before(tx: Connection) -> tuple[Point, ...]:
    """Return the points of the newest audit, none before the first."""
    points = tx.scalar(select(audit.c.points).order_by(audit.c.id.desc()).limit(1))
    return _POINTS.decode(points) if points else ()


def last(tx: Connection) -> Audit | None:
    """Return the newest audit with how each point moved since the one before it, or None."""
    rows = tx.execute(
        select(audit.c.id, audit.c.at, audit.c.run_id, audit.c.points, run.c.started_at)
        .outerjoin(run, run.c.id == audit.c.run_id)
        .order_by(audit.c.id.desc())
        .limit(1)
    ).all()
    row = rows[0] if rows else None
    if row is None:
        return None
    return Audit(
        id=row.id,
        at=row.at,
        run_id=row.run_id,
        read_at=row.started_at or row.at,
        points=_POINTS.decode(row.points),
    )
