"""A clock that steps back, leaps ahead, or an import that took an hour: the log stays in order."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest

from service.db import Database
from service.intake.epoch import epoch
from service.intake.erasures import ErasureList
from service.intake.forgetting import erase
from service.ledger.entry import decode
from service.ledger.publication import Publisher, latest
from service.ledger.replay.piece import DISORDER
from tests import running
from tests.scrubbing import findings

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
STEPS = {"ten minutes back": -10, "ninety days ahead, and back": 129_600, "an hour back": -60}


class Clock:
    def __init__(self) -> None:
        self.time = NOON

    def __call__(self) -> datetime:
        return self.time


def received(clock: Clock, number: int) -> list:
    return [replace(one, received_at=clock()) for one in running.people(number, f"at-{clock():%m-%d-%H-%M}")]


@pytest.mark.parametrize("minutes", STEPS.values(), ids=STEPS)
def test_no_entry_is_received_long_before_its_neighbour_however_the_clock_steps(
    database: Database, tmp_path, minutes, figures
):
    clock = Clock()
    listed = ErasureList(tmp_path / "erasures")
    with running.start(database, now=clock, erasures=listed) as intake:
        publisher = Publisher(database, intake.store, running.keys().log, running.keys().log_pq, clock)
        published = [publisher.publish()]
        for step in (0, minutes, 0, -minutes):
            clock.time = NOON + timedelta(minutes=step)
            running.indexes(intake.record(received(clock, 5)))
            epoch(intake)
            published.append(publisher.publish())
        erase(intake, f"at-{NOON:%m-%d-%H-%M}-0@example.org", reason="request")
    with database.read() as tx:
        entries = intake.store.entries(tx, range(intake.store.size(tx)))
        assert latest(tx).published_at == max(one.published_at for one in published)
    times = [decode(data).at for _, data in sorted(entries.items())]
    worst = max(before - after for before, after in pairwise(times))
    assert worst <= DISORDER
    assert [one.published_at for one in published] == sorted(one.published_at for one in published)
    ids = [decode(data).id for _, data in sorted(entries.items()) if decode(data).source]
    assert ids == sorted(ids)
    assert findings(database) == []
    figures(
        f"clock {minutes:+} min ({database.dialect})",
        entries=len(times),
        worst_disorder_s=worst.total_seconds(),
    )


def test_an_import_that_arrives_late_among_live_events_is_recorded_in_order(database):
    now = datetime.now(UTC)
    with running.start(database) as intake:
        told = running.people(40)
        late = [
            replace(one, received_at=now - timedelta(hours=2)) if n % 2 else one for n, one in enumerate(told)
        ]
        running.indexes(intake.record(late))
        with database.read() as tx:
            entries = intake.store.entries(tx, range(intake.store.size(tx)))
    times = [decode(data).at for _, data in sorted(entries.items())]
    assert all(before - after <= DISORDER for before, after in pairwise(times))
    assert findings(database) == []
