"""The only writer: a thread that groups what waits into one transaction after another.

A waiter's entries are prepared and signed outside the lock; then one transaction locks the head,
drops what an idempotency key already recorded, appends, advances and signs the head, and writes
whatever belongs beside the entries. Receipts are released after COMMIT and never before. When the
outcome of a COMMIT is not known, each waiter is looked up by its key; while that is not possible
the sequencer stays stopped and says so (tlog.md 3.6).
"""

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, field
from queue import Empty, SimpleQueue
from typing import Generic, Protocol, TypeVar

import structlog
from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from service.db import Begin
from service.errors import Busy, KeyReused, ServiceError, Unavailable
from service.ledger.store import Known, Store

LONGEST_QUEUE = 4096  # waiters; beyond that callers are told to come back (tlog.md 3.6)
LARGEST_BATCH = 1024  # waiters in one transaction; an array of 1,000 fits into one
ATTEMPTS = 3  # transactions tried for one waiter before it is told that nothing was recorded
ROOM_S = 0.005  # a batch takes about this long
PATIENCE_S = 2.0  # longest pause between two attempts to reach a database that is away

D = TypeVar("D")
D_contra = TypeVar("D_contra", contravariant=True)
log = structlog.get_logger()


@dataclass(frozen=True, slots=True, kw_only=True)
class Submission:
    """Signed entries that belong together; the last one is what the caller asked for.

    `key` names the request for ever, `request` is a hash of what was asked under it. `context` is
    the journal's own.
    """

    key: bytes
    request: bytes
    entries: tuple[bytes, ...]
    context: object = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Placed:
    """A submission with its place in the log: `first` is the index of its first entry."""

    submission: Submission
    first: int
    hashes: tuple[bytes, ...]

    @property
    def index(self) -> int:
        """Return the index of the entry that the caller asked for."""
        return self.first + len(self.hashes) - 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Appended:
    """What is released after COMMIT: the entry, its place, and the proof against a signed head."""

    index: int
    entry: bytes
    proof: tuple[bytes, ...]
    checkpoint: bytes
    duplicate: bool


class Journal(Protocol[D_contra]):
    """What the sequencer asks of the room above: make entries, and write what belongs beside them."""

    def prepare(self, drafts: Sequence[D_contra]) -> Sequence[Submission | ServiceError]:
        """Return signed entries for each draft, or why there are none; called outside the lock."""

    def stale(self, tx: Connection, submissions: Sequence[Submission]) -> frozenset[int]:
        """Return the positions whose preparation no longer holds, now that the head is locked."""

    def attach(self, tx: Connection, placed: Sequence[Placed]) -> None:
        """Write what belongs beside the entries, in the transaction that appends them."""


@dataclass(slots=True)
class _Waiter(Generic[D]):
    draft: D
    future: Future[Appended]
    attempts: int = 0


@dataclass(slots=True)
class _Batch(Generic[D]):
    """One transaction's worth: what is new, and what an earlier request already recorded."""

    fresh: list[tuple[_Waiter[D], Submission]] = field(default_factory=list)
    replays: list[tuple[_Waiter[D], Known]] = field(default_factory=list)
    results: list[tuple[_Waiter[D], Appended]] = field(default_factory=list)
    again: list[_Waiter[D]] = field(default_factory=list)
    start: int = 0
    hashes: list[bytes] = field(default_factory=list)


