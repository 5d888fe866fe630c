"""How a person stood at a moment, and how much of that anybody else's clock confirms.

The fold by our own clock is one answer; the anchors bracket it: what surely was in the log by then,
and what is undecided between two anchors. Never claims more than they give.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from service.consent import Event, Standing
from service.intake.projection import standings
from service.ledger.bracket import Bracket, Place
from service.policy import PolicySet


@dataclass(frozen=True, slots=True, kw_only=True)
class AsOf:
    """What brackets a moment, and what follows from it for one person.

    `surely` folds the entries that surely were in the log by then, one standing per purpose, None
    without trusted time. `undecided` are the indexes of the entries between the two anchors, `open`
    the purposes whose answer depends on which of them were in the log by then.
    """

    bracket: Bracket
    surely: tuple[Standing, ...] | None
    undecided: tuple[int, ...]
    open: tuple[str, ...]

    def words(self) -> str:
        """Return what is sure and what is not, for people."""
        if not self.bracket.trusted:
            return self.bracket.words()
        if not self.open:
            return f"{self.bracket.words()} They make no difference to the answer."
        return f"{self.bracket.words()} Undecided: {', '.join(self.open)}."


def confirm(events: Sequence[Event], policy: PolicySet, bracket: Bracket) -> AsOf:
    """Return what the anchors confirm about one person's events at the bracket's moment."""
    if not bracket.trusted:
        return AsOf(bracket=bracket, surely=None, undecided=(), open=())
    ordered = sorted(events, key=lambda event: event.index)
    sure = [_by_then(one, bracket.moment) for one in ordered if bracket.place(one.index) is Place.SURELY]
    between = [
        _by_then(one, bracket.moment) for one in ordered if bracket.place(one.index) is Place.UNDECIDED
    ]
    worlds = [
        standings([*sure, *between[:count]], policy, bracket.moment) for count in range(len(between) + 1)
    ]
    opened = [one.purpose for at, one in enumerate(worlds[0]) if len({_answer(w[at]) for w in worlds}) > 1]
    return AsOf(
        bracket=bracket,
        surely=tuple(worlds[0]),
        undecided=tuple(event.index for event in between),
        open=tuple(opened),
    )


def _by_then(event: Event, moment: datetime) -> Event:
    """Return the event as of a moment by which it is taken to be in the log, whatever our own clock said."""
    return replace(
        event, recorded_at=min(event.recorded_at, moment), occurred_at=min(event.occurred_at, moment)
    )


def _answer(standing: Standing) -> tuple[str, bool]:
    return standing.state.value, standing.may_mail
