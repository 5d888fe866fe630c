"""Index epochs: when one is due, and how the log comes to state both sorted lists.

An epoch covers the entries that were taken into the lists before it; the entry is appended in the
transaction that checks that the lists still are what it says. Any process may make one at any time:
two at once help each other along, and the slower one's finds that nothing is left to state.
"""

import threading
from contextlib import AbstractContextManager
from datetime import datetime, timedelta
from types import TracebackType
from typing import Final, Self

import structlog
from sqlalchemy.exc import DBAPIError, IntegrityError

from service.consent import Category
from service.errors import Tampered, Unavailable
from service.intake import Intake
from service.ledger import lists
from service.ledger.entry import decode
from service.ledger.index import Commitment, commit_key
from service.ledger.whole import read_whole

EVERY: Final = timedelta(days=1)
EVERY_ENTRIES: Final = 65_536
LONGEST_TAIL: Final = 5_000  # entries after an epoch that a bundle carries, some 2 MB

POLL_S: Final = 60.0
"""How often it is asked whether an epoch is due."""

_ATTEMPTS = 5  # times that another process may get ahead while the lists are read

log = structlog.get_logger(__name__)


class Epochs(AbstractContextManager["Epochs"]):
    """Makes epochs when they are due, from a thread of its own; several processes may."""

    def __init__(self, intake: Intake, *, poll_s: float = POLL_S) -> None:
        self._intake = intake
        self._poll_s = poll_s
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="epochs", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()

    @property
    def healthy(self) -> bool:
        """Return whether the thread is at work; it ends for good when the index contradicts the log."""
        return self._thread.is_alive()

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                if (index := epoch_if_due(self._intake, self._intake.now())) is not None:
                    log.info("epoch.made", index=index)
            except (Unavailable, DBAPIError) as error:
                log.warning("epoch.postponed", kind=type(error).__name__)
            except Tampered as error:  # ends the thread: no epoch may state what is not so
                log.critical("epoch.refused", why=str(error))
                return
            self._stop.wait(self._poll_s)


def epoch(intake: Intake, *, step: int = lists.STEP) -> int:
    """Append an `index.epoch` entry that covers every entry there is now, and return its index.

    Where nothing but the last epoch came since, returns that one. Holds no lock for longer than `step`
    entries take; memory does not grow with the log. Raises `Tampered` if the stored entries do not
    add up to the log's tree, and `Unavailable` if other processes kept getting ahead.
    """
    with intake.db.read() as tx:
        target, last = intake.store.size(tx), lists.state(tx).epoch
    if last is not None and last == target - 1:
        return last
    _begin(intake)
    for _ in range(_ATTEMPTS):
        _take_in(intake, target, step)
        if (index := _state(intake)) is not None:
            return index
    raise Unavailable("other processes are making the index at this moment; ask again in a minute")


def epoch_if_due(intake: Intake, at: datetime, *, entries: int = EVERY_ENTRIES) -> int | None:
    """Append an epoch if the last one is a day old, or `entries` ago; return its index, if it was due."""
    with intake.db.read() as tx:
        size, last = intake.store.size(tx), lists.state(tx).epoch
        line = None if last is None else decode(intake.store.entries(tx, [last])[last])
    if line is not None and last == size - 1:
        return None
    if line is not None:
        covered = Commitment.parse(line.extra).covered
        if at - line.at < EVERY and size - covered < entries:
            return None
    return epoch(intake)


def refresh(intake: Intake, *, longest_tail: int = LONGEST_TAIL) -> None:
    """Make an epoch if there is none, or if more entries came after it than a bundle carries."""
    with intake.db.read() as tx:
        found, size = lists.state(tx), intake.store.size(tx)
    if found.epoch is None or size - found.edge.size > longest_tail:
        epoch(intake)


def _begin(intake: Intake) -> None:
    with intake.db.read() as tx:
        if lists.begun(tx):
            return
    try:
        with intake.db.begin() as tx:
            lists.begin(tx)
    except IntegrityError:
        pass  # another process began a moment ago


def _take_in(intake: Intake, target: int, step: int) -> None:
    taken = -1
    while taken < target:
        with intake.db.begin() as tx:
            taken = lists.take_in(tx, target, step=step)


def _state(intake: Intake) -> int | None:
    """Append the entry that states the lists as they are; None if they moved on while they were read."""
    with intake.db.read() as tx:
        stated = read_whole(tx, intake.store, commit_key(intake.keys.directory))
    with intake.db.begin() as tx:
        if not lists.lock(tx, stated.commitment.covered):
            return None
        if (already := lists.state(tx).epoch) is not None:
            return already
        index = intake.announce(tx, Category.INDEX_EPOCH, stated.commitment.extra())
        lists.keep(tx, stated.commitment.covered, stated.nodes, index)
    return index
