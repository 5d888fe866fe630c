"""Upgrade a receipt: prove an entry against the newest checkpoint that somebody outside attested.

Reads only. A receipt given with the answer to a request rests on the log's own signature (`logged`). Later
the same entry can be proven against a checkpoint that a quorum of witnesses cosigned (`witnessed`), and one
that was stamped with the time as well (`anchored`).
"""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from sqlalchemy import Connection

from service.errors import NotFound
from service.ledger import anchors
from service.ledger.anchors import TimeStamp
from service.ledger.note import split_note
from service.ledger.proof import Checkpoint, Receipt
from service.ledger.quorum import LogPolicy
from service.ledger.store import Store
from service.ledger.witness import Cosignature, identity


class Grade(StrEnum):
    """What a receipt rests on."""

    LOGGED = "logged"
    WITNESSED = "witnessed"
    ANCHORED = "anchored"


@dataclass(frozen=True, slots=True, kw_only=True)
class Upgraded:
    """A receipt, its grade, and who attested its checkpoint; stamps are over how the note begins."""

    receipt: Receipt
    grade: Grade
    size: int
    cosignatures: tuple[Cosignature, ...] = ()
    stamps: tuple[TimeStamp, ...] = ()

    @property
    def existed_by(self) -> datetime | None:
        """Return the earliest time that somebody outside gave the checkpoint; None where nobody did."""
        times = [line.at for line in self.cosignatures] + [stamp.at for stamp in self.stamps]
        return min(times, default=None)


def upgrade(tx: Connection, store: Store, index: int, policy: LogPolicy) -> Upgraded:
    """Return the best receipt that can be given for the entry at `index` now.

    Raises `NotFound` if the log has no such entry.
    """
    if not 0 <= index < store.size(tx):
        raise NotFound("the log has no entry of this number")
    return (
        _anchored(tx, store, index, policy)
        or _witnessed(tx, store, index, policy)
        or _logged(tx, store, index)
    )


def _anchored(tx: Connection, store: Store, index: int, policy: LogPolicy) -> Upgraded | None:
    """Return the receipt against the newest stamped checkpoint for which the quorum holds as well."""
    stamps = anchors.time_stamps(tx, above=index)
    lines = anchors.cosigned(tx, {stamp.size for stamp in stamps})
    for stamp in reversed(stamps):
        found = _believed(lines.get(stamp.size, ()), policy)
        if found is not None:
            same = tuple(one for one in stamps if one.note == stamp.note)
            return _prove(tx, store, index, stamp.note, lines=found, stamps=same)
    return None


def _witnessed(tx: Connection, store: Store, index: int, policy: LogPolicy) -> Upgraded | None:
    """Return the receipt against the newest checkpoint that a quorum cosigned."""
    sizes = anchors.cosigned_sizes(tx, above=index)
    lines = anchors.cosigned(tx, sizes)
    for size in sizes:
        found, note = _believed(lines[size], policy), anchors.published_note(tx, size)
        if found and note is not None:
            return _prove(tx, store, index, note, lines=found)
    return None


def _logged(tx: Connection, store: Store, index: int) -> Upgraded:
    return _prove(tx, store, index, store.head(tx))


def _believed(lines: tuple[Cosignature, ...], policy: LogPolicy) -> tuple[Cosignature, ...] | None:
    """Return the lines by witnesses of the policy, None if they are not enough for its quorum."""
    names = {identity(party.key): party.name for party in policy.witnesses}
    found = tuple(line for line in lines if line.key in names)
    return found if policy.satisfied({names[line.key] for line in found}) else None


def _prove(
    tx: Connection,
    store: Store,
    index: int,
    note: bytes,
    *,
    lines: tuple[Cosignature, ...] = (),
    stamps: tuple[TimeStamp, ...] = (),
) -> Upgraded:
    size = Checkpoint.parse(split_note(note)[0]).size
    proof = store.proofs(tx, [index], size)[index]
    whole = note + b"".join(line.line for line in lines)
    grade = Grade.ANCHORED if stamps else Grade.WITNESSED if lines else Grade.LOGGED
    return Upgraded(
        receipt=Receipt(index, store.entries(tx, [index])[index], tuple(proof), whole),
        grade=grade,
        size=size,
        cosignatures=lines,
        stamps=stamps,
    )
