"""A sequencer with a journal of plain notes, for the tests of appending."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, field

from sqlalchemy import Connection, text

from service.db import Database
from service.errors import Refused, ServiceError
from service.ledger import merkle
from service.ledger.batch import Appended, Placed, Submission
from service.ledger.proof import Checkpoint, open_checkpoint
from service.ledger.sequencer import Sequencer
from service.ledger.store import Store
from tests import running

LOG = running.keys().log
VERIFIERS = [LOG.verifier]


@dataclass
class Notes:
    """A journal whose drafts are notes: `key=what is asked`, and whatever else a test needs to happen."""

    refused: str = "refused"
    tripping: str = "tripping"
    stale_once: set[str] = field(default_factory=set)

    def prepare(self, drafts: Sequence[str]) -> Sequence[Submission | ServiceError]:
        return [Refused("no") if self.refused in draft else self._submission(draft) for draft in drafts]

    def stale(self, _tx: Connection, submissions: Sequence[Submission]) -> frozenset[int]:
        found = {n for n, submission in enumerate(submissions) if submission.context in self.stale_once}
        self.stale_once -= {submission.context for submission in submissions}
        return frozenset(found)

    def attach(self, tx: Connection, placed: Sequence[Placed]) -> None:
        if any(self.tripping in place.submission.context for place in placed):
            tx.execute(text("INSERT INTO tick (job, turn, taken_at, taken_by) VALUES (NULL, 't', 0, 'me')"))

    def release(self, appended: Appended, _context: object) -> Appended:
        return appended

    def _submission(self, draft: str) -> Submission:
        key = draft.partition("=")[0].encode()
        entries = tuple(f"{draft} #{n}".encode() for n in range(2 if "opens" in draft else 1))
        return Submission(key=key, request=draft.encode(), entries=entries, context=draft)


@dataclass
class Writer:
    """A sequencer over one database, and what can be seen of it from outside."""

    database: Database
    store: Store
    notes: Notes
    sequencer: Sequencer[str, Appended]
    commits: list[int]

    def submit(self, *drafts: str) -> list[Future[Appended]]:
        return [self.sequencer.submit(draft) for draft in drafts]

    def record(self, *drafts: str) -> list[Appended]:
        return [future.result(60) for future in self.submit(*drafts)]

    @contextmanager
    def held(self) -> Iterator[None]:
        """Hold the head as another process would, so that nothing can be appended meanwhile."""
        with self.database.begin() as tx:
            self.store.lock(tx)
            yield

    def size(self) -> int:
        with self.database.read() as tx:
            return self.store.size(tx)


def make(database: Database, *, watch: Callable[[], None] = lambda: None, **more: float) -> Writer:
    store, notes, commits = Store(running.ORIGIN, LOG), Notes(), []

    @contextmanager
    def begin() -> Iterator[Connection]:
        with database.begin() as tx:
            yield tx
            watch()
        commits.append(1)

    return Writer(database, store, notes, Sequencer(begin, store, notes, **more), commits)


@contextmanager
def running_writer(database: Database, **more) -> Iterator[Writer]:
    writer = make(database, **more)
    with database.begin() as tx:
        if not writer.store.exists(tx):
            writer.store.begin(tx)
    writer.sequencer.start()
    try:
        yield writer
    finally:
        writer.sequencer.stop()


def check(found: Appended, drafted: str) -> Checkpoint:
    """The receipt proves what was asked for."""
    head = open_checkpoint(found.checkpoint, VERIFIERS)
    leaf_hash = merkle.leaf_hash(found.entry)
    assert found.entry.startswith(drafted.encode())
    assert merkle.verify_inclusion(found.index, head.size, leaf_hash, found.proof, head.root)
    return head