class Sequencer(Generic[D]):
    """Turns drafts into entries, one batch at a time; one per process and log."""

    def __init__(self, begin: Begin, store: Store, journal: Journal[D]) -> None:
        self._begin = begin
        self._store = store
        self._journal = journal
        self._queue: SimpleQueue[_Waiter[D] | None] = SimpleQueue()
        self._in_hand: list[_Waiter[D]] = []
        self._stopping = threading.Event()
        self._healthy = threading.Event()
        self._thread = threading.Thread(target=self._run, name="sequencer", daemon=True)

    def start(self) -> None:
        """Start taking drafts."""
        self._healthy.set()
        self._thread.start()

    def stop(self) -> None:
        """Finish what is queued, then stop; drafts that come later are refused."""
        self._stopping.set()
        self._queue.put(None)
        if self._thread.is_alive():
            self._thread.join()

    @property
    def healthy(self) -> bool:
        """Return whether appends can be expected to work; False while an outcome is unsettled."""
        return self._healthy.is_set() and self._thread.is_alive()

    @property
    def room(self) -> int:
        """Return how many more drafts the queue takes."""
        return LONGEST_QUEUE - self._queue.qsize()

    def wait_for_room(self) -> None:
        """Wait a moment for the queue to get shorter; for callers that can."""
        time.sleep(ROOM_S)

    def submit(self, draft: D) -> "Future[Appended]":
        """Queue a draft; the future resolves after COMMIT, or with a `ServiceError`.

        Raises `Busy` when the queue is full and `Unavailable` while stopped or unsettled: in both
        cases nothing was accepted.
        """
        if self._stopping.is_set() or not self.healthy:
            raise Unavailable("the ledger cannot be written at the moment; send the same request again later")
        if self.room <= 0:
            raise Busy("too many events are waiting to be recorded; send the same request again in a second")
        future: Future[Appended] = Future()
        future.set_running_or_notify_cancel()  # a caller that hangs up does not take its withdrawal back
        self._queue.put(_Waiter(draft, future))
        return future

    def _run(self) -> None:
        try:
            while batch := self._next():
                self._in_hand = batch
                self._work(batch)
                self._in_hand = []
        finally:
            self._healthy.clear()
            self._abandon()

    def _next(self) -> list[_Waiter[D]]:
        """Return what waits, at least one, at most a batch; empty once stopped and drained."""
        taken: list[_Waiter[D]] = []
        first = self._queue.get()
        while first is None and not self._queue.empty():
            first = self._queue.get()
        if first is not None:
            taken.append(first)
        while first is not None and len(taken) < LARGEST_BATCH:
            try:
                following = self._queue.get_nowait()
            except Empty:
                break
            if following is None:
                self._queue.put(None)
                break
            taken.append(following)
        return taken

    def _work(self, waiters: list[_Waiter[D]]) -> None:
        """Record these waiters; those whose preparation went stale or failed are tried again."""
        while waiters:
            for waiter in waiters:
                waiter.attempts += 1
            prepared = self._prepare(waiters)
            try:
                batch = self._append(prepared)
            except DBAPIError as error:
                waiters = self._settle(prepared, error)
                continue
            except ServiceError as error:
                for waiter, _ in prepared:
                    waiter.future.set_exception(error)
                return
            self._store.learn(batch.start, batch.hashes)
            for waiter, result in batch.results:
                waiter.future.set_result(result)
            waiters = batch.again

    def _prepare(self, waiters: list[_Waiter[D]]) -> list[tuple[_Waiter[D], Submission]]:
        try:
            made = self._journal.prepare([waiter.draft for waiter in waiters])
        except DBAPIError:
            self._fail(waiters, "the database is away")
            return []
        prepared: list[tuple[_Waiter[D], Submission]] = []
        for waiter, outcome in zip(waiters, made, strict=True):
            if isinstance(outcome, ServiceError):
                waiter.future.set_exception(outcome)
            else:
                prepared.append((waiter, outcome))
        return prepared

    def _append(self, prepared: list[tuple[_Waiter[D], Submission]]) -> _Batch[D]:
        batch: _Batch[D] = _Batch()
        if not prepared:
            return batch
        with self._begin() as tx:
            edge = self._store.lock(tx)
            self._sort_out(tx, prepared, batch)
            batch.start = edge.size
            placed: list[Placed] = []
            if batch.fresh:
                entries = [entry for _, submission in batch.fresh for entry in submission.entries]
                batch.hashes = self._store.append(tx, edge, entries)
                placed = list(_place(batch))
                known = [(p.submission.key, _known(p, edge.size)) for p in placed]
                self._store.remember(tx, known)
                self._journal.attach(tx, placed)
            else:
                self._store.note_replay(tx)
            self._answer(tx, batch, placed, edge.size)
        return batch

    def _sort_out(
        self, tx: Connection, prepared: list[tuple[_Waiter[D], Submission]], batch: _Batch[D]
    ) -> None:
        """Tell new requests from replays, and refuse a key that names another request."""
        known = self._store.known(tx, [submission.key for _, submission in prepared])
        first: dict[bytes, Submission] = {}
        fresh: list[tuple[_Waiter[D], Submission]] = []
        for waiter, submission in prepared:
            earlier = known.get(submission.key)
            if earlier is not None and earlier.request == submission.request:
                batch.replays.append((waiter, earlier))
            elif earlier is not None:
                waiter.future.set_exception(KeyReused(earlier.index))
            elif submission.key in first:
                batch.again.append(waiter)
            else:
                first[submission.key] = submission
                fresh.append((waiter, submission))
        stale = self._journal.stale(tx, [submission for _, submission in fresh])
        batch.again.extend(waiter for position, (waiter, _) in enumerate(fresh) if position in stale)
        batch.fresh = [pair for position, pair in enumerate(fresh) if position not in stale]

    def _answer(self, tx: Connection, batch: _Batch[D], placed: list[Placed], size: int) -> None:
        """Prove every entry of the batch against the new head, and each replay against its old one."""
        head = self._store.head(tx)
        proofs = self._store.proofs(tx, [p.index for p in placed], size)
        for (waiter, submission), place in zip(batch.fresh, placed, strict=True):
            batch.results.append((waiter, _appended(place.index, submission.entries[-1], proofs, head)))
        for waiter, known in batch.replays:
            batch.results.append((waiter, self.replay(tx, known)))

    def replay(self, tx: Connection, known: Known) -> Appended:
        """Return the receipt that was given when `known` was recorded, byte for byte."""
        proofs = self._store.proofs(tx, [known.index], known.size)
        entry = self._store.entries(tx, [known.index])[known.index]
        head = self._store.checkpoint(tx, known.size)
        return _appended(known.index, entry, proofs, head, duplicate=True)

    def _settle(self, prepared: list[tuple[_Waiter[D], Submission]], error: DBAPIError) -> list[_Waiter[D]]:
        """After an error anywhere in the transaction: find out what was recorded, then try the rest again.

        Nothing new is taken until the database has answered: a waiter whose outcome is not known
        must not be overtaken by its own retry.
        """
        log.warning("append.unsettled", waiters=len(prepared), kind=type(error.orig).__name__)
        with self._unhealthy():
            found = self._look_up(prepared)
        remaining: list[_Waiter[D]] = []
        for waiter, submission in prepared:
            if waiter.future.done():
                continue
            if submission.key in found:
                waiter.future.set_result(found[submission.key])
            elif waiter.attempts < ATTEMPTS and not self._stopping.is_set():
                remaining.append(waiter)
            else:
                self._fail([waiter], "the database refused the write")
        return remaining

    @contextmanager
    def _unhealthy(self) -> Iterator[None]:
        self._healthy.clear()
        yield
        self._healthy.set()

    def _look_up(self, prepared: list[tuple[_Waiter[D], Submission]]) -> dict[bytes, Appended]:
        """Return what was recorded after all, asking until the database answers or we are stopped."""
        requests = {submission.key: submission.request for _, submission in prepared}
        for pause in _pauses():
            try:
                with self._begin() as tx:
                    self._store.lock(tx)
                    known = self._store.known(tx, list(requests))
                    self._store.note_replay(tx)
                    return {k: self.replay(tx, v) for k, v in known.items() if v.request == requests[k]}
            except DBAPIError:
                if self._stopping.wait(pause):
                    break
        return {}

    def _fail(self, waiters: Sequence[_Waiter[D]], why: str) -> None:
        for waiter in waiters:
            if not waiter.future.done():
                waiter.future.set_exception(
                    Unavailable(f"{why}; it is not known to be recorded: send the same request with the same key again")
                )

    def _abandon(self) -> None:
        """Answer everybody who still waits when the thread ends, whatever ended it."""
        waiting = list(self._in_hand)
        while not self._queue.empty():
            waiter = self._queue.get()
            if waiter is not None:
                waiting.append(waiter)
        self._fail(waiting, "the ledger stopped")


def _place(batch: _Batch[D]) -> Iterator[Placed]:
    offset = 0
    for _, submission in batch.fresh:
        count = len(submission.entries)
        hashes = tuple(batch.hashes[offset : offset + count])
        yield Placed(submission=submission, first=batch.start + offset, hashes=hashes)
        offset += count


def _known(placed: Placed, size: int) -> Known:
    return Known(request=placed.submission.request, index=placed.index, size=size)


def _appended(
    index: int, entry: bytes, proofs: dict[int, list[bytes]], head: bytes, *, duplicate: bool = False
) -> Appended:
    return Appended(index=index, entry=entry, proof=tuple(proofs[index]), checkpoint=head, duplicate=duplicate)


def _pauses(clock: Callable[[], float] = time.monotonic) -> Iterator[float]:
    """Yield ever longer pauses, without end, up to the longest we are willing to leave callers in doubt."""
    began = clock()
    while True:
        yield min(PATIENCE_S, 0.05 + (clock() - began) / 4)
