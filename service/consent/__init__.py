"""What a history adds up to: may this person be mailed for this purpose, and why.

Pure: no clock, no database, no policy file; the caller hands in events, rules and the moment.
`event` is what happened, `rules` the parameters, `fold` adds it up.
"""

from service.consent.event import (
    GRANTS,
    REFUSALS,
    STOPS,
    SUPPRESSIONS,
    Category,
    Event,
    Ground,
    Provenance,
    SubjectId,
)
from service.consent.fold import Standing, State, standing
from service.consent.rules import Clock, Rules, months_after

__all__ = [
    "GRANTS",
    "REFUSALS",
    "STOPS",
    "SUPPRESSIONS",
    "Category",
    "Clock",
    "Event",
    "Ground",
    "Provenance",
    "Rules",
    "Standing",
    "State",
    "SubjectId",
    "months_after",
    "standing",
]
