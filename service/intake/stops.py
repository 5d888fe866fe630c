"""Everybody who must not be mailed, as a list that leaves the house and can be taken in again.

A list names nobody unless it is asked to: an address stands in it as the keyed hash under which this
installation looks it up, so only an installation with the same keys can take it in, for example a fresh
database beside the old keys. Each stop keeps its class of reason. Taking a list in only ever adds stops: a
person who is known gets the event again, as imported, at its old time, so that what they said since
outweighs it; a hash that leads to nobody is kept out until its owner consents by themselves.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from typing import Final

from sqlalchemy import ColumnElement, Connection, and_, select

from service.consent import Category, Provenance, State, SubjectId
from service.db import happening, standing, subject, suppression
from service.errors import ServiceError
from service.intake import Intake
from service.intake.claim import Claim
from service.intake.suppression import RESTORED, Token, keep_out, kept_out
from service.ledger.mac import mac
from service.ledger.store import LOG_ID

CHUNK: Final = 1000  # stops taken in by one transaction
SOURCE: Final = "suppression list"
ERASED: Final = "erased"
"""The class of an address that was erased here; nothing else is known about it."""
AGAIN: Final = {
    "consent.withdrawn": Category.WITHDRAWN,
    "consent.refused": Category.WITHDRAWN,
    "bounce.hard": Category.BOUNCE_HARD,
    "complaint": Category.COMPLAINT,
    "bounce.soft": Category.SUPPRESSION_ADDED,
    "suppression.added": Category.SUPPRESSION_ADDED,
}
"""What a known person gets by the class of a stop; three soft bounces come back as one suppression."""
CLASSES: Final = frozenset({*AGAIN, ERASED})


@dataclass(frozen=True, slots=True, kw_only=True)
class Stop:
    """One reason why one address must not be mailed; `purpose` None is every purpose.

    `index` is the address's keyed hash, `sub` the person behind it, where one is known here. `address` is
    there where a list that names people is taken in.
    """

    index: bytes
    reason: str
    since: datetime
    purpose: str | None = None
    sub: SubjectId | None = None
    address: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Restored:
    """What became of a list: stops recorded about known people, known before, and addresses kept out."""

    recorded: int = 0
    known: int = 0
    kept_out: int = 0

    def __add__(self, other: "Restored") -> "Restored":
        return Restored(
            recorded=self.recorded + other.recorded,
            known=self.known + other.known,
            kept_out=self.kept_out + other.kept_out,
        )


def key_check(index_key: bytes) -> str:
    """Return what tells lists of another installation apart from our own, and nothing about the key."""
    return mac(index_key, b"suppression list 1\n").hex()[:16]


def stops(tx: Connection) -> Iterator[Stop]:
    """Yield every stop that is in force: who refused, who is suppressed, and who was erased."""
    yield from _standing(tx, standing.c.state == State.REFUSED.value, standing.c.decided_by)
    yield from _standing(tx, standing.c.suppressed.is_not(None), standing.c.suppressed_by)
    tokens = select(suppression.c.address_index, suppression.c.reason, suppression.c.since)
    for index, told, since in tx.execute(tokens.order_by(suppression.c.address_index)):
        reason = told.removeprefix(RESTORED) if told.startswith(RESTORED) else ERASED
        yield Stop(index=index, reason=reason, since=since)


def _standing(tx: Connection, where: ColumnElement[bool], by: ColumnElement[int | None]) -> Iterator[Stop]:
    """Yield the entries by which people are stopped, each once though it stops several purposes."""
    rows = (
        select(
            subject.c.address_index,
            subject.c.sub,
            happening.c.category,
            happening.c.purpose,
            happening.c.occurred_at,
        )
        .join(standing, standing.c.sub == subject.c.sub)
        .join(happening, and_(happening.c.log_id == LOG_ID, happening.c.idx == by))
        .where(where)
        .order_by(subject.c.address_index, happening.c.idx)
        .distinct()
        .add_columns(happening.c.idx)
    )
    for row in tx.execute(rows):
        yield Stop(
            index=row.address_index,
            sub=SubjectId(row.sub),
            reason=row.category,
            purpose=row.purpose,
            since=row.occurred_at,
        )


def restore(intake: Intake, told: Sequence[Stop], *, now: datetime) -> Restored:
    """Take these stops in, each once however often it is told; return what became of them."""
    total = Restored()
    for start in range(0, len(told), CHUNK):
        total += _restore(intake, told[start : start + CHUNK], now)
    return total


def _restore(intake: Intake, told: Sequence[Stop], now: datetime) -> Restored:
    indexes = list({stop.index for stop in told})
    with intake.db.read() as tx:
        people = intake.vault.find_many(tx, indexes)
    named = {stop.index for stop in told if stop.address is not None and stop.reason != ERASED}
    claims = [
        _claim(stop, people.get(stop.index), now)
        for stop in told
        if stop.index in people or stop.index in named
        if stop.reason != ERASED
    ]
    outcomes = intake.record(claims)
    for outcome in outcomes:
        if isinstance(outcome, ServiceError):
            raise outcome
    known = sum(getattr(outcome, "duplicate", False) for outcome in outcomes)
    added = _keep_out(intake, [stop for stop in told if stop.index not in people.keys() | named])
    return Restored(recorded=len(outcomes) - known, known=known, kept_out=added)


def _claim(stop: Stop, sub: SubjectId | None, now: datetime) -> Claim:
    said = f"{stop.index.hex()}\n{stop.reason}\n{stop.purpose or ''}\n{stop.since.isoformat()}"
    return Claim(
        category=AGAIN[stop.reason],
        source=SOURCE,
        key=sha256(said.encode()).hexdigest(),
        subject=sub,
        address=stop.address if sub is None else None,
        purpose=stop.purpose,
        occurred_at=stop.since,
        received_at=now,
        provenance=Provenance.IMPORT,
        evidence={"reason_class": stop.reason},
    )


def _keep_out(intake: Intake, told: Sequence[Stop]) -> int:
    """Keep addresses out that nobody is known by; the head is locked, so nobody is opened meanwhile."""
    if not told:
        return 0
    with intake.db.begin() as tx:
        intake.lock(tx)
        indexes = list({stop.index for stop in told})
        there = kept_out(tx, indexes).keys() | intake.vault.find_many(tx, indexes).keys()
        latest: dict[bytes, Stop] = {}
        for stop in told:
            if stop.index not in there and _newer(stop, latest.get(stop.index)):
                latest[stop.index] = stop
        for stop in latest.values():
            token = Token(reason=f"{RESTORED}{stop.reason}", since=stop.since, versions=0)
            keep_out(tx, stop.index, token)
        intake.store.note(tx, erasures=len(latest))  # so that every process asks for tokens
    return len(latest)


def _newer(stop: Stop, than: Stop | None) -> bool:
    return than is None or stop.since > than.since
