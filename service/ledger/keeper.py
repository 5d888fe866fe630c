"""Move the rollback fence forward behind the commits of this process, and read it before the first one.

The fence is written within a second after a commit, never before it and never inside the transaction: a
disk that is slow or full costs protection, which is said, and no event.
"""

import threading
from typing import Final

import structlog
from sqlalchemy import Connection
from sqlalchemy.exc import SQLAlchemyError

from service.db import Database
from service.errors import Misconfigured
from service.ledger.attestors import sightings
from service.ledger.fence import Fence, GuardedStore, Sighting
from service.ledger.proof import Checkpoint

EVERY_S: Final = 0.25
"""How often the fence moves while events are recorded; each move is two fsyncs."""
IDLE_S: Final = 5.0
"""How often the log is compared with the fence and with witnesses while this process records nothing."""

_PATIENCE = 40  # times that an append is looked for which may have been rolled back

log = structlog.get_logger()


class Keeper:
    """Keeps the fence of one log; without a file it only compares the log with what witnesses know."""

    def __init__(self, db: Database, store: GuardedStore, fence: Fence | None) -> None:
        self._db = db
        self._store = store
        self._fence = fence
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="fence", daemon=True)

    def check(self, *, begun: bool) -> None:
        """Compare the database with the fence and with what witnesses know; sets the guard's trouble.

        Raises `Misconfigured` where there is a fence and no log (`begun` is False): beginning anew would
        be the fork that the fence is there to prevent.
        """
        known = self._fence.read() if self._fence else None
        if begun:
            with self._db.read() as tx:
                self._compare(tx, known, proven=False)
        elif known is not None and self._fence is not None:
            raise Misconfigured(
                f"the database holds no log, but the fence {self._fence.path} says that {known.origin} has "
                f"{known.size} entries; restore the database, or remove the fence if this log begins anew"
            )

    def start(self) -> None:
        """Write the fence as it should be, and go on doing so."""
        self._move()
        self._thread.start()

    def stop(self) -> None:
        """Write the fence a last time, and stop."""
        if self._thread.is_alive():
            self._stop.set()
            self._store.guard.touched.set()
            self._thread.join()

    def _run(self) -> None:
        touched, waited = self._store.guard.touched, 0
        while not self._stop.is_set():
            if touched.wait(IDLE_S):
                self._stop.wait(EVERY_S)
            touched.clear()
            waited = 0 if self._move() else waited + 1
            if 0 < waited < _PATIENCE:
                touched.set()
        self._move()

    def _move(self) -> bool:
        """Bring the fence to the head; return False if it must be tried again soon."""
        try:
            head = self._advance()
        except SQLAlchemyError as error:
            log.warning("fence.postponed", kind=type(error).__name__)
            return False
        except (OSError, Misconfigured) as error:
            log.warning("fence.not_written", why=str(error))
            return True
        hoped = self._store.guard.hoped
        return hoped is None or hoped.size <= head.size

    def _advance(self) -> Checkpoint:
        if self._fence is None:
            with self._db.read() as tx:
                return self._compare(tx, None, proven=True)
        with self._fence.locked():
            known = self._fence.read()
            with self._db.read() as tx:  # begun after the file was read, so it cannot be older by right
                head = self._compare(tx, known, proven=True)
                note = self._store.head(tx)
            if self._store.guard.trouble is None and (known is None or known.size < head.size):
                self._fence.write(note)
        return head

    def _compare(self, tx: Connection, known: Checkpoint | None, *, proven: bool) -> Checkpoint:
        seen = sightings(tx, proven=proven)
        if known is not None:
            seen.insert(0, Sighting(who="the fence", size=known.size, root=known.root))
        head = self._store.stated(tx)
        self._store.guard.judge(tx, self._store, head, seen)
        if self._store.guard.trouble is None:
            self._store.guard.learn(head)
        return head
