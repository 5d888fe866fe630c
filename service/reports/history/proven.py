"""Everything that the ledger holds about one address, each entry proven again before it is shown.

Reads only. What the database says about an entry is compared with the line that was signed, so that
a row changed by hand raises `Tampered` instead of appearing in an answer.
"""

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from sqlalchemy import Connection, select

from service.consent import Category, Event, Standing, SubjectId, standing
from service.consent.links import Link, links
from service.db import subject as directory
from service.errors import Malformed, Tampered
from service.intake import Intake
from service.intake.claim import corrected_by, kept_of
from service.intake.suppression import kept_out, suppressed
from service.ledger import entry as entries
from service.ledger.anchors import around
from service.ledger.bracket import bracket
from service.ledger.canonical import Json
from service.ledger.entry import DirectoryOpening, Entry, Opening
from service.ledger.merkle import leaf_hash
from service.ledger.proof import Checkpoint, Receipt, open_checkpoint, require_inclusion
from service.reports.history.as_of import AsOf, confirm
from service.reports.history.whole import require_whole


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """One entry about the person, proven against the history's checkpoint.

    `opening` is the decrypted payload with its salt; None where the entry committed to none. `erased` is
    False: who was erased has no history any more. `provenance` and `grade` are None where the entry has none.
    """

    index: int
    category: Category
    purpose: str | None
    occurred_at: datetime
    recorded_at: datetime
    source: str
    provenance: str | None
    grade: str | None
    valid_until: datetime | None
    opening: Opening | None
    erased: bool
    entry: bytes
    leaf_hash: bytes
    proof: tuple[bytes, ...]

    @property
    def evidence(self) -> Mapping[str, Json] | None:
        """Return the decrypted fields of the payload, or None where nothing can be read."""
        return None if self.opening is None else self.opening.fields

    def learnt_after(self, moment: datetime | None) -> bool:
        """Return whether this happened by a moment at which the ledger did not know it yet."""
        return moment is not None and self.occurred_at <= moment < self.recorded_at

    @property
    def mark(self) -> str:
        """Return what kind of line this is: event, opened, enforcement, access, or about (the record)."""
        return _MARKS.get(self.category, "event")


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """The answer about one address at `asked_at`; `subject` is None where the ledger knows nobody.

    `now` and `then` hold one standing per purpose of the policy, by our own clock; `then` is None without
    `as_of`, and `confirmed` says how much of it anybody else's clock confirms.
    `links` say by index what each event superseded, ended or corrected when it was recorded.
    `records` are oldest first. `verified` is True: a history that cannot be verified is not given.
    """

    address: str
    subject: SubjectId | None
    asked_at: datetime
    as_of: datetime | None
    now: tuple[Standing, ...]
    then: tuple[Standing, ...] | None
    records: tuple[Record, ...]
    checkpoint: bytes
    origin: str
    size: int
    log_key: str
    verified: bool
    confirmed: AsOf | None = None
    links: Mapping[int, Link] = field(default_factory=dict)


_MARKS = {
    Category.SUBJECT_OPENED: "opened",
    Category.ENFORCEMENT: "enforcement",
    Category.ACCESS: "access",
    Category.ERASURE: "about",
    Category.CORRECTION: "about",
}


def history(
    intake: Intake, tx: Connection, address: str, *, at: datetime, as_of: datetime | None = None
) -> History:
    """Return every event of a parsed address as of the transaction, with standings at `at` and `as_of`.

    Checks again each inclusion proof against the signed checkpoint, each entry's signature, each
    opening against its commitment, each row against its entry, and that no entry was left out. Raises
    `Tampered` if one is wrong, `Malformed` for an `as_of` that lies in the future.
    """
    if as_of is not None and as_of > at:
        raise Malformed("this moment has not come yet; ask as of a moment that has passed", field="as_of")
    checkpoint = intake.store.head(tx)
    head = open_checkpoint(checkpoint, intake.keys.log_verifiers)
    person = intake.vault.find(tx, address)
    events = [] if person is None else intake.events(tx, person)
    told = [one.index for one in events if not _opens(one)]
    require_whole(intake, tx, head, address=address, person=person, indexes=told)
    return History(
        address=address,
        subject=person,
        asked_at=at,
        as_of=as_of,
        now=_standings(intake, tx, address, person, events, at),
        then=None if as_of is None else _standings(intake, tx, address, person, events, as_of),
        records=() if person is None else _records(intake, tx, person, events, head, checkpoint),
        checkpoint=checkpoint,
        origin=head.origin,
        size=head.size,
        log_key=intake.keys.log.vkey,
        verified=True,
        confirmed=None if as_of is None else _confirmed(intake, tx, events, as_of),
        links=links(events),
    )


def _opens(event: Event) -> bool:
    return event.category is Category.SUBJECT_OPENED


def directory_opening(tx: Connection, person: SubjectId) -> tuple[int, DirectoryOpening]:
    """Return the index of a person's `subject.opened` entry, and what shows that it leads to them."""
    row = tx.execute(select(directory.c.opened_idx, directory.c.r).where(directory.c.sub == person)).one()
    return row.opened_idx, DirectoryOpening(r=row.r, subject=person)


