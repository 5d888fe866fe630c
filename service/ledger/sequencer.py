"""The only writer: a thread that groups what waits into one transaction after another.

A waiter's entries are prepared and signed outside the lock; then one transaction locks the head,
drops what an idempotency key already recorded, appends, advances and signs the head, and writes
whatever belongs beside the entries (`batch`). Receipts are released after COMMIT and never before.
When the outcome of a COMMIT is not known, each waiter is looked up by its key; while that is not
possible the sequencer takes nothing new and says so (tlog.md 3.6).
"""

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from functools import partial
from queue import Empty, SimpleQueue
from typing import Generic, TypeAlias, TypeVar

import structlog
from sqlalchemy.exc import DataError, DBAPIError, IntegrityError

from service.db import Begin
from service.errors import Busy, KeysChanged, ReadOnly, ServiceError, Unavailable
from service.ledger.batch import Appended, Journal, Outcome, Submission, append, replay
from service.ledger.store import Store

LONGEST_QUEUE = 4096  # waiters; beyond that callers are told to come back (tlog.md 3.6)
LARGEST_BATCH = 1024  # waiters in one transaction; an array of 1,000 fits into one
ATTEMPTS = 3  # transactions tried for one waiter before it is told that nothing was recorded
ROOM_S = 0.005  # a batch takes about this long
LONGEST_PAUSE_S = 2.0  # between two attempts to reach a database that is away
AWAY = "the database cannot be reached, and nothing was recorded"
PATIENCE_S = 20.0  # for which a waiter is left in doubt; its own retry is safe at any time

D = TypeVar("D")
R = TypeVar("R")
Tell: TypeAlias = Callable[[R | ServiceError], None]
"""How a waiter hears what became of its draft: once, on the sequencer's thread, which it does not hold up."""
log = structlog.get_logger()


@dataclass(slots=True, eq=False)
class _Waiter(Generic[D, R]):
    draft: D
    tell: Tell[R]
    attempts: int = 0
    told: bool = False

    def hear(self, outcome: R | ServiceError) -> None:
        """Tell what became of the draft, unless our patience ended before the database answered."""
        if not self.told:
            self.told = True
            self.tell(outcome)


_Prepared: TypeAlias = tuple[_Waiter[D, R], Submission]


