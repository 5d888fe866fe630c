"""What a history adds up to: may this person be mailed for this purpose, and why.

Pure: no clock, no database, no policy file; the caller hands in events, rules and the moment.
`event` is what happened, `rules` the parameters, `proving` what evidence must show, `fold` adds it up.
"""

from service.consent.answer import Standing, State
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
from service.consent.fold import standing
from service.consent.proving import brought
from service.consent.rules import Clock, Proof, Rules, months_after

__all__ = [
    "GRANTS",
    "REFUSALS",
    "STOPS",
    "SUPPRESSIONS",
    "Category",
    "Clock",
    "Event",
    "Ground",
    "Proof",
    "Provenance",
    "Rules",
    "Standing",
    "State",
    "SubjectId",
    "brought",
    "months_after",
    "standing",
]
