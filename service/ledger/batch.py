"""One transaction's worth of appends: which submissions are new, which are retries, and what each gets.

Runs inside the transaction that the sequencer opened and will commit; what it returns may be told to
nobody before that. Knows neither threads nor callers.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Protocol, TypeAlias, TypeVar

from sqlalchemy import Connection

from service.errors import KeyReused, ServiceError
from service.ledger import merkle
from service.ledger.store import Extent, Known, Request, Store

D_contra = TypeVar("D_contra", contravariant=True)
R_co = TypeVar("R_co", covariant=True)


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


@dataclass(frozen=True, slots=True)
class Placed:
    """A submission with its place in the log: `first` is the index of its first entry."""

    submission: Submission
    first: int
    hashes: tuple[bytes, ...]

    @property
    def index(self) -> int:
        """Return the index of the entry that the caller asked for."""
        return self.first + len(self.hashes) - 1


@dataclass(frozen=True, slots=True)
class Appended:
    """An entry, its place, and the proof against a signed head; `duplicate` if recorded earlier."""

    index: int
    entry: bytes
    proof: tuple[bytes, ...]
    checkpoint: bytes
    duplicate: bool


Outcome: TypeAlias = Appended | KeyReused | None
"""What became of a submission; None if it must be prepared again."""


class Journal(Protocol[D_contra, R_co]):
    """What the sequencer asks of the room above: make entries, and write what belongs beside them."""

    def prepare(self, drafts: Sequence[D_contra]) -> Sequence[Submission | ServiceError]:
        """Return signed entries for each draft, or why there are none; called outside the lock."""

    def renew(self, generation: int) -> None:
        """Read the service's keys again, because the ledger is at this generation of them."""

    def stale(self, tx: Connection, submissions: Sequence[Submission]) -> frozenset[int]:
        """Return the positions whose preparation no longer holds, now that the head is locked."""

    def attach(self, tx: Connection, placed: Sequence[Placed]) -> None:
        """Write what belongs beside the entries, in the transaction that appends them."""

    def release(self, appended: Appended, context: object) -> R_co:
        """Return what the caller gets, now that it is durable."""


def append(
    tx: Connection, store: Store, journal: Journal[D_contra, R_co], submissions: Sequence[Submission]
) -> list[Outcome]:
    """Append what is new, and return the outcome of each submission in order."""
    edge = store.lock(tx)
    known = store.known(tx, list({submission.key for submission in submissions}))
    fresh = _fresh(submissions, known)
    stale = journal.stale(tx, [submissions[position] for position in fresh])
    fresh = [position for number, position in enumerate(fresh) if number not in stale]
    outcomes = _repeated(tx, store, submissions, known)
    if fresh:
        before = edge.copy()
        new = [submissions[position] for position in fresh]
        extent = store.append(tx, edge, [e for one in new for e in one.entries], list(_requests(new)))
        placed = _place(new, extent)
        journal.attach(tx, placed)
        for position, appended in zip(fresh, _prove(before, extent, placed), strict=True):
            outcomes[position] = appended
    else:
        store.note_replay(tx)
    return outcomes


def replay(tx: Connection, store: Store, known: Iterable[Known]) -> dict[int, Appended]:
    """Return, by index, the receipts that were given when these were recorded, byte for byte."""
    found: dict[int, Appended] = {}
    for size, group in groupby(sorted(set(known), key=_size), key=_size):
        indexes = [one.index for one in group]
        proofs, entries = store.proofs(tx, indexes, size), store.entries(tx, indexes)
        head = store.checkpoint(tx, size)
        found.update((i, Appended(i, entries[i], tuple(proofs[i]), head, duplicate=True)) for i in indexes)
    return found


def _fresh(submissions: Sequence[Submission], known: Mapping[bytes, Known]) -> list[int]:
    """Return the positions of requests never seen; of several under one key, the first."""
    first: dict[bytes, int] = {}
    for position, submission in enumerate(submissions):
        if submission.key not in known:
            first.setdefault(submission.key, position)
    return list(first.values())


def _repeated(
    tx: Connection, store: Store, submissions: Sequence[Submission], known: Mapping[bytes, Known]
) -> list[Outcome]:
    """Return the outcomes of retries, and refuse a key that names another request."""
    wanted = [known[s.key] for s in submissions if s.key in known and known[s.key].request == s.request]
    receipts = replay(tx, store, wanted)
    outcomes: list[Outcome] = []
    for submission in submissions:
        earlier = known.get(submission.key)
        if earlier is None:
            outcomes.append(None)
        elif earlier.request == submission.request:
            outcomes.append(receipts[earlier.index])
        else:
            outcomes.append(KeyReused(earlier.index))
    return outcomes


def _requests(submissions: Sequence[Submission]) -> Iterator[Request]:
    """Yield what binds each submission to its last entry."""
    end = 0
    for submission in submissions:
        end += len(submission.entries)
        yield submission.key, submission.request, end - 1


def _place(submissions: Sequence[Submission], extent: Extent) -> list[Placed]:
    placed: list[Placed] = []
    offset = 0
    for submission in submissions:
        end = offset + len(submission.entries)
        placed.append(Placed(submission, extent.start + offset, tuple(extent.hashes[offset:end])))
        offset = end
    return placed


def _prove(before: merkle.Edge, extent: Extent, placed: Sequence[Placed]) -> list[Appended]:
    proofs = merkle.appended_proofs(before, extent.hashes, [place.index for place in placed])
    return [
        Appended(p.index, p.submission.entries[-1], proofs[p.index], extent.head, duplicate=False)
        for p in placed
    ]


def _size(known: Known) -> int:
    return known.size
