"""How the events of one person follow each other, in the words of consent records (ISO/IEC TS 27560). Pure.

A receipt never changes, so nothing here is a status: a link leads back only, to what an event superseded or
ended when it was recorded. Bounces and suppressions are no consent events, and have no state.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from service.consent.event import GRANTS, REFUSALS, Category, Event

TYPES: Final = {
    Category.REQUESTED: "requested",
    Category.GRANTED: "given",
    Category.CONFIRMED: "confirmed",
    Category.REFUSED: "refused",
    Category.WITHDRAWN: "withdrawn",
    Category.BOUNCE_HARD: "bounced",
    Category.BOUNCE_SOFT: "bounced",
    Category.BOUNCE_UNKNOWN: "bounced",
    Category.COMPLAINT: "complained",
    Category.SUPPRESSION_ADDED: "suppressed",
    Category.SUPPRESSION_LIFTED: "unsuppressed",
    Category.ENFORCEMENT: "enforced",
    Category.CORRECTION: "corrected",
    Category.ACCESS: "accessed",
    Category.SCANNER_FETCHED: "scanner_fetch",
    Category.ERASURE: "erased",
}
"""Event types of a consent record by category (facts, consent-record.md section 3)."""
STATES: Final = {
    Category.REQUESTED: "ConsentRequested",
    Category.GRANTED: "ConsentGiven",
    Category.CONFIRMED: "ConsentGiven",
    Category.REFUSED: "ConsentRefused",
    Category.WITHDRAWN: "ConsentWithdrawn",
}
"""States of the Data Privacy Vocabulary by category; what was not consented to is a state as well."""
RENEWED: Final = "RenewedConsentGiven"
INVALIDATED: Final = "ConsentInvalidated"


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """What one event is, and what it follows: indexes of earlier entries about the same person.

    `supersedes` are the words that held before, one per purpose that the event is about; `terminates` those
    of them that were consents and ended by it; `corrects` the entry that does not count any more.
    """

    event_type: str | None
    event_state: str | None = None
    supersedes: tuple[int, ...] = ()
    terminates: tuple[int, ...] = ()
    corrects: int | None = None


def links(events: Iterable[Event]) -> dict[int, Link]:
    """Return the link of each event of one person, by index; each looks only at what stood before it."""
    found: dict[int, Link] = {}
    said: list[Event] = []
    voided: frozenset[int] = frozenset()
    by_index: dict[int, Event] = {}
    for event in sorted(events, key=lambda event: event.index):
        found[event.index] = _link(
            event, _before(event, [one for one in said if one.index not in voided]), by_index
        )
        by_index[event.index] = event
        voided = voided if event.corrects is None else voided | {event.corrects}
        if event.category in STATES:
            said.append(event)
    return found


def _before(event: Event, said: Sequence[Event]) -> Sequence[Event]:
    """Return the words that held for the event's purposes until then, in the order of the log."""
    if event.category not in STATES:
        return ()
    held: dict[str | None, Event] = {}
    for one in said:
        held = {None: one} if one.purpose is None else {**held, one.purpose: one}
    if event.purpose is None:
        return sorted(held.values(), key=lambda one: one.index)
    before = held.get(event.purpose) or held.get(None)
    return () if before is None else (before,)


def _link(event: Event, before: Sequence[Event], known: Mapping[int, Event]) -> Link:
    grants = [one for one in before if one.category in GRANTS]
    state = STATES.get(event.category)
    if event.category in GRANTS and grants:
        state = RENEWED
    corrected = None if event.corrects is None else known.get(event.corrects)
    if corrected is not None and corrected.category in GRANTS:
        state = INVALIDATED
    return Link(
        event_type=TYPES.get(event.category),
        event_state=state,
        supersedes=tuple(one.index for one in before),
        terminates=tuple(one.index for one in grants) if event.category in REFUSALS else (),
        corrects=event.corrects,
    )
