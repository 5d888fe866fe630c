"""The rows of `tick`: whose turn a job of one night is, and how it ended.

A turn is taken, then done or failed. Who took it renews a lease while the job runs; a lease that ran
out belongs to a worker that died, and another takes the turn over.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum, auto

from sqlalchemy import ColumnElement, delete, insert, select, update
from sqlalchemy.exc import IntegrityError

from service.db import Database, lease, tick

LEASE = timedelta(minutes=5)
"""How long a worker may be silent before another one takes its turn."""
RENEW_S = 60.0
"""How often a lease is renewed; a few renewals may fail before it runs out."""


class Turn(Enum):
    """What asking for a turn comes to."""

    OURS = auto()
    ENDED = auto()
    """Done tonight, or given up for good."""
    ELSEWHERE = auto()
    """Another worker is at it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Turns:
    """The turns as one worker sees them; `name` tells it from all others."""

    db: Database
    now: Callable[[], datetime]
    name: str

    def take(self, job: str, turn: str) -> Turn:
        """Take a job's turn if it is free or was left behind; the primary key is the lock."""
        with self.db.read() as tx:
            wanted = select(tick.c.state, tick.c.lease_until).where(_of(job, turn))
            found = tx.execute(wanted).one_or_none()
        if found is None:
            return Turn.OURS if self._insert(job, turn) else Turn.ELSEWHERE
        if found.state != "taken":
            return Turn.ENDED
        if found.lease_until > self.now():
            return Turn.ELSEWHERE
        return Turn.OURS if self._take_over(job, turn, found.lease_until) else Turn.ELSEWHERE

    def hold(self, job: str, turn: str) -> bool:
        """Return whether a turn that never ends is ours, now and for another lease."""
        return self.renew(job, turn) or self.take(job, turn) is Turn.OURS

    def end(self, job: str, turn: str, *, failed: str | None = None) -> None:
        """Say that our turn is done, or why it `failed` for good."""
        state = "done" if failed is None else "failed"
        with self.db.begin() as tx:
            tx.execute(
                update(tick)
                .where(self._mine(job, turn))
                .values(state=state, ended_at=self.now(), reason=failed)
            )

    def give_back(self, job: str, turn: str) -> None:
        """Let anybody take our turn again."""
        with self.db.begin() as tx:
            tx.execute(delete(tick).where(self._mine(job, turn)))

    def renew(self, job: str, turn: str) -> bool:
        """Keep our turn for another lease; return False if it is not ours."""
        renewed = update(tick).where(self._mine(job, turn)).values(lease_until=self.now() + LEASE)
        with self.db.begin() as tx:
            return tx.execute(renewed).rowcount > 0

    def kept(self, job: str, turn: str, *, every_s: float = RENEW_S) -> AbstractContextManager[None]:
        """Renew our lease from another thread for as long as the context lasts."""
        return lease.kept(lambda: self.renew(job, turn), every_s=every_s, event="nightly.lease", job=job)

    def _insert(self, job: str, turn: str) -> bool:
        row = {"job": job, "turn": turn, "state": "taken", **self._taken()}
        try:
            with self.db.begin() as tx:
                tx.execute(insert(tick).values(**row))
        except IntegrityError:
            return False
        return True

    def _take_over(self, job: str, turn: str, lease_until: datetime) -> bool:
        """Return whether nobody was faster: the lease that ran out is still there."""
        left_behind = _of(job, turn) & (tick.c.state == "taken") & (tick.c.lease_until == lease_until)
        with self.db.begin() as tx:
            return tx.execute(update(tick).where(left_behind).values(**self._taken())).rowcount > 0

    def _taken(self) -> dict[str, object]:
        now = self.now()
        return {"taken_at": now, "taken_by": self.name, "lease_until": now + LEASE}

    def _mine(self, job: str, turn: str) -> ColumnElement[bool]:
        return _of(job, turn) & (tick.c.state == "taken") & (tick.c.taken_by == self.name)


def _of(job: str, turn: str) -> ColumnElement[bool]:
    return (tick.c.job == job) & (tick.c.turn == turn)
