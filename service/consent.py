"""What a history adds up to: may this person be mailed for this purpose, and why.

Pure: no clock, no database, no policy file; the caller hands in events, rules and the moment.
Asymmetry is the law of this module. A refusal always counts. A grant counts only with evidence,
lifts an earlier refusal only when it is newer *and* was recorded live, and loses every tie.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
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
_TURN = {Category.REQUESTED: 1, Category.GRANTED: 2, Category.CONFIRMED: 3}
"""Whose turn it is among events of one moment: asking comes before answering."""


class Provenance(StrEnum):
    """How an event came to us; only `live` was witnessed by our own edge."""

    LIVE = "live"
    IMPORT = "import"
    BACKFILL = "backfill"
    OBSERVED = "observed"


class State(StrEnum):
    """What a person's events say about one purpose."""

    PERMITTED = "permitted"
    REFUSED = "refused"
    PENDING = "pending"
    EXPIRED = "expired"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One thing that happened to one person's consent, as the fold needs it.

    `purpose` None means every purpose. `index` is the entry's place in the log. `grade` is the
    evidence from A (full, live, mailbox confirmed) to F (an assertion). `valid_until` ends an
    implied consent. Times are aware UTC; `occurred_at` is the source's claim, `recorded_at` ours.
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

    def __post_init__(self) -> None:
        for name in ("occurred_at", "recorded_at"):
            if getattr(self, name).utcoffset() is None:
                raise ValueError(f"{name} must carry a timezone")


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """The parameters of the fold for one purpose (`policies/`): grades are 'A' to 'F'."""

    weakest_grade: str = "C"
    double_opt_in: bool = False
    soft_bounce_limit: int = 3
    soft_bounce_days: int = 90


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """The answer for one purpose at one moment; `decided_by` is the index of the deciding entry."""

    purpose: str
    state: State
    reason: str
    decided_by: int | None = None
    decided_at: datetime | None = None
    valid_until: datetime | None = None
    suppressed: str | None = None
    suppressed_by: int | None = None

    @property
    def may_mail(self) -> bool:
        """Return whether this person may be mailed: permitted and not suppressed."""
        return self.state is State.PERMITTED and self.suppressed is None

    @property
    def must_stop(self) -> bool:
        """Return whether both products must say stop: refused or suppressed."""
        return self.state is State.REFUSED or self.suppressed is not None

    @property
    def reasons(self) -> tuple[str, ...]:
        """Return every reason behind `may_mail`, the consent first."""
        return (self.reason,) if self.suppressed is None else (self.reason, self.suppressed)


def standing(events: Iterable[Event], purpose: str, rules: Rules, at: datetime) -> Standing:
    """Return what `events` of one person add up to for `purpose` at the moment `at`.

    Events after `at` are left out, both by their own time and by when we recorded them, so that
    an answer "as of" never knows the future. Order of arrival does not matter: a later
    `occurred_at` wins, and on a tie the more restrictive event does.
    """
    known = [
        e for e in events if e.purpose in (purpose, None) and e.recorded_at <= at and e.occurred_at <= at
    ]
    known.sort(key=_order)
    consent = _fold_consent(known, purpose, rules, at)
    cause, by = _suppression(known, rules, at)
    return Standing(
        purpose=purpose,
        state=consent.state,
        reason=consent.reason,
        decided_by=consent.decided_by,
        decided_at=consent.decided_at,
        valid_until=consent.valid_until,
        suppressed=cause,
        suppressed_by=by,
    )


def _order(event: Event) -> tuple[datetime, int, float, int, int]:
    """Sort by the source's time; on a tie the more restrictive comes later, and so wins.

    A stop is more restrictive than all else, and what ends sooner than what ends later or never.
    The place in the log speaks last, where nothing depends on it but which of two equals is named.
    """
    stops = event.category in STOPS or event.category is Category.BOUNCE_SOFT
    ends = -math.inf if event.valid_until is None else -event.valid_until.timestamp()
    return event.occurred_at, int(stops), ends, _TURN.get(event.category, 0), event.index


def _fold_consent(known: list[Event], purpose: str, rules: Rules, at: datetime) -> Standing:
    result = Standing(
        purpose=purpose, state=State.UNKNOWN, reason="no event says anything about this purpose"
    )
    for event in known:
        if event.category in REFUSALS:
            scope = "every purpose" if event.purpose is None else "this purpose"
            result = _decided(event, purpose, State.REFUSED, f"refused for {scope} ({event.source})")
        elif event.category is Category.REQUESTED or (
            event.category is Category.GRANTED and rules.double_opt_in
        ):
            if result.state in (State.UNKNOWN, State.EXPIRED):
                result = _decided(event, purpose, State.PENDING, "asked for, and not yet confirmed by mail")
        elif event.category in GRANTS:
            result = _granted(result, event, purpose, rules, at)
    return result


def _granted(before: Standing, event: Event, purpose: str, rules: Rules, at: datetime) -> Standing:
    """Return the standing after a grant; one without evidence changes nothing."""
    if event.grade > rules.weakest_grade:
        if before.state is not State.UNKNOWN:
            return before
        reason = f"a grant was asserted ({event.source}) without sufficient evidence (grade {event.grade})"
        return _decided(event, purpose, State.UNKNOWN, reason)
    if before.state is State.REFUSED and event.provenance is not Provenance.LIVE:
        return before
    if event.valid_until is not None and event.valid_until <= at:
        return _decided(
            event, purpose, State.EXPIRED, f"implied consent ran out on {event.valid_until:%Y-%m-%d}"
        )
    return _decided(
        event, purpose, State.PERMITTED, f"granted with evidence of grade {event.grade} ({event.source})"
    )


def _decided(event: Event, purpose: str, state: State, reason: str) -> Standing:
    return Standing(
        purpose=purpose,
        state=state,
        reason=reason,
        decided_by=event.index,
        decided_at=event.occurred_at,
        valid_until=event.valid_until,
    )


def _suppression(known: list[Event], rules: Rules, at: datetime) -> tuple[str | None, int | None]:
    """Return why mail to this person is suppressed, and by which entry; bounces are not consent."""
    cause: str | None = None
    by: int | None = None
    soft: list[Event] = []
    since = at - timedelta(days=rules.soft_bounce_days)
    for event in known:
        match event.category:
            case Category.SUPPRESSION_LIFTED:
                cause, by, soft = None, None, []
            case Category.BOUNCE_HARD:
                cause, by = "suppressed: the mailbox bounced for good", event.index
            case Category.COMPLAINT:
                cause, by = "suppressed: the person complained of spam", event.index
            case Category.SUPPRESSION_ADDED:
                cause, by = f"suppressed by {event.source}", event.index
            case Category.BOUNCE_SOFT if event.occurred_at >= since:
                soft.append(event)
            case _:
                pass
    if cause is None and len(soft) >= rules.soft_bounce_limit:
        return f"suppressed: {len(soft)} soft bounces in {rules.soft_bounce_days} days", soft[-1].index
    return cause, by
