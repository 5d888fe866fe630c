"""What another policy set would change: the ledger folded under both, before anything is switched on.

Reads people a few hundred at a time, in the order of their random numbers; memory grows with what would
change alone. Nothing is written, and nobody is named but by their pseudonym.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, and_, select

from service.consent import Event, Rules, Standing, State, SubjectId, standing
from service.db import CHUNK, happening, subject, task
from service.intake import Intake
from service.intake.places import crm_countries_of
from service.intake.projection import events_of
from service.ledger.store import LOG_ID
from service.policy import PolicySet


@dataclass(frozen=True, slots=True, kw_only=True)
class Turned:
    """Somebody who may be mailed under one set and not under the other."""

    subject: SubjectId
    purpose: str
    mailable: bool
    before: str
    after: str
    rule: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Moved:
    """A withdrawal whose clock would end at another time; `late` under the new set, `was_late` the old."""

    subject: SubjectId
    index: int
    before: datetime
    after: datetime
    rule: str
    late: bool
    was_late: bool


@dataclass(slots=True, kw_only=True)
class Difference:
    """What one set changes against another, over the whole ledger at one moment."""

    old: str
    new: str
    at: datetime
    people: int = 0
    withdrawals: int = 0
    turned: list[Turned] = field(default_factory=list)
    moved: list[Moved] = field(default_factory=list)

    @property
    def counts(self) -> Counter[tuple[str, bool]]:
        """Return how many people would turn, by purpose and by whether they could be mailed then."""
        return Counter((one.purpose, one.mailable) for one in self.turned)

    @property
    def newly_late(self) -> list[Moved]:
        """Return the withdrawals that the new set calls late and the old one does not."""
        return [one for one in self.moved if one.late and not one.was_late]


def difference(
    tx: Connection,
    intake: Intake,
    old: PolicySet,
    new: PolicySet,
    *,
    at: datetime,
    told: Callable[[int], None] = lambda _people: None,
) -> Difference:
    """Return who would become mailable or unmailable, and which clocks would be late, under `new`.

    `told` hears how many people were looked at.
    """
    found = Difference(old=old.digest.hex(), new=new.digest.hex(), at=at)
    both = _Both(old, new)
    for part in _everybody(tx):
        crm = crm_countries_of(tx, part)
        for sub, known in events_of(tx, part).items():
            found.turned += both.turned(sub, known, crm.get(sub), at)
        found.people += len(part)
        told(found.people)
    for rows in _withdrawals(tx):
        found.withdrawals += len(rows)
        subs = [row.sub for row in rows]
        crm, addresses = crm_countries_of(tx, subs), intake.vault.addresses_of(tx, subs)
        for row in rows:
            found.moved += both.moved(row, crm.get(row.sub), addresses.get(row.sub), at)
    return found


class _Both:
    """Two sets, asked about the same person."""

    def __init__(self, old: PolicySet, new: PolicySet) -> None:
        self._sets = (old, new)
        self._purposes = sorted({*old.purposes, *new.purposes})
        self._pairs: dict[tuple[str, str, str], tuple[Rules | None, Rules | None] | None] = {}

    def turned(
        self, sub: SubjectId, events: Sequence[Event], crm: str | None, at: datetime
    ) -> Iterator[Turned]:
        """Yield each purpose for which the person may be mailed under one set and not under the other."""
        before, after = (one.place_of(events, crm).jurisdiction for one in self._sets)
        for purpose in self._purposes:
            rules = self._rules(purpose, before, after)
            if rules is None:
                continue
            then, now = (_standing(events, purpose, one, at) for one in rules)
            if then.may_mail != now.may_mail:
                yield Turned(
                    subject=sub,
                    purpose=purpose,
                    mailable=now.may_mail,
                    before="; ".join(then.reasons),
                    after="; ".join(now.reasons),
                    rule=now.rule,
                )

    def moved(self, row: Any, crm: str | None, address: str | None, at: datetime) -> Iterator[Moved]:  # noqa: ANN401  # a result row
        """Yield a withdrawal's clock if the two sets end it at different times, or under different rules."""
        (before, old), (after, new) = (
            one.stop_by(row.received_at, _place(one, row, crm, address), address=address)
            for one in self._sets
        )
        stopped = row.stopped_at or at
        if before != after or old.id != new.id:
            yield Moved(
                subject=SubjectId(row.sub),
                index=row.cause_idx,
                before=before,
                after=after,
                rule=new.id,
                late=stopped > after,
                was_late=stopped > before,
            )

    def _rules(self, purpose: str, before: str, after: str) -> tuple[Rules | None, Rules | None] | None:
        """Return the parameters of both folds, None where they are the same."""
        key = (purpose, before, after)
        if key not in self._pairs:
            old, new = (
                one.rules(purpose, place) if purpose in one.purposes else None
                for one, place in zip(self._sets, (before, after), strict=True)
            )
            self._pairs[key] = None if _nameless(old) == _nameless(new) else (old, new)
        return self._pairs[key]


def _nameless(rules: Rules | None) -> Rules | None:
    """Return rules without what changes nobody's standing: the digest, and the name of the place."""
    return None if rules is None else replace(rules, policy="", jurisdiction="")


def _standing(events: Sequence[Event], purpose: str, rules: Rules | None, at: datetime) -> Standing:
    if rules is None:
        return Standing(purpose=purpose, state=State.UNKNOWN, reason="this set does not know the purpose")
    return standing(events, purpose, rules, at)


def _place(policy: PolicySet, row: Any, crm: str | None, address: str | None) -> str:  # noqa: ANN401  # a result row
    atlas = policy.atlas
    return atlas.place(country=row.country, crm=crm, hint=atlas.hint(address)).jurisdiction


def _everybody(tx: Connection) -> Iterator[list[SubjectId]]:
    last = b""
    while True:
        asked = select(subject.c.sub).where(subject.c.sub > last).order_by(subject.c.sub).limit(CHUNK)
        part = [SubjectId(sub) for sub in tx.scalars(asked)]
        if not part:
            return
        yield part
        last = part[-1]


def _withdrawals(tx: Connection) -> Iterator[Sequence[Any]]:
    last = -1
    cause = and_(happening.c.log_id == LOG_ID, happening.c.idx == task.c.cause_idx)
    asked = (
        select(
            task.c.id,
            task.c.sub,
            task.c.cause_idx,
            task.c.received_at,
            task.c.stopped_at,
            happening.c.country,
        )
        .outerjoin(happening, cause)
        .where(task.c.state != "superseded")
        .order_by(task.c.id)
        .limit(CHUNK)
    )
    while rows := tx.execute(asked.where(task.c.id > last)).all():
        yield rows
        last = rows[-1].id
