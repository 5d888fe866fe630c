"""The rollback fence: what keeps a restored or failed-over database from signing a second history.

Outside the database and its backups stands one file with the newest checkpoint that this service knows
to be committed. A log that is shorter than it, or leads elsewhere, is not appended to (tlog.md 3.6;
reliability.md, fact 2): the file is compared at start, what was last seen is compared inside every
transaction that appends, and what witnesses say they have seen is compared with both.
"""

import fcntl
import os
import secrets
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import structlog
from sqlalchemy import Connection

from service.errors import Misconfigured, ReadOnly, Tampered
from service.ledger.merkle import Edge, Read
from service.ledger.note import Signs, Verifies, split_note
from service.ledger.proof import Checkpoint, open_checkpoint
from service.ledger.store import Extent, Request, Store
from service.ledger.views import View, compare

log = structlog.get_logger()

_FEW = 4096
"""Entries of other processes that are hashed again, which is less work than to prove that they follow."""

_REMEDY = (
    "nothing is recorded until an operator has restored the newest database or, where it is lost for good, "
    "has begun this log's successor with `consent-ledger log continue --lost`"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sighting:
    """A tree of this log that somebody outside the database knows; `root` None where only a size was told."""

    who: str
    size: int
    root: bytes | None = None


class Fence:
    """The file. Whoever changes it holds a lock on it, and it only ever moves forward."""

    def __init__(self, path: Path, *keys: Verifies) -> None:
        self.path = path
        self._keys = keys

    def read(self) -> Checkpoint | None:
        """Return the checkpoint in the file, None if there is no file; `Misconfigured` if it is damaged."""
        try:
            note = self.path.read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise Misconfigured(
                f"the fence {self.path} cannot be read ({error.strerror}); let the service read it"
            ) from None
        try:
            return open_checkpoint(note, self._keys)
        except Tampered as error:
            raise Misconfigured(
                f"the fence {self.path} is damaged or of another log ({error}); "
                "put back the one that belongs to this log, or set CONSENT_FENCE_FILE"
            ) from None

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep other processes from moving the fence meanwhile."""
        self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        handle = os.open(self.path.with_name(self.path.name + ".lock"), os.O_CREAT | os.O_RDWR, 0o600)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
            yield
        finally:
            os.close(handle)

    def write(self, note: bytes) -> None:
        """Put a signed checkpoint into the file, whole or not at all; the caller holds the lock."""
        temporary = self.path.with_name(f"{self.path.name}.{secrets.token_hex(4)}.new")
        try:
            handle = os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
            with os.fdopen(handle, "wb") as file:
                file.write(note)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(self.path)
        finally:
            temporary.unlink(missing_ok=True)
        folder = os.open(self.path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


class Guard:
    """What this process knows to be committed, and why nothing may be appended any more, if so.

    Trouble stays until the process is started again: a log that jumped back may jump forth, but what
    was signed in between does not.
    """

    def __init__(self) -> None:
        self.trouble: str | None = None
        self.against: Sighting | None = None
        """The largest tree known outside that the log contradicted, if that is the trouble."""
        self.touched = threading.Event()
        self._known: Checkpoint | None = None
        self._hoped: Checkpoint | None = None
        self._edges: dict[Checkpoint, Edge] = {}  # of the head that was locked last and of our append to it

    @property
    def hoped(self) -> Checkpoint | None:
        """Return the head that our last append leads to, committed or not."""
        return self._hoped

    def require(self) -> None:
        """Raise `ReadOnly` if nothing may be appended."""
        if self.trouble is not None:
            raise ReadOnly(self.trouble)

    def judge(self, tx: Connection, store: Store, head: Checkpoint, seen: Iterable[Sighting]) -> None:
        """Compare the log with what others know of it; sets `trouble`, and logs it, if one contradicts."""
        views = [(one, _view(one, head, store.reader(tx))) for one in seen]
        bad = [(one, view) for one, view in views if view is not View.SAME]
        if bad:
            self.against = max((one for one, _ in bad), key=lambda one: (one.size, one.root is not None))
            self.alarm(_told(bad[0][0], head, bad[0][1]))

    def alarm(self, what: str) -> None:
        """Stop appending for good, and say why."""
        if self.trouble is None:
            self.trouble = f"the ledger is read-only: {what}; {_REMEDY}"
            log.error("ledger.read_only", why=what)

    def meet(self, tx: Connection, store: Store, edge: Edge) -> None:
        """Judge the head that an append has just locked; raises `ReadOnly` if we left another behind."""
        self.require()
        head = Checkpoint(store.origin, edge.size, edge.root())
        expected = self._known is None or head in (self._known, self._hoped)
        if self._known is not None and not expected and not self._continued(tx, store, head):
            known = Sighting(who="this process", size=self._known.size, root=self._known.root)
            self.judge(tx, store, head, [known])
            self.require()
        self._known = head
        self._edges = {head: edge.copy()}

    def learn(self, head: Checkpoint) -> None:
        """Take in that the log was committed up to here."""
        if self._known is None or self._known.size < head.size:
            self._known = head

    def appended(self, origin: str, edge: Edge) -> None:
        """Note where an append leads, before it is committed."""
        self._hoped = Checkpoint(origin, edge.size, edge.root())
        self._edges[self._hoped] = edge.copy()
        self.touched.set()

    def _continued(self, tx: Connection, store: Store, head: Checkpoint) -> bool:
        """Tell at little cost whether others appended to the log as we know it; False is no verdict."""
        edge = None if self._known is None else self._edges.get(self._known)
        if edge is None or not edge.size < head.size <= edge.size + _FEW:
            return False
        edge = edge.copy()
        for _, found in sorted(store.leaf_hashes(tx, range(edge.size, head.size)).items()):
            edge.add(found)
        return (edge.size, edge.root()) == (head.size, head.root)


class GuardedStore(Store):
    """A log that is appended to only where it stands as this process last saw it."""

    def __init__(
        self, origin: str, signer: Signs | None = None, *, guard: Guard, generation: int = 0
    ) -> None:
        super().__init__(origin, signer, generation=generation)
        self.guard = guard

    def lock(self, tx: Connection) -> Edge:
        """Lock the head row, judge it, and return the right edge of the tree."""
        edge = super().lock(tx)
        self.guard.meet(tx, self, edge)
        return edge

    def stated(self, tx: Connection) -> Checkpoint:
        """Return what the stored head says, without asking who signed it."""
        return Checkpoint.parse(split_note(self.head(tx))[0])

    def append(
        self, tx: Connection, edge: Edge, entries: Sequence[bytes], requests: Sequence[Request] = ()
    ) -> Extent:
        """Write entries behind the locked `edge`, and expect to find the head there next time."""
        extent = super().append(tx, edge, entries, requests)
        self.guard.appended(self.origin, edge)
        return extent

    @property
    def trouble(self) -> str | None:
        """Return why nothing may be signed any more; None while all is well."""
        return self.guard.trouble

    def committed(self) -> None:
        """Take in that the last append was committed."""
        if self.guard.hoped is not None:
            self.guard.learn(self.guard.hoped)


def _view(seen: Sighting, head: Checkpoint, read: Read) -> View:
    if seen.root is None:
        return View.AHEAD if seen.size > head.size else View.SAME
    return compare(Checkpoint(head.origin, seen.size, seen.root), head, read)


def _told(seen: Sighting, head: Checkpoint, view: View) -> str:
    if view is View.AHEAD:
        return (
            f"the database holds {head.size} entries, but {seen.who} knows {seen.size}; "
            f"{seen.size - head.size} were lost, as after restoring an older backup"
        )
    return (
        f"the first {seen.size} entries of the database are not those that {seen.who} knows; "
        "this is another history of the same log"
    )
