"""Who is being served at this moment: the calls of an application that count against its concurrency."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass


@dataclass(slots=True)
class Crowd:
    """Calls in flight: all of CRM's, and those of the kinds that share a smaller limit."""

    calls: int = 0
    heavy: int = 0

    @contextmanager
    def enter(self, *, heavy: bool, limit: int, heavy_limit: int) -> Iterator[bool]:
        """Count a call while it is served; yield whether it is one too many."""
        self.calls += 1
        self.heavy += heavy
        try:
            yield self.calls > limit or (heavy and self.heavy > heavy_limit)
        finally:
            self.calls -= 1
            self.heavy -= heavy
