"""Durable `POST /api/events` per second, beside a bare ASGI handler and a naive design, asked in turn."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from statistics import median
from typing import Final

from service.cli.bench.load import array_posts, load, single_posts
from service.cli.bench.targets import Target

BARE: Final = "bare ASGI"
NAIVE: Final = "naive, "
Ask = Callable[[Target, str], Iterator[bytes]]


@dataclass(frozen=True, slots=True)
class Round:
    """What one measurement of one target gave: answers per second, seconds per answer, sorted.

    `cpu_us` is what an answer took of the server's processor time, `database_us` of PostgreSQL's.
    """

    rate: float
    times: list[float]
    cpu_us: float
    database_us: float

    def percentile_ms(self, share: float) -> float:
        """Return how long the answer at this share of all took."""
        return self.times[int(share * (len(self.times) - 1))] * 1000


def measure_posts(targets: dict[str, Target], connections: int, *, rounds: int, seconds: float) -> str:
    """Return a table of all targets over this many connections, each asked in turn, medians of the rounds."""

    def ask(target: Target, name: str) -> Iterator[bytes]:
        return single_posts(target.port, target.token, f"{name}-{connections}")

    found = _measure(targets, ask, connections, rounds=rounds, seconds=seconds)
    rates = {name: median(one.rate for one in taken) for name, taken in found.items()}
    columns = ("per s", "of bare", "x naive", "p50 ms", "p99 ms", "CPU us", "db us")
    lines = [f"{f'{connections} connections':18}" + "".join(f" {name:>8}" for name in columns)]
    for name, taken in found.items():
        p50, p99 = (median(one.percentile_ms(part) for one in taken) for part in (0.5, 0.99))
        cpu, database = median(one.cpu_us for one in taken), median(one.database_us for one in taken)
        naive = rates.get(NAIVE + name.split(" x")[0])
        better = f"{rates[name] / naive:.1f}" if naive else ""
        lines.append(
            f"{name:18} {rates[name]:>8.0f} {rates[name] / rates[BARE]:>8.3f} {better:>8} "
            f"{p50:>8.1f} {p99:>8.1f} {cpu:>8.0f} {database:>8.0f}"
        )
    return "\n".join(lines) + "\n"


def measure_arrays(targets: dict[str, Target], length: int, *, rounds: int, seconds: float) -> str:
    """Return what posting arrays gives, over one connection and over two."""
    lines = [f"arrays of {length:<8} {'events/s':>8} {'CPU us':>8} {'db us':>8}"]
    for connections in (1, 2):

        def ask(target: Target, name: str, connections: int = connections) -> Iterator[bytes]:
            return array_posts(target.port, target.token, f"array-{name}-{connections}", length)

        found = _measure(targets, ask, connections, rounds=rounds, seconds=seconds)
        for name, taken in found.items():
            rate = median(one.rate for one in taken) * length
            cpu = median(one.cpu_us for one in taken) / length
            database = median(one.database_us for one in taken) / length
            lines.append(f"{f'{name}, {connections} at once':18} {rate:>8.0f} {cpu:>8.0f} {database:>8.0f}")
    return "\n".join(lines) + "\n"


def _measure(
    targets: dict[str, Target], ask: Ask, connections: int, *, rounds: int, seconds: float
) -> dict[str, list[Round]]:
    """Measure every target once in each round, so that a busy minute slows all of them alike."""
    streams = {
        name: ask(target, name.lower().replace(", ", "-").replace(" ", "-"))
        for name, target in targets.items()
    }
    found: dict[str, list[Round]] = {name: [] for name in targets}
    for turn in range(rounds + 1):
        for name, target in targets.items():
            taken = _round(target, streams[name], connections, seconds)
            if turn:  # the first round warms up
                found[name].append(taken)
    return found


def _round(target: Target, requests: Iterator[bytes], connections: int, seconds: float) -> Round:
    cpu, database = target.cpu_s(), target.database_cpu_s()
    began = time.perf_counter()
    took = sorted(load(target.port, connections, seconds, requests))
    lasted = time.perf_counter() - began
    cpu, database = target.cpu_s() - cpu, target.database_cpu_s() - database
    count = len(took) or 1
    return Round(len(took) / lasted, took, cpu / count * 1e6, database / count * 1e6)
