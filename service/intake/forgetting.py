"""Erase a person: the entry that says so, and the destruction, in one transaction.

Afterwards the log and every proof verify as before, and nothing is left that opens what was said
(tlog.md 3.4, grade 1). Each erasure is listed outside the database first, so that a backup that does not
know it is made to: `replay`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Final

import structlog
import uuid_utils
from sqlalchemy import ColumnElement, Connection, insert, select

from service.consent import Category, SubjectId
from service.db import directory_next, erasure, happening, payload, subject, subject_key
from service.errors import KeptOut, Malformed, Misconfigured, UnknownSubject, Unsafe
from service.intake.destruction import destroy
from service.intake.moments import moment
from service.intake.suppression import Token, keep_out, kept_out
from service.ledger.certificate import REASONS, Certificate, Residue, sign_certificate
from service.ledger.entry import Entry, decode, encode
from service.ledger.proof import Receipt, encode_proof
from service.ledger.store import LOG_ID

if TYPE_CHECKING:
    from service.intake import Intake
    from service.intake.erasures import ErasureList, Listed

FROM_FROZEN: Final = (
    "destroyed here; no entry of this frozen log says so, and no certificate is written",
    "erase the person in the successor as well: its entry and its certificate say so",
)
"""What whoever erased a person from a frozen log is told."""

log = structlog.get_logger()


@dataclass(frozen=True, slots=True, kw_only=True)
class Erased:
    """An erasure that is durable: the index of its entry, and the certificate for the person."""

    index: int
    certificate: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class _Person:
    """The row of the directory that is about to go."""

    sub: SubjectId
    address_index: bytes
    version: int
    opened: int


def erase(intake: "Intake", address: str, *, reason: str) -> Erased:
    """Erase the person behind a parsed address, for good, and return what proves it.

    `reason` is one of `certificate.REASONS`. Raises `UnknownSubject` for an address that is not known,
    `KeptOut` for one that was erased already, and `ReadOnly` while nothing may be appended.
    """
    if reason not in REASONS:
        raise Malformed(f"a reason is one of {', '.join(REASONS)}", field="reason")
    erasures = intake.erasures
    if erasures is None:
        raise Misconfigured("erasures need their list beside the rollback fence; start the service with one")
    with intake.db.begin() as tx:
        intake.lock(tx)
        person = _person(tx, subject.c.address_index == intake.vault.address_index(address))
        if person is None:
            raise _unknown(tx, intake.vault.address_index(address))
        erased = _erase(intake, tx, person, reason, erasures, listed=False)
    intake.db.scrub()
    return erased


def erase_from_frozen(intake: "Intake", address: str, *, reason: str) -> None:
    """Destroy what a frozen log's database still holds of a person, and keep the address out.

    A frozen log takes no entry: the one that says so, and its certificate, are its successor's. Listed
    beside the fence under the log's last entry, so that a restored backup destroys it again. Raises
    `UnknownSubject`, `KeptOut` as `erase`, and `Unsafe` for a log that takes entries.
    """
    if intake.erasures is None:
        raise Misconfigured("erasures need their list beside the rollback fence; start the service with one")
    with intake.db.begin() as tx:
        if not intake.store.frozen(tx):
            raise Unsafe("this log takes entries: erase the person, so that an entry says so")
        index = intake.vault.address_index(address)
        person = _person(tx, subject.c.address_index == index)
        if person is None:
            raise _unknown(tx, index)
        at, last = intake.now(), intake.store.size(tx) - 1
        intake.erasures.add(person.sub, person.address_index, entry=last, reason=reason, at=at)
        _keep_out(tx, person, Token(reason=reason, since=at, versions=person.version))
        destroy(tx, person.sub, person.address_index)
    intake.db.scrub()


def certificate_of(tx: Connection, index: int) -> bytes:
    """Return the certificate of an erasure by the index of its entry; `UnknownSubject` if it is none."""
    found = tx.scalar(select(erasure.c.certificate).where(erasure.c.log_id == LOG_ID, erasure.c.idx == index))
    if found is None:
        raise UnknownSubject(f"entry {index} records no erasure")
    return found


def replay(intake: "Intake") -> int:
    """Erase again whom the list knows as erased and this database does not; return how many.

    For after a restore: called before anything is answered. Where nothing may be appended, the data is
    destroyed all the same, and the entry follows when a ledger takes entries again.
    """
    listed = None if intake.erasures is None else intake.erasures.read()
    if listed is None or not (listed.persons or listed.addresses):
        return 0
    with intake.db.read() as tx:
        zombies = _zombies(tx, listed)
        forgotten = listed.addresses.keys() - kept_out(tx, list(listed.addresses)).keys()
    for sub in zombies:
        _again(intake, SubjectId(sub), *listed.persons[sub])
    if forgotten:
        with intake.db.begin() as tx:
            _restore_tokens(tx, listed, forgotten)
            intake.store.note(tx, erasures=1)  # so that every process asks for tokens
    if zombies or forgotten:
        log.warning("erasures.replayed", persons=len(zombies), addresses=len(forgotten))
        intake.db.scrub()
    return len(zombies)


def _zombies(tx: Connection, listed: "Listed") -> list[bytes]:
    """Return the listed persons of whom this database still holds something that could be opened."""
    alive: set[bytes] = set()
    for column in (subject.c.sub, subject_key.c.sub, payload.c.sub):
        alive.update(tx.scalars(select(column).where(column.in_(list(listed.persons))).distinct()))
    return sorted(alive)


def _again(intake: "Intake", sub: SubjectId, reason: str, at: datetime) -> None:
    with intake.db.begin() as tx:
        writable = intake.trouble is None and not intake.store.frozen(tx)
        if writable:
            intake.lock(tx)
        person = _person(tx, subject.c.sub == sub)
        if person is None:
            destroy(tx, sub, None)
        elif writable and intake.erasures is not None:
            _erase(intake, tx, person, reason, intake.erasures, listed=True)
        else:
            _keep_out(tx, person, Token(reason=reason, since=at, versions=person.version))
            destroy(tx, sub, person.address_index)


def _restore_tokens(tx: Connection, listed: "Listed", indexes: set[bytes]) -> None:
    """Keep out again whom an older backup does not know to be kept out."""
    known = kept_out(tx, list(indexes))
    for index in indexes - known.keys():
        reason, since = listed.addresses[index]
        versions = tx.scalar(select(subject.c.version).where(subject.c.address_index == index)) or 0
        keep_out(tx, index, Token(reason=reason, since=since, versions=versions))


def _person(tx: Connection, which: ColumnElement[bool]) -> _Person | None:
    row = tx.execute(
        select(subject.c.sub, subject.c.address_index, subject.c.version, subject.c.opened_idx).where(which)
    ).one_or_none()
    if row is None:
        return None
    return _Person(
        sub=SubjectId(row.sub),
        address_index=row.address_index,
        version=row.version,
        opened=row.opened_idx,
    )


def _unknown(tx: Connection, index: bytes) -> UnknownSubject | KeptOut:
    token = kept_out(tx, [index]).get(index)
    if token is None:
        return UnknownSubject("no person of this address is known, so there is nothing to erase")
    return KeptOut(
        "this address was erased before and nothing is known about it since; the certificate was given "
        "then, and can be had again by the number of its entry"
    )


def _erase(
    intake: "Intake",
    tx: Connection,
    person: _Person,
    reason: str,
    erasures: "ErasureList",
    *,
    listed: bool,
) -> Erased:
    """Append the entry, list it outside, destroy, and keep the address out; the head is locked."""
    at = moment(tx, intake.store, intake.now())
    entry = Entry(
        category=Category.ERASURE,
        at=at,
        id=str(uuid_utils.uuid7()),
        subject=person.sub,
        extra={"why": reason},
    )
    data = encode(entry, intake.keys.ingest)
    edge = intake.store.lock(tx)
    extent = intake.store.append(tx, edge, [data])
    index = extent.start
    proof = tuple(intake.store.proofs(tx, [index], extent.size)[index])
    receipt = encode_proof(Receipt(index, data, proof, extent.head))
    sealed = len(tx.scalars(select(payload.c.idx).where(payload.c.sub == person.sub)).all())
    certificate = sign_certificate(
        Certificate(
            origin=intake.store.origin,
            controller=intake.policy.controller.id,
            erased_at=_cut(at),
            reason=reason,
            index=index,
            subject=person.sub,
            sealed=sealed,
            backup_days=erasures.backup_days,
            remains=(
                *_remains(intake, tx, person),
                Residue(index=index, at=_cut(at), category=Category.ERASURE.value),
            ),
            receipt=receipt,
        ),
        intake.keys.log,
    )
    if not listed:
        erasures.add(person.sub, person.address_index, entry=index, reason=reason, at=at)
    _keep_out(tx, person, Token(reason=reason, since=at, versions=person.version))
    destroy(tx, person.sub, person.address_index)
    tx.execute(
        insert(erasure).values(
            log_id=LOG_ID, idx=index, sub=person.sub, reason=reason, erased_at=at, certificate=certificate
        )
    )
    intake.store.note(tx, erasures=1)
    return Erased(index=index, certificate=certificate)


def _remains(intake: "Intake", tx: Connection, person: _Person) -> Sequence[Residue]:
    """Return the entries about the person that stay in the log, in its order."""
    rows = tx.execute(
        select(happening.c.idx, happening.c.recorded_at, happening.c.category).where(
            happening.c.log_id == LOG_ID, happening.c.sub == person.sub, happening.c.idx != person.opened
        )
    )
    opened = decode(intake.store.entries(tx, [person.opened])[person.opened])
    first = Residue(index=person.opened, at=opened.at, category=opened.category)
    rest = [Residue(index=index, at=at, category=category) for index, at, category in rows]
    return sorted([first, *rest], key=lambda residue: residue.index)


def _keep_out(tx: Connection, person: _Person, token: Token) -> None:
    announced = tx.scalar(select(directory_next.c.sub).where(directory_next.c.sub == person.sub))
    keep_out(tx, person.address_index, token, next_versions=int(announced is not None))


def _cut(at: datetime) -> datetime:
    return at.replace(microsecond=at.microsecond // 1000 * 1000)
