"""One thing that happened to one person's consent, as the fold needs it. Pure."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import NewType

SubjectId = NewType("SubjectId", bytes)
"""32 random bytes that stand for a person; not derived from anything about them."""


class Category(StrEnum):
    """Kinds of entries; the signed line carries the value."""

    REQUESTED = "consent.requested"
    GRANTED = "consent.granted"
    CONFIRMED = "consent.confirmed"
    REFUSED = "consent.refused"
    WITHDRAWN = "consent.withdrawn"
    BOUNCE_HARD = "bounce.hard"
    BOUNCE_SOFT = "bounce.soft"
    BOUNCE_UNKNOWN = "bounce.unknown"
    COMPLAINT = "complaint"
    SUPPRESSION_ADDED = "suppression.added"
    SUPPRESSION_LIFTED = "suppression.lifted"
    ENFORCEMENT = "enforcement"
    CORRECTION = "correction"
    ACCESS = "access"
    SCANNER_FETCHED = "scanner.fetched"
    ERASURE = "erasure"
    SUBJECT_OPENED = "subject.opened"
    LOG_GENESIS = "log.genesis"
    KEY_ROTATED = "key.rotated"
    DIRECTORY_REKEYED = "directory.rekey"
    POLICY_ADOPTED = "policy.adopted"
    INDEX_EPOCH = "index.epoch"
    LOG_FROZEN = "log.frozen"


GRANTS = frozenset({Category.GRANTED, Category.CONFIRMED})
REFUSALS = frozenset({Category.REFUSED, Category.WITHDRAWN})
SUPPRESSIONS = frozenset({Category.BOUNCE_HARD, Category.COMPLAINT, Category.SUPPRESSION_ADDED})
STOPS = REFUSALS | SUPPRESSIONS
"""Categories that are enforced at once in both products."""
OWN_WORDS = REFUSALS | {Category.COMPLAINT}
"""What a person says themselves: the law's clocks run from when they first said it."""


class Provenance(StrEnum):
    """How an event came to us; only `live` was witnessed by our own edge."""

    LIVE = "live"
    IMPORT = "import"
    BACKFILL = "backfill"
    OBSERVED = "observed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Ground:
    """What an implied consent rests on, as its source told: a fact, its day, and the conditions met.

    `fact` is a word of the policies (purchase, inquiry, nonbusiness); `conditions` are names of evidence
    that was given as true, such as `refusal_offered`.
    """

    fact: str
    at: datetime
    conditions: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One thing that happened to one person's consent, as the fold needs it.

    `purpose` None means every purpose. `index` is the entry's place in the log. `grade` is the
    evidence from A (full, live, mailbox confirmed) to F (an assertion). `valid_until` ends a
    consent whatever the rules say. `ground` is there for an implied consent alone. `country` is a code that
    the source told, `hint` the country-code domain of the address. `corrects` is the index of an earlier
    entry about the same person that does not count any more. `brought` are names of the evidence that came
    with a consent, None where that was not kept. Times are aware UTC; `occurred_at` is
    the source's claim, `recorded_at` ours.
    """

    index: int
    category: Category
    purpose: str | None
    occurred_at: datetime
    recorded_at: datetime
    source: str
    provenance: Provenance = Provenance.LIVE
    grade: str = "F"
    valid_until: datetime | None = None
    ground: Ground | None = None
    country: str | None = None
    hint: str | None = None
    corrects: int | None = None
    brought: frozenset[str] | None = None

    def __post_init__(self) -> None:
        for name in ("occurred_at", "recorded_at"):
            if getattr(self, name).utcoffset() is None:
                raise ValueError(f"{name} must carry a timezone")
