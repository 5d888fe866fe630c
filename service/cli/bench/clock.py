"""How long something took, by the clock and in processor time; the latter says more on a busy machine."""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass


@dataclass(slots=True)
class Spent:
    """Seconds by the clock, and of processors: this process's threads and its ended children."""

    wall_s: float = 0.0
    cpu_s: float = 0.0


@contextmanager
def spent() -> Iterator[Spent]:
    """Yield what tells what the block took, once it has ended."""
    found, wall, cpu = Spent(), time.perf_counter(), _cpu_s()
    yield found
    found.wall_s, found.cpu_s = time.perf_counter() - wall, _cpu_s() - cpu


def _cpu_s() -> float:
    return sum(os.times()[:4])
