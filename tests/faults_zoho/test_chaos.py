"""Everything at once: a share of all calls goes wrong in every way there is, until the night is over."""

from collections import Counter
from datetime import timedelta

import pytest

from service.errors import ServiceError
from service.reconciler.enforce import carry_out
from service.zoho.simulator.chaos import WAYS
from tests.faults_zoho.conftest import Org
from tests.faults_zoho.doors import twice_enforced
from tests.reconciler.conftest import stopped
from tests.running import withdrawal

NIGHTS = 3


def troubled(made: Org) -> Counter:
    return Counter(str(row[3]) for row in made.sim.world.requests if not str(row[3]).isdigit())


def rage(made: Org, **profile: object) -> None:
    made.sim.control("chaos", {"latency_ms": 1, **profile})


def calm(made: Org) -> None:
    made.sim.control("chaos", {"rate": 0})


@pytest.mark.parametrize(("rate", "seed"), [(0.05, 1), (0.25, 2)])
def test_nights_of_chaos_open_nothing_and_converge_when_it_ends(stored, figures, rate, seed):
    email, ends = stored.ordinary(), []
    rage(stored, rate=rate, seed=seed)
    for night in range(NIGHTS):
        ends.append(stored.attempt())
        if night == 0:
            stored.intake.record([withdrawal(email, received_at=stored.clock())])
        carry_out(stored.context, worker="a")
        stored.doors()
        stored.later(timedelta(hours=25))
    assert sum(troubled(stored).values()) >= NIGHTS
    figures(
        f"chaos at rate {rate}",
        nights=NIGHTS,
        runs_that_ended_early=sum(isinstance(end, ServiceError) for end in ends),
        troubles=sum(troubled(stored).values()),
    )
    calm(stored)
    results = stored.converges()
    assert stopped(stored, email)
    assert len(results) <= 2


WITHOUT_LOCKS = [way for way in WAYS if not way.startswith("too_many")]
"""A 429 is a lock-out to the client of Campaigns: with it no run would get as far as here."""


@pytest.mark.parametrize("seed", [4, 5, 6])
def test_writes_in_the_middle_of_chaos_are_settled_and_each_is_recorded_once(org, seed):
    first = org.attempt(
        progress=org.at("planned", lambda: rage(org, rate=0.4, seed=seed, ways=WITHOUT_LOCKS))
    )
    assert sum(troubled(org).values()) >= NIGHTS
    assert org.writes() > 0
    org.later(timedelta(hours=25))
    org.attempt()
    calm(org)
    org.converges()
    assert first.changes is not None
    assert twice_enforced(org) == []
