"""The parameters of the fold, each with the name of the rule that sets it. Pure."""

import calendar
from dataclasses import dataclass, field
from datetime import datetime

MONTHS = 12  # a year's


@dataclass(frozen=True, slots=True, kw_only=True)
class Clock:
    """How long a consent lasts under one rule, and on which conditions it exists.

    `months` None is without end. A clock that does not `count` (its rule is a draft, or known from
    memory alone) permits nothing and ends nothing: it warns. `conditions` are names of evidence that must
    be true, `weakest_grade` is the least that the evidence of the fact must be worth; the fact's day lies
    from `since` on and before `until`, when the rule was law.
    """

    rule: str
    months: int | None = None
    counts: bool = True
    conditions: frozenset[str] = frozenset()
    weakest_grade: str = "D"
    since: datetime | None = None
    until: datetime | None = None

    def was_law(self, day: datetime) -> bool:
        """Return whether the rule was law on the day of a fact."""
        return (self.since is None or self.since <= day) and (self.until is None or day < self.until)

    def ends(self, since: datetime) -> datetime | None:
        """Return when a consent that began then ends; None is never."""
        return None if self.months is None else months_after(since, self.months)


@dataclass(frozen=True, slots=True, kw_only=True)
class Proof:
    """What one rule asks of the evidence of a consent, and since when.

    `demands` are names of evidence that must have come with a consent in words, `forbids` of what makes any
    consent none. Who had opted out is not asked again for `wait_months`. A proof that does not `count` (its
    rule is a draft, or known from memory alone) warns.
    """

    rule: str
    demands: frozenset[str] = frozenset()
    forbids: frozenset[str] = frozenset()
    wait_months: int | None = None
    counts: bool = True
    since: datetime | None = None
    until: datetime | None = None

    def was_law(self, day: datetime) -> bool:
        """Return whether the rule was law when somebody consented."""
        return (self.since is None or self.since <= day) and (self.until is None or day < self.until)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """The parameters of the fold for one purpose and one jurisdiction (`policies/`): grades are 'A' to 'F'.

    `implied` has clocks by fact (several where it is one clock per law that applies: the first to end
    ends it); a fact without one permits nothing. `express` are clocks of consents that were given, `proofs`
    what their evidence must show. The names ending in `_rule` say where a parameter stands; `policy` is
    the digest of the set, in hex.
    """

    weakest_grade: str = "C"
    grade_rule: str = "enforcement.weakest_grade"
    double_opt_in: bool = False
    double_opt_in_rule: str = "purposes.double_opt_in"
    double_opt_in_warning: str | None = None
    soft_bounce_limit: int = 3
    soft_bounce_days: int = 90
    soft_bounce_rule: str = "enforcement.soft_bounce_limit"
    implied: dict[str, tuple[Clock, ...]] = field(default_factory=dict)
    express: tuple[Clock, ...] = ()
    proofs: tuple[Proof, ...] = ()
    jurisdiction: str = ""
    policy: str = ""


def months_after(since: datetime, months: int) -> datetime:
    """Return the same time of day so many calendar months later; a day that is not there is the last one."""
    whole = since.year * MONTHS + since.month - 1 + months
    year, month = divmod(whole, MONTHS)
    day = min(since.day, calendar.monthrange(year, month + 1)[1])
    return since.replace(year=year, month=month + 1, day=day)
