"""The loop of `consent-ledger worker`.

Withdrawals are carried out in one thread as soon as they are committed, hints of the products looked into
in another, nightly jobs run in a third, so that a long reconciliation delays nobody's unsubscribe.
"""

import os
import socket
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta

import structlog
from sqlalchemy.exc import DBAPIError

from service.db import Database
from service.errors import QuotaExhausted, ServiceError, Tampered, Unavailable
from service.jobs.turns import Turn, Turns
from service.jobs.waking import Bell, listening

log = structlog.get_logger(__name__)

POLL_S = 0.5
"""How often withdrawals are looked for where nobody rings: on SQLite, for those of other processes."""
HEED_S = 1.0
"""The same for hints."""
NIGHTLY_POLL_S = 30.0
RETRY_S = 600.0
"""How long a nightly job rests after a failure that time may heal."""
PATIENCE = timedelta(hours=6)
"""How long after its hour a nightly job that finds a system down is tried again; then it failed."""

WATCH = ("watch", "always")
"""The turn of whoever watches the products."""
PROVE = ("prove", "always")
"""The turn of whoever looks for what many at once were stopped by."""

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
    look: Callable[[], int] | None = None
    """Looks at what just changed in the products; every `look_s`, by one worker at a time."""
    look_s: float = 5.0
    prove: Callable[[], float] | None = None
    """Looks for those who were stopped many at once, and returns how long to rest, in seconds; one worker."""
    heed: Callable[[], int] | None = None
    """Looks into the hints that wait, and returns how many; every worker does, each takes its own."""
    heed_s: float = HEED_S
    tasks: Bell = field(default_factory=Bell)
    """Rung by whoever commits withdrawals in this process."""
    hints: Bell = field(default_factory=Bell)
    """The same for hints."""
    opening: Nightly | None = None
    """Like a nightly job, at any hour: what a new organisation needs before its first night."""
    hourly: Mapping[str, Nightly] = field(default_factory=dict)
    """Jobs of every hour, each by one worker; one that fails waits for the next hour."""

    def run(self, stop: threading.Event) -> None:
        """Work until `stop` is set; what has begun is finished first. `Tampered` ends the worker."""
        loops = {
            "nightly": self._nights,
            "watch": self._looks,
            "hints": self._heeds,
            "prove": self._proves,
        }
        threads = [threading.Thread(target=loop, args=(stop,), name=name) for name, loop in loops.items()]
        with listening(self.db, {"task": self.tasks, "hint": self.hints}):
            for thread in threads:
                thread.start()
            try:
                while not stop.is_set():
                    if not self._carry():
                        self.tasks.wait(self.poll_s)
            finally:
                stop.set()
                for thread in threads:
                    thread.join()

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
            self.this_hour()
            self.tonight(rests, stop)
            stop.wait(self.nightly_poll_s)

    def _looks(self, stop: threading.Event) -> None:
        turns = Turns(db=self.db, now=self.now, name=self.name)
        held = False
        while self.look is not None and not stop.is_set():
            pause_s = self.look_s
            try:
                if (held := turns.hold(*WATCH)) and self.look():
                    self.tasks.ring()
            except (ServiceError, DBAPIError) as error:
                log.warning("watch.failed", kind=type(error).__name__)
                pause_s = self._rest_s(error)
            stop.wait(pause_s)
        if held:
            turns.give_back(*WATCH)

    def _heeds(self, stop: threading.Event) -> None:
        while self.heed is not None and not stop.is_set():
            try:
                if self.heed():
                    self.tasks.ring()
                    continue
            except (ServiceError, DBAPIError) as error:
                log.warning("hints.failed", kind=type(error).__name__)
                stop.wait(self._rest_s(error))
            self.hints.wait(self.heed_s)

    def _proves(self, stop: threading.Event) -> None:
        turns = Turns(db=self.db, now=self.now, name=self.name)
        held = False
        while self.prove is not None and not stop.is_set():
            pause_s = self.look_s
            try:
                if held := turns.hold(*PROVE):
                    pause_s = self.prove()
            except (ServiceError, DBAPIError) as error:
                log.warning("prove.failed", kind=type(error).__name__)
                pause_s = self._rest_s(error)
            stop.wait(pause_s)
        if held:
            turns.give_back(*PROVE)

    def _rest_s(self, error: ServiceError | DBAPIError) -> float:
        """Return how long to rest after a failure: until a used-up window opens, where that is it."""
        until = error.until if isinstance(error, QuotaExhausted) else None
        return self.look_s if until is None else max(self.look_s, (until - self.now()).total_seconds())

    def this_hour(self) -> None:
        """Run the jobs of this hour that no worker has begun."""
        now = self.now()
        for job, work in self.hourly.items():
            self._turn(job, work, now.date(), turn=f"{now:%Y-%m-%dT%H}")

    def tonight(self, rests: dict[str, datetime], stop: threading.Event | None = None) -> None:
        """Run the jobs in their order; `rests` keeps until when one that was postponed is left alone.

        A job waits until the ones before it have ended tonight, on whichever node, so that the mail never
        speaks of a night that is still being reconciled.
        """
        now = self.now()
        jobs = {} if self.opening is None else {"opening": self.opening}
        if now.hour >= self.hour:
            jobs |= self.nightly
        for job, work in jobs.items():
            if (stop is not None and stop.is_set()) or now < rests.get(job, now):
                return
            ended = self._turn(job, work, now.date())
            if ended is Turn.OURS:
                rests[job] = self.now() + timedelta(seconds=self.retry_s)
            if ended is not Turn.ENDED:
                return

    def _turn(self, job: str, work: Nightly, night: date, *, turn: str = "") -> Turn:
        """Return ENDED when the job is over for tonight, OURS when we shall try again, else ELSEWHERE.

        `turn` names another turn than this night's.
        """
        hourly, turn = bool(turn), turn or night.isoformat()
        turns = Turns(db=self.db, now=self.now, name=self.name)
        try:
            if (taken := turns.take(job, turn)) is not Turn.OURS:
                return taken
            with turns.kept(job, turn):
                failed = self._outcome(job, work, night)
            if isinstance(failed, Unavailable | DBAPIError) and not hourly and self._patient():
                log.warning("nightly.postponed", job=job, kind=type(failed).__name__)
                turns.give_back(job, turn)
                return Turn.OURS
            turns.end(job, turn, failed=None if failed is None else _reason(failed))
        except DBAPIError as error:
            log.warning("nightly.postponed", job=job, kind=type(error).__name__)
            return Turn.OURS
        return Turn.ENDED

    def _outcome(self, job: str, work: Nightly, night: date) -> ServiceError | DBAPIError | None:
        """Return what the job failed with, or None."""
        try:
            work(night)
        except (ServiceError, DBAPIError) as error:
            # The message names what to do and nobody; a traceback could show what it was working on.
            log.error("nightly.failed", job=job, kind=type(error).__name__, reason=_reason(error))  # noqa: TRY400  # see above
            return error
        log.info("nightly.done", job=job, turn=night.isoformat())
        return None

    def _patient(self) -> bool:
        """Return whether a job may still be postponed; the last half hour of a day is for giving up."""
        now = self.now()
        midnight = now.replace(hour=0, minute=0, second=0, microsecond=0)
        last = min(timedelta(hours=self.hour) + PATIENCE, timedelta(hours=23, minutes=30))
        return now - midnight < last


def _reason(error: ServiceError | DBAPIError) -> str:
    """Return why a job failed; a database's message may show values, so only its kind is told."""
    return str(error) if isinstance(error, ServiceError) else type(error).__name__
