"""Gather what shows that a bundle holds everything about an address, from the log's latest index epoch.

Reads only, in the caller's view of the database, which must hold an epoch that states the lists as
they are (`service.intake.epoch.refresh` makes one).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from sqlalchemy import Connection

from service.consent import SubjectId
from service.errors import Unavailable
from service.intake import Intake
from service.ledger import lists
from service.ledger.completeness import Completeness
from service.ledger.entry import decode, directory_key_value
from service.ledger.index import (
    DIRECTORY,
    SUBJECTS,
    Absent,
    Commitment,
    Shown,
    opening_of,
    read_line,
)
from service.ledger.lookup import show_row


@dataclass(frozen=True, slots=True, kw_only=True)
class Gathered:
    """The evidence, and the entries that it speaks of: the epoch, and each opening of the address."""

    evidence: Completeness
    entries: frozenset[int]
    covered: int

    def until(self, size: int) -> Completeness:
        """Return the evidence for an earlier checkpoint that holds the epoch."""
        return replace(self.evidence, tail=self.evidence.tail[: size - self.covered])


def gather(
    intake: Intake,
    tx: Connection,
    address: str,
    size: int,
    opened: Mapping[int, SubjectId],
    *,
    disclose_key: bool,
) -> Gathered:
    """Return what shows that nothing was left out, for a checkpoint of `size` entries.

    `opened` has the subjects that the bundle discloses, by the index of the entry that opened them.
    `disclose_key` puts the directory key into the evidence, with which its holder can test any address.
    Raises `Unavailable` while the lists are being made.
    """
    found = lists.state(tx)
    if found.epoch is None:
        raise Unavailable("the index of persons is being made at this moment; ask again in a minute")
    commitment = Commitment.parse(decode(intake.store.entries(tx, [found.epoch])[found.epoch]).extra)
    key = intake.keys.directory
    versions, following = _versions(tx, key, address, commitment)
    stored = intake.store.entries(tx, range(commitment.covered, size))
    tail = [stored[index] for index in range(commitment.covered, size)]
    openings = [opening_of(version.row)[2] for version in versions]
    openings += _late(key, address, tail, commitment.covered, len(versions))
    people = [opened[index] for index in openings if index in opened]
    evidence = Completeness(
        epoch=found.epoch,
        edge=found.edge.to_bytes(),
        versions=tuple(versions),
        next_version=following,
        subjects=tuple(show_row(tx, SUBJECTS, person, commitment) for person in people),
        tail=tuple(tail),
        directory_key=key if disclose_key else None,
    )
    indexes = frozenset({found.epoch, *openings})
    return Gathered(evidence=evidence, entries=indexes, covered=commitment.covered)


def _versions(tx: Connection, key: bytes, address: str, commitment: Commitment) -> tuple[list[Shown], Absent]:
    """Return the address's rows in the directory, oldest first, and what shows that there is no other."""
    versions: list[Shown] = []
    while True:
        dk = directory_key_value(key, address, len(versions) + 1)
        row = show_row(tx, DIRECTORY, dk, commitment)
        if isinstance(row, Absent):
            return versions, row
        versions.append(row)


def _late(key: bytes, address: str, tail: Sequence[bytes], first: int, listed: int) -> list[int]:
    """Return the entries after the epoch that opened the address (again)."""
    opened = {row[0]: first + at for at, data in enumerate(tail) if (row := read_line(data)[1]) is not None}
    late: list[int] = []
    while (index := opened.get(directory_key_value(key, address, listed + len(late) + 1))) is not None:
        late.append(index)
    return late
