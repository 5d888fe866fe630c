"""What the audit says about one of the seven gotchas: a verdict, how many, since when, what to do. Pure."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum


class Verdict(StrEnum):
    """How one point came out; `worst` of several is the last in this order."""

    PASS = "pass"  # noqa: S105  # a verdict, no password
    WARN = "warn"
    FAIL = "fail"


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One number behind a point, in words that stand before it; `people` False where others are counted."""

    label: str
    value: int
    oldest: datetime | None = None
    people: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """One gotcha, measured.

    `people` are those concerned, `oldest` the earliest known case among them. `how` says how we know,
    `advice` what to do, in the products' own menu words. Where other things than people are counted,
    `amount` is how many, and `unit` what they are called. `before` is what the audit before counted.
    """

    number: int
    key: str
    title: str
    verdict: Verdict
    people: int
    oldest: datetime | None
    summary: str
    how: str
    advice: tuple[str, ...]
    figures: tuple[Figure, ...] = ()
    before: int | None = None
    amount: int = 0
    unit: tuple[str, str] | None = None
    """One of them, and many; None where people are counted."""

    @property
    def measure(self) -> int:
        """Return what the trend follows: people, or what else is counted."""
        return self.people if self.unit is None else self.amount

    @property
    def trend(self) -> int | None:
        """Return how many more than the time before; None the first time."""
        return None if self.before is None else self.measure - self.before


@dataclass(frozen=True, slots=True, kw_only=True)
class Audit:
    """All seven points at one moment, from what run `run_id` read."""

    id: int
    at: datetime
    run_id: int
    read_at: datetime
    points: tuple[Point, ...]

    @property
    def verdict(self) -> Verdict:
        """Return the worst of the points' verdicts."""
        return worst(point.verdict for point in self.points)

    @property
    def is_safe(self) -> bool:
        """Return whether a sync may be called safe: no two records of one address contradict each other."""
        return all(point.verdict is not Verdict.FAIL for point in self.points if point.key == "duplicates")


def worst(verdicts: Iterable[Verdict]) -> Verdict:
    """Return the worst of some verdicts; of none, a pass."""
    return max(verdicts, key=list(Verdict).index, default=Verdict.PASS)


def compared(points: Sequence[Point], earlier: Iterable[Point]) -> tuple[Point, ...]:
    """Return the points with what each counted in the audit before, if it counted the same."""
    before = {(point.key, point.unit): point.measure for point in earlier}
    return tuple(replace(point, before=before.get((point.key, point.unit))) for point in points)