class Sequencer(Generic[D, R]):
    """Turns drafts into entries, one batch at a time; one per process and log."""

    def __init__(
        self, begin: Begin, store: Store, journal: Journal[D, R], *, patience_s: float = PATIENCE_S
    ) -> None:
        self._patience_s = patience_s
        self._begin = begin
        self._store = store
        self._journal = journal
        self._queue: SimpleQueue[_Waiter[D, R] | None] = SimpleQueue()
        self._in_hand: list[_Waiter[D, R]] = []
        self._door = threading.Lock()  # nobody comes in while it closes
        self._stopping = threading.Event()
        self._ended = False
        self._healthy = threading.Event()
        self._thread = threading.Thread(target=self._run, name="sequencer", daemon=True)

    def start(self) -> None:
        """Start taking drafts."""
        self._healthy.set()
        self._thread.start()

    def stop(self) -> None:
        """Finish what is queued, then stop; drafts that come later are refused."""
        with self._door:
            self._stopping.set()
            self._queue.put(None)
        if self._thread.is_alive():
            self._thread.join()

    @property
    def healthy(self) -> bool:
        """Return whether appends can be expected to work; False while an outcome is unsettled."""
        return self._healthy.is_set() and self._thread.is_alive()

    def wait_for_room(self) -> None:
        """Wait a moment for the queue to get shorter; for callers that can."""
        time.sleep(ROOM_S)

    def submit(self, draft: D) -> "Future[R]":
        """Queue a draft; the future resolves after COMMIT, or with a `ServiceError`; raises as `hand_in`."""
        future: Future[R] = Future()
        future.set_running_or_notify_cancel()  # a caller that hangs up does not take its withdrawal back
        self.hand_in(draft, partial(_resolve, future))
        return future

    def hand_in(self, draft: D, tell: "Tell[R]") -> None:
        """Queue a draft; `tell` hears of it after COMMIT, or which `ServiceError` prevented that.

        Raises `Busy` when the queue is full and `Unavailable` while stopped or unsettled: in both
        cases nothing was accepted.
        """
        with self._door:
            if self._stopping.is_set() or not self.healthy:
                raise Unavailable(
                    "the ledger cannot be written at the moment; send the same request again later"
                )
            if self._queue.qsize() >= LONGEST_QUEUE:
                raise Busy(
                    "too many events are waiting to be recorded; send the same request again in a second"
                )
            self._queue.put(_Waiter(draft, tell))

    def _run(self) -> None:
        try:
            while not self._ended:
                self._in_hand = self._next()
                self._work(self._in_hand)
        finally:
            self._abandon()

    def _next(self) -> list[_Waiter[D, R]]:
        """Return what waits, at most a batch; notices when nothing more can come."""
        taken: list[_Waiter[D, R]] = []
        waiter = self._queue.get()
        while waiter is not None:
            taken.append(waiter)
            if len(taken) == LARGEST_BATCH:
                return taken
            try:
                waiter = self._queue.get_nowait()
            except Empty:
                return taken
        self._ended = True
        return taken

    def _work(self, waiters: list[_Waiter[D, R]]) -> None:
        """Record these waiters; those whose preparation went stale or failed are tried again."""
        while waiters:
            waiters = self._record(self._prepare(waiters))

    def _prepare(self, waiters: list[_Waiter[D, R]]) -> list[_Prepared[D, R]]:
        try:
            made = self._journal.prepare([waiter.draft for waiter in waiters])
        except DBAPIError as error:
            log.warning("prepare.failed", waiters=len(waiters), kind=type(error.orig).__name__)
            self._give_up(waiters, AWAY)
            return []
        prepared: list[_Prepared[D, R]] = []
        for waiter, outcome in zip(waiters, made, strict=True):
            if isinstance(outcome, ServiceError):
                waiter.hear(outcome)
            else:
                prepared.append((waiter, outcome))
        return prepared

    def _record(self, prepared: list[_Prepared[D, R]]) -> list[_Waiter[D, R]]:
        """Commit one batch, release its receipts, and return the waiters to be tried again."""
        if not prepared:
            return []
        begun = False
        try:
            with self._begin() as tx:
                begun = True
                outcomes = append(tx, self._store, self._journal, [submission for _, submission in prepared])
        except KeysChanged as error:
            return self._renew(prepared, error)
        except (ServiceError, DataError, IntegrityError) as error:
            return self._separate(prepared, error)
        except DBAPIError as error:
            if begun:
                return self._settle(prepared, error)
            self._give_up([waiter for waiter, _ in prepared], AWAY)
            return []
        self._store.committed()
        return self._release(prepared, outcomes)

    def _release(self, prepared: list[_Prepared[D, R]], outcomes: Sequence[Outcome]) -> list[_Waiter[D, R]]:
        again: list[_Waiter[D, R]] = []
        for (waiter, submission), outcome in zip(prepared, outcomes, strict=True):
            if outcome is None:
                again.append(waiter)
            elif isinstance(outcome, Appended):
                self._give(waiter, outcome, submission)
            else:
                waiter.hear(outcome)
        return again

    def _give(self, waiter: _Waiter[D, R], appended: Appended, submission: Submission) -> None:
        try:
            waiter.hear(self._journal.release(appended, submission.context))
        except ServiceError as error:
            waiter.hear(error)

    def _renew(self, prepared: list[_Prepared[D, R]], changed: KeysChanged) -> list[_Waiter[D, R]]:
        """Read the service's keys again, so that everybody is prepared anew under them."""
        waiters = [waiter for waiter, _ in prepared]
        try:
            self._journal.renew(changed.generation)
        except ServiceError as error:
            log.error("keys.unknown", kind=type(error).__name__)  # noqa: TRY400  # a trace says nothing more
            for waiter in waiters:
                waiter.hear(error)
            return []
        return waiters

    def _separate(
        self, prepared: list[_Prepared[D, R]], error: ServiceError | DBAPIError
    ) -> list[_Waiter[D, R]]:
        """After an error that one submission brought in: nobody else's event is refused for it."""
        if len(prepared) > 1:
            return [waiter for pair in prepared for waiter in self._record([pair])]
        waiter, _ = prepared[0]
        log.error("append.refused", kind=type(error).__name__)
        if isinstance(error, ServiceError):
            waiter.hear(error)
        else:
            self._give_up([waiter], "the database refuses this event, and nothing was recorded")
        return []

    def _settle(self, prepared: list[_Prepared[D, R]], error: DBAPIError) -> list[_Waiter[D, R]]:
        """After an error that may have hidden a COMMIT: find out what was recorded, then try the rest again.

        Nothing new is taken until the database has answered: a waiter whose outcome is not known
        must not be overtaken by its own retry.
        """
        log.warning("append.unsettled", waiters=len(prepared), kind=type(error.orig).__name__)
        self._healthy.clear()
        found = self._look_up(prepared)
        self._healthy.set()
        remaining: list[_Waiter[D, R]] = []
        for waiter, submission in prepared:
            waiter.attempts += 1
            if submission.key in found:
                self._give(waiter, found[submission.key], submission)
            elif waiter.attempts < ATTEMPTS and not waiter.told:
                remaining.append(waiter)
            else:
                self._give_up([waiter], "the database refused the write, and nothing was recorded")
        return remaining

    def _look_up(self, prepared: list[_Prepared[D, R]]) -> dict[bytes, Appended]:
        """Return what was recorded after all, asking until the database answers or we are stopped."""
        requests = {submission.key: submission.request for _, submission in prepared}
        for pause in self._pauses():
            try:
                with self._begin() as tx:
                    self._store.lock(tx)
                    known = self._store.known(tx, list(requests))
                    mine = {key: one for key, one in known.items() if one.request == requests[key]}
                    receipts = replay(tx, self._store, mine.values())
                    self._store.note_replay(tx)
                return {key: receipts[one.index] for key, one in mine.items()}
            except KeysChanged as error:
                self._journal.renew(error.generation)
            except ReadOnly:
                break  # what came back is an older database: each waiter is told when it is tried again
            except DBAPIError:
                if self._stopping.wait(pause):
                    break
        return {}

    def _pauses(self) -> Iterator[float]:
        """Yield ever longer pauses without end; waiters are told of the doubt when our patience ends."""
        began = time.monotonic()
        while True:
            waited = time.monotonic() - began
            if waited > self._patience_s:
                self._give_up(self._in_hand, "the database went away while it recorded")
            yield min(LONGEST_PAUSE_S, 0.05 + waited / 4)

    def _give_up(self, waiters: Sequence[_Waiter[D, R]], why: str) -> None:
        for waiter in waiters:
            waiter.hear(Unavailable(f"{why}; send the same request with the same key again"))

    def _abandon(self) -> None:
        """Answer everybody who still waits when the thread ends, whatever ended it."""
        with self._door:
            self._healthy.clear()
            self._give_up(self._in_hand, "the ledger stopped before it was known whether this is recorded")
            while not self._queue.empty():
                waiter = self._queue.get()
                if waiter is not None:
                    self._give_up([waiter], "the ledger stopped, and nothing was recorded")


def _resolve(future: "Future[R]", outcome: R | ServiceError) -> None:
    if isinstance(outcome, ServiceError):
        future.set_exception(outcome)
    else:
        future.set_result(outcome)
