"""How long to wait and how often to try: the clock, the sleep and the chance that clients are given."""

import random
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

from service.zoho.wire import Clock

LONGEST_PAUSE_S = 30.0
"""A vendor that asks for more patience than this gets an error instead; the caller plans anew."""

TOKENS_LEFT = 1 / 3
"""The share of the access tokens of ten minutes that commands leave to the worker: three of nine."""


def utc_now() -> datetime:
    """Return the time of day."""
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """`patience_s` is how long a call may wait for our own window before it is refused.

    `spare` is the share of each window that these calls leave to other clients of the same windows; `who`
    says in reports what they were for. `spare_tokens` is the share of access tokens that is left
    to the worker.
    """

    clock: Clock = utc_now
    sleep: Callable[[float], None] = time.sleep
    chance: Callable[[], float] = random.random
    attempts: int = 4
    first_pause_s: float = 0.4
    patience_s: float = 0.0
    spare: float = 0.0
    spare_tokens: float = 0.0
    who: str = "withdrawals"

    def pauses(self) -> Iterator[float | None]:
        """Yield, per attempt, what to wait after it failed: doubling with jitter, None after the last."""
        for attempt in range(self.attempts - 1):
            yield min(LONGEST_PAUSE_S, self.first_pause_s * 2.0**attempt) * (0.5 + self.chance() / 2)
        yield None

    def rest(self, pause_s: float | None) -> None:
        """Sleep, unless there is nothing left to wait for."""
        if pause_s:
            self.sleep(pause_s)
