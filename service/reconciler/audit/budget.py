"""Gotcha 6: the API budget, past and planned. Pure: what was spent and what is to come are handed in."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from service.reconciler.audit.point import Figure, Point, Verdict

DAY = timedelta(hours=24)
HOURS = 24
TIGHT = 0.8
"""From this share of the allowance on a point is a warning."""
PER_CREDIT = 10
"""CRM records that one credit writes (facts zoho-crm, section 6)."""
PUSHES = {1: 450, 60: 12_000, 1_440: 70_000}
"""Contacts that we put on lists in so many minutes: nine tenths of what Campaigns takes, without a credit."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Spending:
    """CRM credits of the last 24 hours: the allowance (0: unknown), by hour ago (0 is the last), by purpose.

    `unknown` is what the product says was used beyond what we booked: other applications. `held` is what
    nodes at work have taken in advance for the next minute: how much of it they use is not known yet.
    `next_runs` are the credits that the next runs will take, by their names.
    """

    allowance: int
    edition: str
    by_hour: tuple[int, ...]
    by_whom: Mapping[str, int]
    unknown: int | None
    next_runs: Mapping[str, int]
    reserve: int = 0
    held: int = 0

    @property
    def used(self) -> int:
        """Return the credits of the last 24 hours, ours and others'."""
        return sum(self.by_hour) + (self.unknown or 0)

    @property
    def left(self) -> int:
        """Return what the allowance still holds for whoever asks now."""
        return max(0, self.allowance - self.used - self.held)


@dataclass(frozen=True, slots=True, kw_only=True)
class Forecast:
    """What is planned: credits of the next runs, what a push of `contacts` takes, when the allowance ends.

    `runs_out_at` None: not within a day at the rate of the last hours. `window` are the hours (UTC) of the
    day in which least was spent. A push to a list takes `minutes` of Campaigns' windows and no credits; as
    many records written in CRM take `in_crm` credits.
    """

    runs: int
    in_crm: int
    contacts: int
    minutes: int
    runs_out_at: datetime | None
    window: tuple[int, int] | None


def forecast(spent: Spending, *, contacts: int, now: datetime) -> Forecast:
    """Return what the next day holds if it goes on like the last hours."""
    runs = sum(spent.next_runs.values())
    rate = _rate(spent)
    ahead = spent.left - runs
    runs_out_at = None
    if spent.allowance and ahead <= 0:
        runs_out_at = now
    elif spent.allowance and rate > 0 and ahead / rate < HOURS:
        runs_out_at = now + timedelta(hours=ahead / rate)
    return Forecast(
        runs=runs,
        in_crm=-(-contacts // PER_CREDIT),
        contacts=contacts,
        minutes=max(
            -(-contacts * minutes // most)
            for minutes, most in PUSHES.items()
            if contacts >= most or minutes == 1
        ),
        runs_out_at=runs_out_at,
        window=_window(spent, now) if any(spent.by_hour) else None,
    )


def _rate(spent: Spending) -> float:
    """Return credits an hour beyond what falls out of the window again: the last three hours' pace."""
    recent = spent.by_hour[:3]
    if not recent:
        return 0.0
    falling = sum(spent.by_hour[-3:]) / 3 if len(spent.by_hour) == HOURS else 0.0
    return max(0.0, sum(recent) / len(recent) - falling)


def _window(spent: Spending, now: datetime) -> tuple[int, int]:
    """Return the two hours of the day, as hours UTC, in which least was spent."""
    hours = (*spent.by_hour, *(0,) * (HOURS - len(spent.by_hour)))[:HOURS]
    quiet = min(range(HOURS), key=lambda ago: (hours[ago] + hours[ago - 1], -ago))
    begin = (now - timedelta(hours=quiet)).hour
    return begin, (begin + 2) % HOURS


def calls(spent: Spending, planned: Forecast) -> Point:
    """Say what was used and by whom, what is to come, and when to push."""
    short = planned.runs_out_at is not None
    tight = bool(spent.allowance) and spent.used + spent.held + planned.runs > TIGHT * spent.allowance
    known = bool(spent.allowance)
    return Point(
        number=6,
        key="budget",
        title="API budget, used and planned",
        verdict=Verdict.FAIL if short else Verdict.WARN if tight or not known else Verdict.PASS,
        people=0,
        oldest=None,
        amount=spent.used,
        unit=("credit", "credits"),
        summary=_summary(spent, planned),
        how=(
            "Every call is booked before it is sent; the allowance follows from edition and users, "
            "what others use from the product's own header where it tells."
        ),
        advice=_advice(spent, planned),
        figures=_figures(spent, planned),
    )


def _figures(spent: Spending, planned: Forecast) -> tuple[Figure, ...]:
    told = {
        "allowance of 24 hours (credits)": spent.allowance,
        "used in the last 24 hours": spent.used,
        **{_used(name): count for name, count in spent.by_whom.items()},
        **({} if spent.unknown is None else {"used by other applications": spent.unknown}),
        **({"taken in advance by nodes at work, at most": spent.held} if spent.held else {}),
        "kept for withdrawals": spent.reserve,
        **{f"next {name}": count for name, count in spent.next_runs.items()},
    }
    if planned.contacts:
        told[f"push of {planned.contacts:,} contacts to a list: minutes, no credits"] = planned.minutes
        told[f"write of {planned.contacts:,} records in CRM: credits"] = planned.in_crm
    return tuple(Figure(label=label, value=value, people=False) for label, value in told.items())


def _used(name: str) -> str:
    return f"used {name}" if name.startswith("by ") else f"used by {name}"


def _summary(spent: Spending, planned: Forecast) -> str:
    if not spent.allowance:
        return f"{spent.used:,} credits used in 24 hours; the allowance is unknown."
    share = 100 * spent.used / spent.allowance
    text = f"{spent.used:,} of {spent.allowance:,} credits ({share:.1f} %, {spent.edition}) used in 24 hours"
    if planned.runs_out_at is not None:
        return f"{text}; at this pace they end at {planned.runs_out_at:%H:%M} UTC."
    return f"{text}; the next runs take {planned.runs:,}."


def _advice(spent: Spending, planned: Forecast) -> tuple[str, ...]:
    advice = []
    if planned.runs_out_at is not None:
        advice.append(
            f"Postpone pushes until after {planned.runs_out_at + DAY:%d %B %H:%M} UTC or raise watch_seconds "
            "in policies/enforcement.toml; withdrawals keep their reserve."
        )
    if not spent.allowance:
        advice.append(
            "Give the refresh token ZohoCRM.org.READ and ZohoCRM.users.READ; the allowance needs both."
        )
    if planned.window is not None and planned.contacts:
        advice.append(
            f"Push between {planned.window[0]:02d}:00 and {planned.window[1]:02d}:00 UTC, when least is used."
        )
    return tuple(advice)
