"""Refuse a history from which something was left out: what the signed entries count is all there.

Reads only. The rows that a history is told from are derived, so a lost one would go unnoticed. Here they
are counted against the sorted lists up to where those end, and against the signed lines after that; the
lists' end and those lines together must add up to the head that the log signed.
"""

from collections.abc import Collection

from sqlalchemy import Connection, select

from service.consent import SubjectId
from service.db import subject as directory
from service.errors import Tampered
from service.intake import Intake
from service.intake.suppression import kept_out
from service.ledger import lists
from service.ledger.completeness import EPOCH_CATEGORY
from service.ledger.entry import decode, directory_key_value
from service.ledger.index import DIRECTORY, SUBJECTS, Commitment, event_leaf, subject_row
from service.ledger.lookup import row_under
from service.ledger.merkle import Edge, leaf_hash
from service.ledger.proof import Checkpoint
from service.reports.history.tail import read_tail


def require_whole(
    intake: Intake,
    tx: Connection,
    head: Checkpoint,
    *,
    address: str,
    person: SubjectId | None,
    indexes: Collection[int],
) -> None:
    """Raise `Tampered` unless `indexes` are all entries about `person` up to the verified `head`.

    And unless the directory knows the address no more often than the database says; None is nobody.
    """
    state = lists.state(tx)
    version = _versions(intake, tx, address, person) + 1
    dk = directory_key_value(intake.keys.directory, address, version)
    tail = read_tail(intake.store, tx, state, head, person=person, dk=dk)
    commitment = None if tail.epoch is None else _commitment(tail.epoch)
    if person is not None:
        listed = row_under(tx, SUBJECTS, person, commitment)
        early = sorted(index for index in indexes if index < state.edge.size)
        if listed != _row(intake, tx, person, early) or tail.own != set(indexes) - set(early):
            raise Tampered(
                "the rows about this person are not all that was signed about them; run the integrity check "
                "and restore the rows from a backup that verifies"
            )
    if tail.opened or row_under(tx, DIRECTORY, dk, commitment) is not None:
        raise Tampered(
            "the log opened this address, and the row of the directory that leads to the person is missing; "
            "restore it from a backup that verifies"
        )


def _commitment(data: bytes) -> Commitment:
    line = decode(data)
    if line.category != EPOCH_CATEGORY:
        raise Tampered("the entry that is named as index epoch is not one")
    return Commitment.parse(line.extra)


def _row(intake: Intake, tx: Connection, person: SubjectId, indexes: Collection[int]) -> bytes | None:
    """Return the row that the list of subjects has if these are the person's entries."""
    edge = Edge()
    stored = intake.store.entries(tx, indexes)
    for index in sorted(indexes):
        edge.add(event_leaf(index, leaf_hash(stored[index])))
    return subject_row(person, edge.size, edge.root()) if edge.size else None


def _versions(intake: Intake, tx: Connection, address: str, person: SubjectId | None) -> int:
    """Return how often the address stands in the directory, as the database tells."""
    if person is not None:
        return tx.execute(select(directory.c.version).where(directory.c.sub == person)).scalar_one()
    index = intake.vault.address_index(address)
    token = kept_out(tx, [index]).get(index)
    return 0 if token is None else token.versions
