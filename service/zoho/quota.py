"""What may still be spent: windows of calls per endpoint, lock-outs, and the till that books each call.

Numbers from facts `zoho-campaigns` sections 2 and 7 and `zoho-crm` section 6. We stop at nine
tenths of what the vendor allows, because a lock-out costs half an hour of unsubscribes. The windows
here are those of one process; `shared` keeps them in the database, for all nodes.
"""

import threading
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, Protocol

from service.reconciler.port import Meter
from service.zoho.ranges import OwnRanges, Ranges
from service.zoho.wire import Clock

Budget = Callable[[str, str, int], None]
"""Called with (product, endpoint, credits) before each call; raises `QuotaExhausted` to forbid it."""


@dataclass(frozen=True, slots=True)
class Limit:
    """At most `calls` (or credits) in any `seconds`."""

    calls: int
    seconds: int

    def open_to(self, spare: float) -> int:
        """Return how much is open to those who leave a part to others; one call is always."""
        return max(1, int(self.calls * (1 - spare)))


DAY_S: Final = 86_400
SLOTS: Final = "crm.slots"
HEAVY: Final = "crm.heavy"
"""Calls of CRM at a time: of all kinds, and of those that share a smaller limit."""

CAMPAIGNS_DEFAULT = (Limit(450, 300),)
CAMPAIGNS_LIMITS: Mapping[str, tuple[Limit, ...]] = {
    "json/listsubscribe": (Limit(450, 60), Limit(12_000, 3_600), Limit(70_000, DAY_S)),
    "addlistsubscribersinbulk": (Limit(1_800, 60),),
    "custom/add": (Limit(90, 300),),
}
OAUTH_LIMITS = (Limit(9, 600),)
"""Ten access tokens per refresh token in ten minutes, else it is blocked (facts `zoho-crm`, 1.2)."""

LARGEST_WRITE: Final = 10
"""Credits of a write of 100 records, the largest that counts as heavy; bulk jobs cost more and do not."""

COQL_CREDITS = ((200, 1), (1_000, 2), (2_000, 3))
"""(largest LIMIT, credits)."""


def coql_credits(limit: int) -> int:
    """Return what one COQL call with this LIMIT costs."""
    return next(cost for largest, cost in COQL_CREDITS if limit <= largest)


def write_credits(records: int) -> int:
    """Return what inserting or updating so many records in one call costs: one per ten."""
    return max(1, -(-records // 10))


class Gate(Protocol):
    """What the calls of one product pass before they are sent."""

    def price(self, endpoint: str, credits: int) -> int:  # noqa: A002  # Zoho's own word for its unit
        """Return what a call costs, by what is known about it."""

    def reserve(self, endpoint: str, spare: float = 0.0, *, units: int = 1, who: str = "") -> datetime | None:
        """Book one call of so many units and return None, or nothing and return when there is room again."""

    def give_back(self, endpoint: str, spare: float = 0.0, *, units: int = 1, who: str = "") -> None:
        """Take back the booking of a call that was not sent after all."""

    def lock(self, endpoint: str, until: datetime, spare: float = 0.0) -> None:
        """Refuse `endpoint` until then: the vendor has refused a call that left so much to others."""

    def locked_until(self, endpoint: str, spare: float = 0.0) -> datetime | None:
        """Return until when the vendor has locked `endpoint` for calls that leave so much, or None."""

    def remaining(self, units: int) -> None:
        """Hear what the vendor says is left of the day."""


class Slots(Protocol):
    """How many calls run at a time."""

    def enter(self, kinds: tuple[str, ...], *, spare: float) -> AbstractContextManager[None]:
        """Hold one place of each kind while a call runs; raises `QuotaExhausted` where none comes free."""


class Quota(Protocol):
    """All limits of one organisation."""

    @property
    def slots(self) -> Slots:
        """Return how many calls run at a time."""

    @property
    def allowance(self) -> int | None:
        """Return the credits of any 24 hours, None where nobody counts them."""

    @property
    def time_zone(self) -> str | None:
        """Return where CRM says that the organisation is, once it was asked."""

    @property
    def is_learned(self) -> bool:
        """Return whether nobody has to ask for the edition now."""

    @property
    def ranges(self) -> Ranges:
        """Return how many rows of a listing Campaigns gives at once."""

    def gate(self, product: str) -> Gate:
        """Return what the calls of a product pass."""

    def settle(self) -> None:
        """Give back what was taken and not used."""

    def close(self) -> None:
        """Give back what was taken and not used, for good."""


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

    def price(self, endpoint: str, credits: int) -> int:  # noqa: A002, ARG002  # the gate's signature
        """Return what a call costs by our own tables."""
        return credits

    def reserve(
        self,
        endpoint: str,
        spare: float = 0.0,
        *,
        units: int = 1,  # noqa: ARG002  # calls alone are counted
        who: str = "",  # noqa: ARG002  # for reports, which one process alone has none of
    ) -> datetime | None:
        """Count one call and return None, or count nothing and return when there is room again.

        `spare` is the share of each window that is left to others. What it costs is not counted here.
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

    def give_back(self, endpoint: str, spare: float = 0.0, *, units: int = 1, who: str = "") -> None:  # noqa: ARG002  # the gate's signature
        """Take back the latest call."""
        with self._mutex:
            if sent := self._sent.get(endpoint):
                sent.pop()

    def remaining(self, units: int) -> None:
        """Hear what the vendor says is left; one process alone does nothing with it."""

    def lock(self, endpoint: str, until: datetime, spare: float = 0.0) -> None:  # noqa: ARG002  # one client
        """Refuse `endpoint` until then: the vendor has said so."""
        with self._mutex:
            self._locked[endpoint] = until

    def locked_until(self, endpoint: str, spare: float = 0.0) -> datetime | None:  # noqa: ARG002  # one client
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
        calls = limit.open_to(spare)
        if len(sent) < calls:
            return now
        return max(now, sent[-calls] + timedelta(seconds=limit.seconds))


def campaigns_windows(clock: Clock) -> Windows:
    """Return the windows of one organisation's Campaigns; several clients of it share them."""
    return Windows(clock, usual=CAMPAIGNS_DEFAULT, special=CAMPAIGNS_LIMITS)


class Unlimited:
    """Places without end, for one process alone."""

    def enter(self, kinds: tuple[str, ...], *, spare: float = 0.0) -> AbstractContextManager[None]:  # noqa: ARG002  # the slots' signature
        """Let a call run."""
        return nullcontext()


class Alone:
    """All limits of one process alone, in memory: for tests and tools without a database."""

    allowance: int | None = None
    time_zone: str | None = None
    is_learned = True

    def __init__(self, clock: Clock, *, campaigns: Windows | None = None) -> None:
        self.slots: Slots = Unlimited()
        self.ranges: Ranges = OwnRanges()
        self._gates: Mapping[str, Gate] = {
            "crm": Windows(clock),
            "campaigns": campaigns or campaigns_windows(clock),
            "oauth": Windows(clock, usual=OAUTH_LIMITS),
        }

    def gate(self, product: str) -> Gate:
        """Return what the calls of a product pass."""
        return self._gates[product]

    def settle(self) -> None:
        """Give nothing back: nobody else waits for it."""

    def close(self) -> None:
        """Give nothing back: as above."""


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
