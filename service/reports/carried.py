"""When what people said was carried out in both products: read in the order of people, a few at a time."""

from collections.abc import Iterator
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Select, case, func, select

from service.consent import SubjectId
from service.db import CHUNK, change, task

Ends = dict[tuple[SubjectId, int], datetime | None]
"""By person and entry: when both products had accepted the stop; None while it is under way."""


class Carried:
    """The ends of all withdrawals, asked for in the order of people's random numbers, each once."""

    def __init__(self, tx: Connection) -> None:
        self._tasks, self._changes = _Ordered(tx, _TASKS), _Ordered(tx, _CHANGES)

    def until(self, last: bytes) -> Ends:
        """Return the ends of the people up to `last` who were not asked for before.

        A task says more than a run's change. What neither names had nothing to carry out: both products
        stood as the person said when we heard of it.
        """
        return dict(self._changes.until(last)) | dict(self._tasks.until(last))


class _Ordered:
    """The rows (sub, cause, at) of one statement in the order of `sub`, streamed."""

    def __init__(self, tx: Connection, asked: Select[*tuple[Any, ...]]) -> None:
        self._rows: Iterator[Any] = iter(tx.execute(asked, execution_options={"yield_per": CHUNK}))
        self._next: Any = next(self._rows, None)

    def until(self, last: bytes) -> Iterator[tuple[tuple[SubjectId, int], datetime | None]]:
        while self._next is not None and self._next.sub <= last:
            row = self._next
            yield (SubjectId(row.sub), row.cause), row.at
            self._next = next(self._rows, None)


_TASKS = (
    select(task.c.sub, task.c.cause_idx.label("cause"), func.min(task.c.stopped_at).label("at"))
    .where(task.c.state != "superseded")
    .group_by(task.c.sub, task.c.cause_idx)
    .order_by(task.c.sub)
)
_WRITTEN = func.count(change.c.written_at) == func.count()
_CHANGES = (
    select(
        change.c.sub,
        change.c.cause_idx.label("cause"),
        case((_WRITTEN, func.max(change.c.written_at))).label("at"),
    )
    .where(change.c.sub.is_not(None), change.c.cause_idx.is_not(None), change.c.direction == "stop")
    .where(change.c.state.not_in(["superseded", "refused"]))
    .group_by(change.c.sub, change.c.cause_idx)
    .order_by(change.c.sub)
)
