"""Wait for something that another thread or process does."""

import time
from collections.abc import Callable


def until(happened: Callable[[], bool], *, within_s: float) -> None:
    """Return as soon as it happened; fails if it does not in time."""
    end = time.monotonic() + within_s
    while not happened():
        assert time.monotonic() < end, f"nothing happened within {within_s} s"
        time.sleep(0.01)