def _standings(  # noqa: PLR0917  # as read by `history`
    intake: Intake,
    tx: Connection,
    address: str,
    person: SubjectId | None,
    events: Sequence[Event],
    at: datetime,
) -> tuple[Standing, ...]:
    if person is not None:
        return tuple(intake.standings(tx, person, at, events))
    index = intake.vault.address_index(address)
    token = kept_out(tx, [index]).get(index)
    nothing = (standing((), name, intake.policy.rules(name), at) for name in intake.policy.purposes)
    return tuple(suppressed(found, token) for found in nothing)


def _confirmed(intake: Intake, tx: Connection, events: Sequence[Event], as_of: datetime) -> AsOf:
    return confirm(events, intake.policy, bracket(around(tx, as_of), as_of))


def _records(  # noqa: PLR0917  # as read by `history`
    intake: Intake,
    tx: Connection,
    person: SubjectId,
    told: Sequence[Event],
    head: Checkpoint,
    checkpoint: bytes,
) -> tuple[Record, ...]:
    opened, opening = directory_opening(tx, person)
    events = {event.index: event for event in told}
    indexes = sorted({opened, *events})
    stored = intake.store.entries(tx, indexes)
    proofs = intake.store.proofs(tx, indexes, head.size, settled=True)
    openings = intake.vault.openings(tx, indexes)
    found: list[Record] = []
    for index in indexes:
        receipt = Receipt(index, stored[index], tuple(proofs[index]), checkpoint)
        require_inclusion(receipt, head)
        signed = entries.check(receipt.entry, intake.keys.ingest_verifiers)
        if index == opened:
            _require_directory(index, signed, opening)
            found.append(_opened(receipt, signed))
        else:
            event = events[index]
            _require_same(event, signed, person, openings.get(index))
            found.append(_record(receipt, event, openings.get(index)))
    return tuple(sorted(found, key=lambda record: (record.occurred_at, record.index)))


def _require_directory(index: int, signed: Entry, opening: DirectoryOpening) -> None:
    value = base64.b64encode(entries.directory_value(opening.r, opening.subject)).decode()
    if signed.category != Category.SUBJECT_OPENED or signed.extra.get("dv") != value:
        raise Tampered(f"the directory leads to another person than entry {index} says")


def _require_same(event: Event, signed: Entry, person: SubjectId, opening: Opening | None) -> None:
    """Raise `Tampered` unless the database's row about an entry says what the entry says."""
    happened_at = min(signed.occurred_at or signed.at, signed.at)
    row = (event.category.value, event.recorded_at, event.occurred_at, event.source, person)
    if row != (signed.category, signed.at, happened_at, signed.source, signed.subject):
        raise Tampered(f"the row about entry {event.index} does not say what was signed")
    if opening is None:
        if signed.commitment is not None:
            raise Tampered(
                f"the details of entry {event.index} or their key are missing, and no erasure of this person "
                "is recorded; restore them from a backup that verifies"
            )
        return
    if signed.commitment != entries.commit(opening.fields, opening.event_salt):
        raise Tampered(f"the evidence of entry {event.index} is not what the entry committed to")
    sealed = opening.fields
    quality = (event.purpose, event.provenance.value, event.grade, _milliseconds(event.valid_until))
    until = sealed.get("valid_until")
    told = (
        sealed.get("purpose"),
        sealed.get("provenance"),
        sealed.get("grade"),
        _milliseconds(datetime.fromisoformat(until)) if isinstance(until, str) else None,
    )
    corrects = corrected_by(event.category, sealed)
    moved = "carried_index" in sealed and corrects is not None and event.corrects is not None
    came = None if event.brought is None else ",".join(sorted(event.brought))
    kept = came == kept_of(event.category, sealed)
    if quality != told or not kept or (event.corrects != corrects and not moved):
        raise Tampered(f"the row about entry {event.index} does not say what its evidence says")


def _milliseconds(moment: datetime | None) -> str | None:
    return None if moment is None else entries.format_time(moment.astimezone(UTC))


def _opened(receipt: Receipt, signed: Entry) -> Record:
    return Record(
        index=receipt.index,
        category=Category.SUBJECT_OPENED,
        purpose=None,
        occurred_at=signed.occurred_at or signed.at,
        recorded_at=signed.at,
        source=signed.source or "ledger",
        provenance=None,
        grade=None,
        valid_until=None,
        opening=None,
        erased=False,
        entry=receipt.entry,
        leaf_hash=leaf_hash(receipt.entry),
        proof=receipt.proof,
    )


def _record(receipt: Receipt, event: Event, opening: Opening | None) -> Record:
    return Record(
        index=event.index,
        category=event.category,
        purpose=event.purpose,
        occurred_at=event.occurred_at,
        recorded_at=event.recorded_at,
        source=event.source,
        provenance=event.provenance.value,
        grade=event.grade,
        valid_until=event.valid_until,
        opening=opening,
        erased=False,
        entry=receipt.entry,
        leaf_hash=leaf_hash(receipt.entry),
        proof=receipt.proof,
    )
