"""What every call costs, and when Zoho stops answering: credits of CRM, call windows of Campaigns."""

from collections import Counter, deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import ceil

DAY_S = 86_400


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """At most `calls` within `seconds`; one more locks the endpoint for `lock_s`."""

    calls: int
    seconds: int
    lock_s: int


D5 = (Window(calls=500, seconds=300, lock_s=1800),)
"""The limit of most Campaigns endpoints: 500 calls in 5 minutes, locked for 30."""


@dataclass(slots=True)
class Meter:
    """Counters since the last reset, and the memory that the limits need."""

    calls: Counter[str] = field(default_factory=Counter)
    by_endpoint: Counter[str] = field(default_factory=Counter)
    credits: int = 0
    _spent: deque[tuple[float, int]] = field(default_factory=deque)
    _spent_sum: int = 0
    _seen: dict[str, deque[float]] = field(default_factory=dict)
    _locked: dict[str, float] = field(default_factory=dict)

    def count(self, product: str, endpoint: str) -> None:
        """Count one call of `product` (crm, campaigns or oauth)."""
        self.calls[product] += 1
        self.by_endpoint[endpoint] += 1

    def spend(self, cost: int, *, allowance: int, now: float) -> int | None:
        """Take `cost` credits from the rolling 24 hours; return what is left, None if it is not enough."""
        if self.left(allowance, now) < cost:
            return None
        self._spent.append((now, cost))
        self._spent_sum += cost
        self.credits += cost
        return allowance - self._spent_sum

    def left(self, allowance: int, now: float) -> int:
        """Return the credits that the rolling 24 hours still hold."""
        while self._spent and self._spent[0][0] <= now - DAY_S:
            self._spent_sum -= self._spent.popleft()[1]
        return allowance - self._spent_sum

    def spent(self) -> list[tuple[float, int]]:
        """Return what was spent when, oldest first."""
        return list(self._spent)

    def remember(self, at: float, cost: int) -> None:
        """Count what was spent before this program began."""
        self._spent.append((at, cost))
        self._spent_sum += cost

    def admit(self, endpoint: str, windows: Sequence[Window], *, factor: int, now: float) -> bool:
        """Return whether Campaigns takes one more call of `endpoint`; a call too many locks it."""
        if self._locked.get(endpoint, 0.0) > now:
            return False
        seen, most = self._seen.setdefault(endpoint, deque()), max(w.calls for w in windows) * factor
        for window in windows:
            limit = window.calls * factor
            if len(seen) >= limit and seen[-limit] > now - window.seconds:
                self._locked[endpoint] = now + window.lock_s
                return False
        seen.append(now)
        if len(seen) > most:
            seen.popleft()
        return True

    def within(self, name: str, calls: int, seconds: int, *, now: float) -> bool:
        """Return whether one more of `calls` fits into the last `seconds`; too many locks nothing."""
        seen = self._seen.setdefault(name, deque())
        while seen and seen[0] <= now - seconds:
            seen.popleft()
        if len(seen) >= calls:
            return False
        seen.append(now)
        return True

    def windows(self) -> dict[str, list[tuple[int, int]]]:
        """Return how many calls each window has seen by the second, begun seconds counting whole."""
        return {name: list(Counter(ceil(at) for at in seen).items()) for name, seen in self._seen.items()}

    def locks(self, now: float) -> dict[str, float]:
        """Return until when each endpoint is locked that still is."""
        return {name: until for name, until in self._locked.items() if until > now}

    def recall(self, windows: Mapping[str, Sequence[tuple[int, int]]], locks: Mapping[str, float]) -> None:
        """Take up the windows and locks of the program before this one."""
        self._seen = {
            name: deque(float(at) for at, calls in seen for _ in range(calls))
            for name, seen in windows.items()
        }
        self._locked = dict(locks)

    def reset(self) -> None:
        """Forget all counts, credits, windows and locks."""
        self.calls.clear()
        self.by_endpoint.clear()
        self.credits = self._spent_sum = 0
        self._spent.clear()
        self._seen.clear()
        self._locked.clear()
