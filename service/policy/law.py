"""Rules of law and of mailbox providers, one struct per kind, and their jurisdictions. Pure."""

from datetime import date, datetime, timedelta
from typing import Annotated, Any, Literal

import msgspec

from service.consent import months_after
from service.policy.calendars import Calendar, is_known, is_zone, regions_of
from service.policy.shapes import Grade, Strict

Period = Annotated[int, msgspec.Meta(ge=0)]
"""A length of time in the unit of its key: never less than none, or what is kept would go before it came."""

QuoteHash = Annotated[str, msgspec.Meta(pattern="^(sha256:[0-9a-f]{64})?$")]
Confidence = Literal["primary", "secondary", "memory"]
Status = Literal["draft", "active", "retired"]


class Example(Strict, frozen=True, kw_only=True):
    """One worked example of a rule: what is given, when (a day or a moment), what the rule must answer."""

    given: dict[str, Any] = msgspec.field(default_factory=dict)
    at: Any = None
    expect: str


class Rule(Strict, frozen=True, kw_only=True, tag_field="kind"):
    """What every rule says about itself.

    `confidence` is how the rule was read: in the law's own text, in a secondary source, or from memory.
    `status` stays draft until somebody signs it in `verified_by`. `url` is where it was read,
    `retrieved` when, and `quote_hash` the SHA-256 ("sha256:" and hex) of the words that were read there, in
    UTF-8: whoever signs it later can tell whether the page still says so.
    """

    id: str
    parameter: str = ""
    law: str
    citation: str
    url: str = ""
    retrieved: date | None = None
    quote_hash: QuoteHash = ""
    confidence: Confidence
    status: Status
    verified_by: str = ""
    effective_from: date | None = None
    effective_until: date | None = None
    tests: tuple[Example, ...] = ()

    @property
    def counts(self) -> bool:
        """Return whether this rule may set a deadline: not from memory alone, and not retired."""
        return self.confidence != "memory" and self.status != "retired"

    @property
    def in_force(self) -> bool:
        """Return whether this rule may permit, demand or end something: it counts, and is signed."""
        return self.counts and self.status == "active"

    def effective(self, day: date) -> bool:
        """Return whether the law applied on a day; `effective_until` is the first day without it."""
        began = self.effective_from is None or self.effective_from <= day
        return began and (self.effective_until is None or day < self.effective_until)


class Deadline(Rule, frozen=True, kw_only=True, tag="deadline"):
    """By when something must be done after it was asked for; exactly one unit is given.

    `duty` stop is what a withdrawal asks for: mail must have stopped.
    """

    duty: Literal["stop", "stop_sharing", "answer"] = "stop"
    business_days: Period | None = None
    months: Period | None = None
    days: Period | None = None
    hours: Period | None = None

    def __post_init__(self) -> None:
        if sum(unit is not None for unit in (self.business_days, self.months, self.days, self.hours)) != 1:
            raise ValueError("a deadline is given in exactly one of business_days, months, days and hours")

    def ends(self, received_at: datetime, calendar: Calendar) -> datetime:
        """Return the moment (UTC) when this deadline passes, business days by a jurisdiction's calendar."""
        if self.hours is not None:
            return received_at + timedelta(hours=self.hours)
        if self.days is not None:
            return received_at + timedelta(days=self.days)
        if self.months is not None:
            return months_after(received_at, self.months)
        return calendar.after(received_at, self.business_days or 0)


class Expiry(Rule, frozen=True, kw_only=True, tag="expiry"):
    """How long a consent lasts: `months` from its fact's day, or from when it was given; without, for ever.

    An implied consent names the `facts` that it may rest on, and the `conditions` that make it one.
    """

    basis: Literal["express", "implied"]
    facts: tuple[str, ...] = ()
    months: Period | None = None
    conditions: tuple[str, ...] = ()
    weakest_grade: Grade = "D"

    def __post_init__(self) -> None:
        if (self.basis == "implied") != bool(self.facts):
            raise ValueError("an implied consent names the facts that it rests on, an express one none")


class Evidence(Rule, frozen=True, kw_only=True, tag="evidence"):
    """What must be there for a consent to be proved, and what makes it none.

    `demands` are names of evidence that must come with a grant in words, `forbids` of evidence that makes
    any grant none; `double_opt_in` asks for a confirmation by mail. Who opted out is not asked again for
    `wait_months`. A rule with none of them is there to be read.
    """

    demands: tuple[str, ...] = ()
    forbids: tuple[str, ...] = ()
    double_opt_in: bool = False
    wait_months: Period | None = None


class Barrier(Rule, frozen=True, kw_only=True, tag="barrier"):
    """What must not stand between somebody and their wish: a fee, a login, a question asked again."""

    forbids: tuple[str, ...]


class Retention(Rule, frozen=True, kw_only=True, tag="retention"):
    """How long something is kept from its day on: at least, or at most; exactly one of them is given.

    0 months at most means: gone when the reason is gone. `months` None with `at_least` is for ever.
    """

    keeps: tuple[str, ...]
    bound: Literal["at_least", "at_most"]
    months: Period | None = None
    days: Period | None = None


class Threshold(Rule, frozen=True, kw_only=True, tag="threshold"):
    """A number from which on something else holds; `measure` says of what, in which unit."""

    measure: str
    limit: float
    reached: Literal["at", "above"] = "above"


class Label(Rule, frozen=True, kw_only=True, tag="label"):
    """What a message, a page or a record must carry."""

    carries: tuple[str, ...]


AnyRule = Deadline | Expiry | Evidence | Barrier | Retention | Threshold | Label


class Jurisdiction(Strict, frozen=True, kw_only=True):
    """`jurisdictions/<code>.toml`: where somebody is, and what holds there.

    `names` are those that CRM writes, `tlds` the country-code domains that hint at it, `within` the
    jurisdiction whose rules hold here as well, `states` how CRM writes this part of it beside the country.
    A file with `domains` is no country but mailbox providers.
    Business days are those of `calendar` (a country's code; of its holidays those that all `regions` keep),
    from local midnight to midnight in `zones`. `deadlines` repeats those of `rules`.
    """

    code: str
    title: str
    calendar: str = ""
    regions: tuple[str, ...] = ()
    zones: tuple[str, ...] = ()
    within: str = ""
    names: tuple[str, ...] = ()
    states: tuple[str, ...] = ()
    tlds: tuple[str, ...] = ()
    domains: tuple[str, ...] = ()
    rules: tuple[AnyRule, ...] = ()
    deadlines: tuple[Deadline, ...] = ()

    def __post_init__(self) -> None:
        # Each message ends as the decoder's own do, with the key: a check finds its line by that.
        if self.calendar and not is_known(self.calendar):
            message = "calendar must be a two-letter country code whose public holidays are known"
            raise ValueError(f"{message} - at `$.calendar`")
        if strange := sorted(set(self.regions) - regions_of(self.calendar)):
            message = f"no region {strange[0]!r} of {self.calendar!r} has holidays that are known"
            raise ValueError(f"{message} - at `$.regions`")
        if strange := [zone for zone in self.zones if not is_zone(zone)]:
            message = f"there is no time zone {strange[0]!r}; name it like Europe/Berlin"
            raise ValueError(f"{message} - at `$.zones`")

    @property
    def days(self) -> Calendar:
        """Return what business days are here."""
        return Calendar(country=self.calendar, regions=self.regions, zones=self.zones)

    @property
    def counted(self) -> tuple[Deadline, ...]:
        """Return the deadlines to stop that count."""
        return tuple(one for one in self.deadlines if one.counts and one.duty == "stop")
