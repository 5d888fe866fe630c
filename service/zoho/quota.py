"""What may still be spent: windows of calls per endpoint, lock-outs, and the till that books each call.

Numbers from facts `zoho-campaigns` sections 2 and 7 and `zoho-crm` section 6. We stop at nine
tenths of what the vendor allows, because a lock-out costs half an hour of unsubscribes.
"""

import threading
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from service.reconciler.port import Meter
from service.zoho.wire import Clock

Budget = Callable[[str, str, int], None]
"""Called with (product, endpoint, credits) before each call; raises `QuotaExhausted` to forbid it."""


@dataclass(frozen=True, slots=True)
class Limit:
    """At most `calls` in any `seconds`."""

    calls: int
    seconds: int


CAMPAIGNS_DEFAULT = (Limit(450, 300),)
CAMPAIGNS_LIMITS: Mapping[str, tuple[Limit, ...]] = {
    "json/listsubscribe": (Limit(450, 60), Limit(12_000, 3_600), Limit(70_000, 86_400)),
}
OAUTH_LIMITS = (Limit(9, 600),)
"""Ten access tokens per refresh token in ten minutes, else it is blocked (facts `zoho-crm`, 1.2)."""

COQL_CREDITS = ((200, 1), (1_000, 2), (2_000, 3))
"""(largest LIMIT, credits)."""


def coql_credits(limit: int) -> int:
    """Return what one COQL call with this LIMIT costs."""
    return next(cost for largest, cost in COQL_CREDITS if limit <= largest)


def write_credits(records: int) -> int:
    """Return what inserting or updating so many records in one call costs: one per ten."""
    return max(1, -(-records // 10))


class Windows:
    """Sliding windows per endpoint, and the endpoints that are locked until a known time."""

    def __init__(
        self,
        clock: Clock,
        *,
        usual: tuple[Limit, ...] = (),
        special: Mapping[str, tuple[Limit, ...]] | None = None,
    ) -> None:
        self._clock = clock
        self._usual = usual
        self._special = special or {}
        self._sent: dict[str, deque[datetime]] = {}
        self._locked: dict[str, datetime] = {}
        self._mutex = threading.Lock()

    def reserve(self, endpoint: str, spare: float = 0.0) -> datetime | None:
        """Count one call and return None, or count nothing and return when there is room again.

        `spare` is the share of each window that is left to others.
        """
        with self._mutex:
            now = self._clock()
            if (until := self._locked.get(endpoint)) is not None and until > now:
                return until
            sent = self._sent.setdefault(endpoint, deque())
            free_at = max(
                (self._free_at(sent, limit, spare, now) for limit in self._limits(endpoint)), default=now
            )
            if free_at > now:
                return free_at
            self._remember(sent, endpoint, now)
            return None

    def lock(self, endpoint: str, until: datetime) -> None:
        """Refuse `endpoint` until then: the vendor has said so."""
        with self._mutex:
            self._locked[endpoint] = until

    def locked_until(self, endpoint: str) -> datetime | None:
        """Return until when the vendor has locked `endpoint`, or None."""
        with self._mutex:
            until = self._locked.get(endpoint)
            return until if until is not None and until > self._clock() else None

    def _limits(self, endpoint: str) -> tuple[Limit, ...]:
        return self._special.get(endpoint, self._usual)

    def _remember(self, sent: deque[datetime], endpoint: str, now: datetime) -> None:
        longest = max((limit.seconds for limit in self._limits(endpoint)), default=0)
        while sent and sent[0] <= now - timedelta(seconds=longest):
            sent.popleft()
        if longest:
            sent.append(now)

    @staticmethod
    def _free_at(sent: deque[datetime], limit: Limit, spare: float, now: datetime) -> datetime:
        """Return when the call that lies so many back leaves the window."""
        calls = max(1, int(limit.calls * (1 - spare)))
        if len(sent) < calls:
            return now
        return max(now, sent[-calls] + timedelta(seconds=limit.seconds))


def campaigns_windows(clock: Clock) -> Windows:
    """Return the windows of one organisation's Campaigns; several clients of it share them."""
    return Windows(clock, usual=CAMPAIGNS_DEFAULT, special=CAMPAIGNS_LIMITS)


class Till:
    """Books each attempt before it is sent; safe for many threads."""

    def __init__(self, meter: Meter, budget: Budget | None = None) -> None:
        self.meter = meter
        self._budget = budget
        self._mutex = threading.Lock()

    def book(self, product: str, endpoint: str, credit: int = 0) -> None:
        """Ask the budget, then count; raises the budget's `QuotaExhausted`."""
        if self._budget is not None:
            self._budget(product, endpoint, credit)
        with self._mutex:
            self.meter.book(product, credits=credit)
