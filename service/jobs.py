"""What the worker does and when: withdrawals at once, nightly jobs once a night on one of many nodes.

Knows no job by itself: it is handed callables. Withdrawals are looked for twice a second in one
thread, nightly jobs run in another, so that a long reconciliation delays nobody's unsubscribe.
"""

import os
import socket
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta

import structlog
from sqlalchemy import Connection, delete, insert, select
from sqlalchemy.exc import DBAPIError, IntegrityError

from service.db import Database, tick
from service.errors import ServiceError, Tampered, Unavailable

log = structlog.get_logger(__name__)

POLL_S = 0.5
NIGHTLY_POLL_S = 30.0
RETRY_S = 600.0
"""How long a nightly job rests after a failure that time may heal."""

Nightly = Callable[[date], None]
"""A job for the night that ends on this date (UTC)."""


def node() -> str:
    """Return a name for this process among all workers."""
    return f"{socket.gethostname()}:{os.getpid()}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Worker:
    """The loop of `consent-ledger worker`.

    `carry_out` carries out due withdrawals and returns how many people it dealt with. `nightly` jobs
    run in their order once `hour` (UTC) has passed. `now` is the clock.
    """

    db: Database
    carry_out: Callable[[], int]
    nightly: Mapping[str, Nightly]
    hour: int
    now: Callable[[], datetime]
    name: str
    poll_s: float = POLL_S
    nightly_poll_s: float = NIGHTLY_POLL_S
    retry_s: float = RETRY_S

    def run(self, stop: threading.Event) -> None:
        """Work until `stop` is set; what has begun is finished first. `Tampered` ends the worker."""
        nights = threading.Thread(target=self._nights, args=(stop,), name="nightly")
        nights.start()
        try:
            while not stop.is_set():
                if not self._carry():
                    stop.wait(self.poll_s)
        finally:
            stop.set()
            nights.join()

    def _carry(self) -> bool:
        """Return whether something was done, so that a queue is worked off without a pause."""
        try:
            return self.carry_out() > 0
        except Tampered:
            raise
        except (ServiceError, DBAPIError) as error:
            log.warning("withdrawals.failed", kind=type(error).__name__)
            return False

    def _nights(self, stop: threading.Event) -> None:
        rests: dict[str, datetime] = {}
        while not stop.is_set():
            self.tonight(rests, stop)
            stop.wait(self.nightly_poll_s)

    def tonight(self, rests: dict[str, datetime], stop: threading.Event | None = None) -> None:
        """Run the jobs whose turn is free; `rests` keeps until when one that failed is left alone."""
        now = self.now()
        if now.hour < self.hour:
            return
        for job, work in self.nightly.items():
            if (stop is not None and stop.is_set()) or now < rests.get(job, now):
                return
            if not self._turn(job, work, now.date()):
                rests[job] = self.now() + timedelta(seconds=self.retry_s)
                return

    def _turn(self, job: str, work: Nightly, night: date) -> bool:
        """Run a job if its turn is free; return False when it failed and may be tried again.

        Later jobs wait for that, so that the mail does not speak of a night that was not reconciled.
        """
        turn = night.isoformat()
        try:
            if not self._take(job, turn):
                return True
            work(night)
        except Unavailable as error:
            log.warning("nightly.postponed", job=job, kind=type(error).__name__)
            self._give_back(job, turn)
            return False
        except ServiceError as error:
            # The message names what to do and nobody; a traceback could show what it was working on.
            log.error("nightly.failed", job=job, kind=type(error).__name__, reason=str(error))  # noqa: TRY400  # see above
        except DBAPIError as error:
            log.warning("nightly.postponed", job=job, kind=type(error).__name__)
            return False
        else:
            log.info("nightly.done", job=job, turn=turn)
        return True

    def _take(self, job: str, turn: str) -> bool:
        with self.db.read() as tx:
            taken = select(tick.c.job).where(tick.c.job == job, tick.c.turn == turn)
            if tx.scalar(taken) is not None:
                return False
        try:
            with self.db.begin() as tx:
                take(tx, job, turn, now=self.now(), name=self.name)
        except IntegrityError:
            return False
        return True

    def _give_back(self, job: str, turn: str) -> None:
        mine = (tick.c.job == job) & (tick.c.turn == turn) & (tick.c.taken_by == self.name)
        with self.db.begin() as tx:
            tx.execute(delete(tick).where(mine))


def take(tx: Connection, job: str, turn: str, *, now: datetime, name: str) -> None:
    """Take a job's turn; raises IntegrityError when another worker has it: the primary key is the lock."""
    tx.execute(insert(tick).values(job=job, turn=turn, taken_at=now, taken_by=name))
