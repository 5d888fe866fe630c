"""What another policy set would change: the ledger replayed under both, before anything is switched on.

Every event of every person is folded twice, and every withdrawal's clock run twice, whether it had a task
or a run carried it. Reads people a few hundred at a time, in the order of their random numbers; memory
grows with what would change alone. Nothing is written, and nobody is named but by their pseudonym.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from sqlalchemy import Connection, select

from service.consent import GRANTS, Event, Rules, Standing, State, SubjectId, standing
from service.consent.event import OWN_WORDS
from service.db import CHUNK, subject
from service.intake import Intake
from service.intake.places import crm_countries_of
from service.intake.projection import events_of
from service.policy import PolicySet
from service.reports.carried import Carried, Ends


@dataclass(frozen=True, slots=True, kw_only=True)
class Turned:
    """Somebody who may be mailed under one set and not under the other."""

    subject: SubjectId
    purpose: str
    mailable: bool
    before: str
    after: str
    rule: str | None
    why: str
    """The reason without the person's own dates and sources: from which state to which, by which rule."""


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
    def reasons(self) -> Counter[tuple[bool, str]]:
        """Return how many people would turn, by whether they could be mailed then, and why."""
        return Counter((one.mailable, one.why) for one in self.turned)

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
    both, carried = _Both(old, new), Carried(tx)
    for part in _everybody(tx):
        events, crm, ends = events_of(tx, part), crm_countries_of(tx, part), carried.until(part[-1])
        clocks = {sub: _clocks(sub, known, ends) for sub, known in events.items()}
        addresses = intake.vault.addresses_of(tx, [sub for sub, mine in clocks.items() if mine])
        for sub, known in events.items():
            found.turned += both.turned(sub, known, crm.get(sub), at)
            places = both.places(known, crm.get(sub)) if clocks[sub] else ()
            found.moved += both.moved(sub, clocks[sub], places, addresses.get(sub), at)
            found.withdrawals += len(clocks[sub])
        found.people += len(part)
        told(found.people)
    return found


def _clocks(sub: SubjectId, events: Sequence[Event], ends: Ends) -> list[tuple[Event, datetime | None]]:
    """Return this person's withdrawals that set a clock, each with when it was carried out; None: not yet."""
    undone = {event.corrects for event in events}
    last = max((e.index for e in events if e.category in GRANTS), default=-1)
    found: list[tuple[Event, datetime | None]] = []
    for event in events:
        if event.category not in OWN_WORDS or event.index in undone:
            continue
        if (sub, event.index) in ends:
            found.append((event, ends[sub, event.index]))
        elif event.index > last:
            found.append((event, event.recorded_at))
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
        before, after = self.places(events, crm)
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
                    why=_why(then, now),
                )

    def places(self, events: Sequence[Event], crm: str | None) -> tuple[str, ...]:
        """Return where the person is under each set."""
        return tuple(one.place_of(events, crm).jurisdiction for one in self._sets)

    def moved(
        self,
        sub: SubjectId,
        clocks: Iterable[tuple[Event, datetime | None]],
        places: Sequence[str],
        address: str | None,
        at: datetime,
    ) -> Iterator[Moved]:
        """Yield each clock that the two sets end at different times, or under different rules."""
        for event, ended in clocks:
            (before, old), (after, new) = (
                one.stop_by(event.occurred_at, place, address=address)
                for one, place in zip(self._sets, places, strict=True)
            )
            if before != after or old.id != new.id:
                yield Moved(
                    subject=sub,
                    index=event.index,
                    before=before,
                    after=after,
                    rule=new.id,
                    late=(ended or at) > after,
                    was_late=(ended or at) > before,
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


def _why(before: Standing, after: Standing) -> str:
    """Return what turned somebody, in words that many people share."""
    if before.state is after.state:
        turned = "no longer suppressed" if after.suppressed is None else "suppressed"
        return f"{after.state} as before, but {turned}"
    by = f" by {after.rule}" if after.rule else ""
    return f"{before.state} -> {after.state}{by}"


def _everybody(tx: Connection) -> Iterator[list[SubjectId]]:
    last = b""
    while True:
        asked = select(subject.c.sub).where(subject.c.sub > last).order_by(subject.c.sub).limit(CHUNK)
        part = [SubjectId(sub) for sub in tx.scalars(asked)]
        if not part:
            return
        yield part
        last = part[-1]
