"""All attestors of one log together, asked at the same time."""

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from datetime import datetime
from types import TracebackType
from typing import Final, Self, TypeVar

import structlog
from sqlalchemy.exc import SQLAlchemyError

from service.anchor.attestation import Attestation
from service.anchor.authorities import AuthorityClient
from service.anchor.http import TIMEOUT_S, Wire
from service.anchor.witnesses import WitnessClient
from service.db import Database
from service.ledger import attestors
from service.ledger.anchors import TimeStamp
from service.ledger.attestors import Kind, Level
from service.ledger.note import Verifies
from service.ledger.proof import Checkpoint
from service.ledger.store import Store

EVERY_S: Final = 10.0
"""As often as a growing log is published."""
LOOK_S: Final = 2.0
"""How long the start of the service waits for a witness to show what it has seen."""
_MOST_AT_ONCE = 16  # attestors asked at the same time

log = structlog.get_logger()
C = TypeVar("C")
T = TypeVar("T")


class Anchors(AbstractContextManager["Anchors"]):
    """Attends to the witnesses and authorities of one log; as a context, from a thread of its own.

    Several processes may: what one of them was given the others find in the database.
    """

    def __init__(
        self,
        db: Database,
        store: Store,
        log_keys: Sequence[Verifies],
        attestation: Attestation,
        *,
        now: Callable[[], datetime],
        timeout_s: float = TIMEOUT_S,
    ) -> None:
        self._db = db
        self._now = now
        self._timeout_s = timeout_s
        self._attestation = attestation
        self._witnesses = [
            WitnessClient(db, store, log_keys, witness=party, monitor=attestation.monitor(party), now=now)
            for party in attestation.witnesses
        ]
        self._authorities = [AuthorityClient(db, authority=one, now=now) for one in attestation.authorities]
        self._level = Level.FINE
        self._enrolled = False
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="anchors", daemon=True)

    def __enter__(self) -> Self:
        if self._witnesses or self._authorities:
            self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join()

    def enroll(self) -> None:
        """Note in the database whom the settings name, so that silence can be told from absence."""
        with self._db.begin() as tx:
            names = [client.witness.name for client in self._witnesses]
            attestors.enroll(tx, Kind.WITNESS, names, self._now())
            names = [client.authority.name for client in self._authorities]
            attestors.enroll(tx, Kind.AUTHORITY, names, self._now())
        self._enrolled = True

    def look(self) -> list[Checkpoint]:
        """Return the checkpoints that witnesses show of this log, and note them; before `Intake.start`."""
        self.enroll()
        with Wire(timeout_s=min(self._timeout_s, LOOK_S)) as wire:
            found = _together(self._witnesses, lambda client: client.look(wire))
        return [one for one in found if one is not None]

    def attend(self) -> int:
        """Ask everybody for what is due, all at the same time; return how many new words were given."""
        if not self._enrolled:
            self.enroll()
        with Wire(timeout_s=self._timeout_s) as wire:
            cosigned = _together(self._witnesses, lambda client: client.attend(wire))
            stamped = _together(self._authorities, lambda client: client.attend(wire))
        self._watch()
        return sum(cosigned) + sum(stamp is not None for stamp in stamped)

    def stamp_at_once(self) -> list[TimeStamp]:
        """Have the newest published checkpoint stamped now, before keys change; return what was given."""
        if not self._enrolled:
            self.enroll()
        with Wire(timeout_s=self._timeout_s) as wire:
            stamped = _together(self._authorities, lambda client: client.attend(wire, at_once=True))
        return [stamp for stamp in stamped if stamp is not None]

    def _run(self) -> None:
        while True:
            try:
                self.attend()
            except SQLAlchemyError as error:
                log.warning("anchors.postponed", kind=type(error).__name__)
            if self._stop.wait(EVERY_S):
                return

    def _watch(self) -> None:
        """Log once when somebody's silence becomes worrying, and once when it ends."""
        with self._db.read() as tx:
            found = attestors.attestors(tx, self._now())
        level = attestors.worst(found)
        if level is not self._level:
            silent = [one.name for one in found if one.level is not Level.FINE]
            (log.error if level is Level.RED else log.warning)(
                "anchors.level", level=level.name, silent=silent
            )
        self._level = level


def _together(clients: Sequence[C], call: Callable[[C], T]) -> list[T]:
    """Return what the call returns for each client, in order, having made all calls at the same time."""
    if not clients:
        return []
    workers = min(len(clients), _MOST_AT_ONCE)
    with ThreadPoolExecutor(max_workers=workers, thread_name_prefix="anchor") as pool:
        return list(pool.map(call, clients))
