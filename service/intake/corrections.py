"""Where corrections stand, read from the entries that proposed them, agreed to them and made them count.

Reads only. `correcting` writes them.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime

from sqlalchemy import Connection, select

from service.consent import Category, Event, SubjectId
from service.db import happening
from service.errors import NotFound
from service.intake import Intake
from service.intake.claim import MADE
from service.ledger.canonical import Json
from service.ledger.store import LOG_ID


@dataclass(frozen=True, slots=True, kw_only=True)
class Correction:
    """Where a correction stands: the entry at fault, who agreed; `made` is the entry that counts, or None.

    `proposal` is the entry that proposed it; for one that counted at once, that entry itself.
    """

    proposal: int
    corrects: int
    subject: SubjectId
    reason: str
    proposed_by: str
    proposed_at: datetime
    approved_by: tuple[str, ...] = ()
    made: int | None = None


@dataclass(slots=True)
class _Agreed:
    """Who agreed to one proposal, and the entry that made it count."""

    by: dict[str, None] = field(default_factory=dict)
    made: int | None = None


def waiting(intake: Intake, tx: Connection) -> list[Correction]:
    """Return the corrections that wait for somebody to agree, oldest first."""
    subs = tx.scalars(
        select(happening.c.sub)
        .where(happening.c.log_id == LOG_ID, happening.c.category == Category.CORRECTION.value)
        .distinct()
    ).all()
    found = [one for sub in subs for one in read(intake, tx, SubjectId(sub)).values() if one.made is None]
    return sorted(found, key=lambda one: one.proposal)


def find(intake: Intake, proposal: int) -> Correction:
    """Return one correction by the entry that proposed it; `NotFound` where there is none."""
    with intake.db.read() as tx:
        sub = tx.scalar(
            select(happening.c.sub).where(
                happening.c.log_id == LOG_ID,
                happening.c.idx == proposal,
                happening.c.category == Category.CORRECTION.value,
            )
        )
        found = None if sub is None else read(intake, tx, SubjectId(sub)).get(proposal)
    if found is None:
        raise NotFound("no correction was proposed by an entry of this number; look at the list of them")
    return found


def read(intake: Intake, tx: Connection, sub: SubjectId) -> dict[int, Correction]:
    """Return the corrections about one person, by the entry that began each."""
    events = {e.index: e for e in intake.events(tx, sub) if e.category is Category.CORRECTION}
    begun: dict[int, Correction] = {}
    agreed: dict[int, _Agreed] = {}
    for index, opening in sorted(intake.vault.openings(tx, list(events)).items()):
        told = opening.fields
        if "carried_index" in told and (told["step"] != MADE or "proposal" in told):
            continue  # numbers of the log before mean nothing here; what waited there is proposed anew
        proposal = told.get("proposal")
        if isinstance(proposal, int):
            one = agreed.setdefault(proposal, _Agreed())
            if told["step"] == MADE:
                one.made = index
            else:
                one.by[str(told["actor"])] = None
            continue
        begun[index] = _begun(events[index], sub, told)
    return {index: _settled(one, agreed.get(index, _Agreed())) for index, one in begun.items()}


def _begun(event: Event, sub: SubjectId, told: Mapping[str, Json]) -> Correction:
    corrects = told["corrects"]
    assert isinstance(corrects, int), "every step of a correction names the entry at fault"
    return Correction(
        proposal=event.index,
        corrects=corrects,
        subject=sub,
        reason=str(told["reason"]),
        proposed_by=str(told["actor"]),
        proposed_at=event.recorded_at,
        made=event.index if told["step"] == MADE else None,
    )


def _settled(one: Correction, agreed: _Agreed) -> Correction:
    made = one.made if agreed.made is None else agreed.made
    return replace(one, approved_by=tuple(agreed.by), made=made)
