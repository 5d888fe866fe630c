"""Publish checkpoints: what the log shows to the world, and can never take back.

A published checkpoint carries two lines under the log's name, Ed25519 and ML-DSA-44. One is published
when the log has grown, at most every ten seconds, and once a day when it has not. Before anything is
signed, every entry since the last one is read and hashed again from there, so that only what continues
the published log can be signed; the database refuses all else once more (migration 0002).
"""

import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime, timedelta
from types import TracebackType
from typing import Self

import structlog
from sqlalchemy import Connection, insert, select
from sqlalchemy.exc import IntegrityError, SQLAlchemyError

from service.db import Database, checkpoint
from service.errors import Tampered
from service.ledger.cosignature import Cosigner
from service.ledger.note import Signer, Signs, Verifies
from service.ledger.proof import Checkpoint, open_checkpoint, sign_checkpoint
from service.ledger.reread import edge_at, reread
from service.ledger.store import LOG_ID, Store

EVERY = timedelta(seconds=10)
"""How often a growing log is published, at most."""
IDLE = timedelta(days=1)
"""How often a log that does not grow is published again, so that its age can be told from its silence."""

log = structlog.get_logger()


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """A checkpoint as it was published; `number` counts them from 0."""

    number: int
    size: int
    root: bytes
    note: bytes
    published_at: datetime


def latest(tx: Connection) -> Published | None:
    """Return the checkpoint that is served, None before the first."""
    columns = (checkpoint.c.number, checkpoint.c.size, checkpoint.c.root, checkpoint.c.note)
    row = tx.execute(
        select(*columns, checkpoint.c.published_at)
        .where(checkpoint.c.log_id == LOG_ID)
        .order_by(checkpoint.c.number.desc())
        .limit(1)
    ).one_or_none()
    if row is None:
        return None
    number, size, root, note, published_at = row
    return Published(number=number, size=size, root=root, note=note, published_at=published_at)


def was_published(tx: Connection, sizes: range) -> bool:
    """Return whether a checkpoint of one of these sizes was ever published."""
    size = checkpoint.c.size
    asked = select(size).where(checkpoint.c.log_id == LOG_ID, size >= sizes.start, size < sizes.stop).limit(1)
    return tx.scalar(asked) is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class Signing:
    """The keys of one generation: what signs checkpoints, and the public keys that may have signed before."""

    head: Signs
    cosigner: Cosigner
    verifiers: tuple[Verifies, ...]


class Publisher(AbstractContextManager["Publisher"]):
    """Publishes one log; `log_key` and `cosigner` bear its origin as their names.

    As a context it does so from a thread of its own. Several processes may: each checkpoint is
    published by one of them. Keys change while services run: where `current` is given it is asked each
    time for the keys in use, and answers None while nothing may be published.
    """

    def __init__(
        self,
        db: Database,
        store: Store,
        log_key: Signer,
        cosigner: Cosigner,
        now: Callable[[], datetime],
        *,
        current: Callable[[], Signing | None] | None = None,
    ) -> None:
        assert log_key.name == cosigner.name == store.origin, "a log publishes under its own name"
        self._db = db
        self._store = store
        self._keys = Signing(head=log_key, cosigner=cosigner, verifiers=(log_key.verifier, cosigner.verifier))
        self._current = current
        self._now = now
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="publisher", daemon=True)

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
        """Return whether the thread is at work; it ends for good when the log contradicts itself."""
        return self._thread.is_alive()

    def publish(self) -> Published | None:
        """Publish the log as it stands if it has grown or the last checkpoint is a day old.

        Returns what was published, None if nothing was due or another process was faster. Raises
        `Tampered`, with nothing signed, if the log does not continue what was published.
        """
        if self._store.trouble is not None:
            return None
        if self._current is not None:
            keys = self._current()
            if keys is None:
                return None
            self._keys = keys
        with self._db.read() as tx:
            before = latest(tx)
            head = self._head(tx)
            if before is not None and not self._due(before, head):
                return None
            self._require_continuation(tx, before, head)
        return self._sign(before, head)

    def _run(self) -> None:
        while True:
            try:
                self.publish()
            except SQLAlchemyError as error:
                log.warning("publication.postponed", kind=type(error).__name__)
            except Tampered as error:  # ends the thread: nothing is ever published again by this process
                log.critical("publication.ended", why=str(error))
                return
            if self._stop.wait(EVERY.total_seconds()):
                return

    def _head(self, tx: Connection) -> Checkpoint:
        """Return the log as the sequencer last signed it."""
        return self._own(open_checkpoint(self._store.head(tx), self._keys.verifiers))

    def _own(self, found: Checkpoint) -> Checkpoint:
        if found.origin != self._store.origin:
            raise Tampered(f"a checkpoint of {found.origin} stands in the log {self._store.origin}")
        return found

    def _due(self, before: Published, head: Checkpoint) -> bool:
        grown = (head.size, head.root) != (before.size, before.root)
        return grown or self._now() - before.published_at >= IDLE

    def _require_continuation(self, tx: Connection, before: Published | None, head: Checkpoint) -> None:
        """Raise `Tampered` unless the entries that are stored lead from what was published to the head."""
        size = 0 if before is None else self._require_unchanged(before).size
        edge = edge_at(min(size, head.size), self._store.reader(tx))
        if size > head.size or (before is not None and edge.root() != before.root):
            raise Tampered(
                f"the log of {head.size} entries does not continue the {size} that were published: it was "
                "restored from an older backup, or changed. Nothing is signed any more; restore the log that "
                "was published, or freeze it and begin its successor"
            )
        for _ in reread(tx, self._store, edge, head.size):
            pass
        if edge.root() != head.root:
            raise Tampered(f"the {head.size} entries of the log do not add up to the root that was signed")

    def _require_unchanged(self, before: Published) -> Published:
        """Return a published row if it is what both keys signed; `Tampered` otherwise."""
        found = open_checkpoint(before.note, self._keys.verifiers)
        if self._own(found) != Checkpoint(self._store.origin, before.size, before.root):
            raise Tampered(f"the published checkpoint {before.number} is not the one that was signed")
        return before

    def _sign(self, before: Published | None, head: Checkpoint) -> Published | None:
        """Sign and keep the next checkpoint, unless another process has kept one since we looked."""
        try:
            with self._db.begin() as tx:
                found = latest(tx)
                if found != before:
                    return None
                at = self._now() if before is None else max(self._now(), before.published_at)
                note = self._signed(head, at)
                number = 0 if before is None else before.number + 1
                made = Published(number=number, size=head.size, root=head.root, note=note, published_at=at)
                tx.execute(insert(checkpoint).values(log_id=LOG_ID, **_columns(made)))
                return made
        except IntegrityError:
            return None  # two processes at once: the other one's checkpoint stands

    def _signed(self, head: Checkpoint, at: datetime) -> bytes:
        note = sign_checkpoint(head, self._keys.head)
        return note + self._keys.cosigner.cosign(head, int(at.timestamp()))


def _columns(made: Published) -> dict[str, int | bytes | datetime]:
    return {
        "number": made.number,
        "size": made.size,
        "root": made.root,
        "note": made.note,
        "published_at": made.published_at,
    }
