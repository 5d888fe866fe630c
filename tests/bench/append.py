"""Measure how many events per second go through `Intake`, and where the sequencer's time goes.

    python -m tests.servers sqlite -- python -m tests.bench.append [--profile]

Durable settings are the server's own: `tests.servers` starts PostgreSQL without fsync, so a figure that
counts disks needs `CONSENT_DATABASE_URL` of a real one.
"""

import cProfile
import os
import pstats
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager

from service.db import Database, migrate
from service.intake import Claim, Intake
from tests import running

CALLERS = 64
ARRAY = 1000
SINGLES = 200
ROUNDS = 5
LINES = 35  # of the profile


def main(url: str, *, profiled: bool) -> None:
    migrate(url)
    with closing(Database(url)) as database, running.start(database) as intake:
        if profiled:
            _profile(database)
        _single(intake)
        _callers(intake)
        _arrays(intake, "new people", lambda n: running.people(ARRAY, f"bulk-{n}"))
        _arrays(intake, "known people", lambda _: running.people(ARRAY, "bulk-0"))
        _arrays(
            intake,
            "withdrawals",
            lambda _: [running.withdrawal(f"bulk-0-{n}@example.org") for n in range(ARRAY)],
        )
        with database.read() as tx:
            print(f"{database.dialect}: the log has {intake.store.size(tx)} entries")


def _single(intake: Intake) -> None:
    with _timed("one caller, one event at a time", SINGLES):
        for told in running.people(SINGLES, "single"):
            intake.submit(told).result()


def _callers(intake: Intake) -> None:
    claims = running.people(CALLERS * 50, "callers")
    with ThreadPoolExecutor(CALLERS) as pool, _timed(f"{CALLERS} callers", len(claims)):
        list(pool.map(lambda told: intake.submit(told).result(), claims))


def _arrays(intake: Intake, name: str, claims: Callable[[int], Sequence[Claim]]) -> None:
    batches = [claims(n) for n in range(ROUNDS)]
    with _timed(f"arrays of {ARRAY}, {name}", ARRAY * ROUNDS):
        for batch in batches:
            intake.record(batch)


def _profile(database: Database) -> None:
    """Print where the time of the sequencer's thread goes while it records new people."""
    profile = cProfile.Profile()
    intake = running.start(database)
    run = intake._sequencer._thread._target  # type: ignore[attr-defined]  # the thread's own work, wrapped
    intake._sequencer._thread._target = lambda: profile.runcall(run)  # type: ignore[attr-defined]  # the same
    with intake:
        for n in range(ROUNDS):
            intake.record(running.people(ARRAY, f"profile-{n}"))
    pstats.Stats(profile).sort_stats("tottime").print_stats(LINES)


@contextmanager
def _timed(name: str, events: int) -> Iterator[None]:
    wall, cpu = time.perf_counter(), time.process_time()
    yield
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    print(f"{name:40} {events / wall:8.0f} events/s   {cpu / events * 1e6:6.0f} us of CPU each")


if __name__ == "__main__":
    main(os.environ["CONSENT_DATABASE_URL"], profiled="--profile" in sys.argv)
