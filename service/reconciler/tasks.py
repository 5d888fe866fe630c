"""The rows of `task`: withdrawals that wait to be carried out, leased to one worker at a time."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, Connection, and_, or_, select, update

from service.consent import SubjectId
from service.db import task

LEASE = timedelta(minutes=2)
"""How long a worker may be silent before another one takes its tasks."""

FIRST_PAUSE_S = 1.0
LONGEST_PAUSE_S = 300.0
"""Pauses double from the first to the longest; jitter takes off up to half."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """One withdrawal to carry to both products."""

    id: int
    sub: SubjectId
    cause_idx: int
    attempts: int


def claim(tx: Connection, *, worker: str, now: datetime, limit: int) -> dict[SubjectId, list[Task]]:
    """Lease the tasks of up to `limit` people, the first deadline first; all tasks of a person together."""
    free = _free(now)
    urgent = tx.scalars(
        select(task.c.sub)
        .where(free)
        .order_by(task.c.due_at, task.c.id)
        .limit(limit)
        .with_for_update(skip_locked=True)
    )
    subs = list(dict.fromkeys(urgent))
    rows = tx.execute(
        select(task.c.id, task.c.sub, task.c.cause_idx, task.c.attempts)
        .where(free, task.c.sub.in_(subs))
        .order_by(task.c.due_at, task.c.id)
        .with_for_update(skip_locked=True)
    ).all()
    ids = [row.id for row in rows]
    tx.execute(update(task).where(task.c.id.in_(ids)).values(claimed_by=worker, claimed_until=now + LEASE))
    found: dict[SubjectId, list[Task]] = {SubjectId(sub): [] for sub in subs}
    for row in rows:
        sub = SubjectId(row.sub)
        found[sub].append(Task(id=row.id, sub=sub, cause_idx=row.cause_idx, attempts=row.attempts))
    return {sub: mine for sub, mine in found.items() if mine}


def finish(tx: Connection, tasks: Iterable[Task], *, stopped_at: datetime, proved_at: datetime) -> None:
    """Say that both products had accepted the stop, and when it was read back."""
    _end(tx, tasks, "done", stopped_at=stopped_at, proved_at=proved_at, last_error=None)


def supersede(tx: Connection, tasks: Iterable[Task], reason: str) -> None:
    """Say that there is nothing to stop any more, and why."""
    _end(tx, tasks, "superseded", last_error=reason)


def postpone(
    tx: Connection, tasks: Sequence[Task], *, error: str, now: datetime, until: datetime | None = None
) -> None:
    """Give the tasks back, to be tried again after a pause, or `until` where the vendor says when."""
    for item in tasks:
        not_before = max(now + pause(item), until or now)
        tx.execute(
            update(task)
            .where(task.c.id == item.id)
            .values(
                attempts=item.attempts + 1,
                not_before=not_before,
                claimed_by=None,
                claimed_until=None,
                last_error=error,
            )
        )


def pause(item: Task) -> timedelta:
    """Return how long to wait after this many attempts; tasks that failed together do not return together."""
    longest = min(FIRST_PAUSE_S * 2.0 ** min(item.attempts, 30), LONGEST_PAUSE_S)
    jitter = (item.id * 2_654_435_761 % 1_000) / 1_000  # Knuth's multiplier scatters neighbours
    return timedelta(seconds=longest * (1 - jitter / 2))


def _free(now: datetime) -> ColumnElement[bool]:
    unleased = or_(task.c.claimed_until.is_(None), task.c.claimed_until <= now)
    return and_(task.c.state == "open", task.c.not_before <= now, unleased)


def _end(tx: Connection, tasks: Iterable[Task], state: str, **values: object) -> None:
    ids = [item.id for item in tasks]
    tx.execute(
        update(task)
        .where(task.c.id.in_(ids), task.c.state == "open")
        .values(state=state, claimed_by=None, claimed_until=None, **values)
    )
