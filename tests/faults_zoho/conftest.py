"""An organisation whose Zoho goes wrong on demand, beside its ledger; waiting costs simulated time alone."""

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import timedelta

import pytest

from service.db import Database
from service.errors import ServiceError
from service.reconciler.context import Context, Progress
from service.reconciler.diff import REPORTED
from service.reconciler.run import RunResult
from service.zoho.mapping import connect
from service.zoho.pace import Pace
from service.zoho.simulator import running
from service.zoho.simulator.server import Simulator
from tests.faults_zoho.doors import Doors, disagreements
from tests.reconciler.conftest import Clock, World, settings
from tests.running import start

PEOPLE = 60
RERUNS = 4
A_DAY = timedelta(hours=25)
"""Longer than what was not taken is left alone, and than any window, lock-out or allowance."""


@dataclass(slots=True, kw_only=True)
class Org(World):
    """One organisation, one ledger, and who watches that nothing is opened."""

    doors: Doors

    def later(self, span: timedelta) -> None:
        later(self.sim, self.clock, span)

    def run(self, *, applying: bool = True, **parts) -> RunResult:
        """A run during which the doors are watched."""
        try:
            return World.run(self, applying=applying, **{"progress": self.doors, **parts})
        finally:
            self.doors()

    def attempt(self, **parts) -> RunResult | ServiceError:
        """A run that a fault may end."""
        try:
            return self.run(**parts)
        except ServiceError as error:
            return error

    def converges(self, runs: int = RERUNS) -> list[RunResult | ServiceError]:
        """Run again, a day apart, until nothing remains; then neither product disagrees with the ledger."""
        results = [self.attempt()]
        while not _is_clean(results[-1]) and len(results) < runs:
            self.later(A_DAY)
            results.append(self.attempt())
        writes, size = self.writes(), self.size()
        last = self.run()
        assert set(last.found) <= set(REPORTED), last.found
        assert not last.plan.changes
        assert not last.tripped
        assert (self.writes(), self.size()) == (writes, size)
        assert disagreements(self, self.doors.db) == {}
        return results

    def at(self, step: str, act: Callable[[], object], *, nth: int = 1) -> Progress:
        """Return a progress that does `act`, once, when a step that begins so comes for the n-th time."""
        left = nth

        def progress(now: str, _done: int, _total: int) -> None:
            nonlocal left
            self.doors()
            left -= now.startswith(step)
            if left == 0 and now.startswith(step):
                act()
                self.doors.somebody_else()

        return progress

    def breaks(self, match: str, how: str, times: int = 1, **more: object) -> None:
        """Let the next matching requests go wrong."""
        self.sim.control("break", {"match": match, "how": how, "times": times, **more})

    def mends(self) -> None:
        """Let nothing go wrong any more."""
        self.sim.world.faults.clear()

    def switch(self, **switches: object) -> None:
        """Switch, with two underscores for the dot of a name."""
        self.sim.control("switches", {name.replace("__", "."): value for name, value in switches.items()})


@dataclass(slots=True)
class Midway:
    """Campaigns' client, in whose first listing of members something happens behind so many rows."""

    client: object
    act: Callable[[], object] | None
    rows: int = 25

    def __getattr__(self, name: str) -> object:
        return getattr(self.client, name)

    def members(self, *asked: object) -> Iterator[object]:
        for number, row in enumerate(self.client.members(*asked), start=1):
            yield row
            if number == self.rows and self.act is not None:
                act, self.act = self.act, None
                act()


@dataclass(slots=True)
class Overnight:
    """CRM's client, in whose first reading of records something happens behind so many rows."""

    client: object
    act: Callable[[], object] | None
    rows: int = 5

    def __getattr__(self, name: str) -> object:
        return getattr(self.client, name)

    def observe(self, **asked: object) -> Iterator[object]:
        for number, row in enumerate(self.client.observe(**asked), start=1):
            yield row
            if number == self.rows and self.act is not None:
                act, self.act = self.act, None
                act()


def _is_clean(result: RunResult | ServiceError) -> bool:
    return isinstance(result, RunResult) and not result.remaining and not result.tripped


def later(sim: Simulator, clock: Clock, span: timedelta) -> None:
    """Let the same time pass for the organisation and for us."""
    clock.ahead += span
    sim.control("clock", {"advance_s": span.total_seconds()})


def patient(sim: Simulator, clock: Clock) -> Pace:
    """The client's pace, whose pauses pass in simulated time."""
    return Pace(
        clock=clock, chance=lambda: 0.5, sleep=lambda s: later(sim, clock, timedelta(seconds=max(s, 0)))
    )


@contextmanager
def beside(sim: Simulator, url: str, db: sqlite3.Connection, *, pace: Pace | None = None) -> Iterator[Org]:
    """A ledger beside a running organisation whose tables are `db`."""
    database, clock = Database(url), Clock()
    with (
        start(database, now=clock) as intake,
        connect(settings(sim.url), intake.policy, pace=pace or patient(sim, clock)) as zoho,
    ):
        context = Context(
            db=database,
            intake=intake,
            policy=intake.policy,
            crm=zoho.crm,
            campaigns=zoho.campaigns,
            now=clock,
        )
        yield Org(
            sim=sim,
            db=database,
            intake=intake,
            zoho=zoho,
            clock=clock,
            context=context,
            doors=Doors(db),
        )
    database.close()


@contextmanager
def reconnected(made: Org, policy=None, **changes: object) -> Iterator[Org]:
    """The same organisation and ledger through other clients, by other settings or rules."""
    policy = policy or made.intake.policy
    secrets = settings(made.sim.url).model_copy(update=changes)
    with connect(secrets, policy, pace=patient(made.sim, made.clock)) as zoho:
        context = replace(made.context, policy=policy, crm=zoho.crm, campaigns=zoho.campaigns)
        yield replace(made, zoho=zoho, context=context)


@contextmanager
def organisation(url: str, people: int = PEOPLE, *, seed: int = 1) -> Iterator[Org]:
    """Some people with every trouble that there is, and a ledger that knows nobody yet."""
    with running(contacts=people, seed=seed) as sim, beside(sim, url, sim.world.db) as made:
        yield made


@pytest.fixture
def org(sqlite_url: str) -> Iterator[Org]:
    """Sixty people on SQLite."""
    with organisation(sqlite_url) as made:
        yield made


@pytest.fixture
def stored(database_url: str) -> Iterator[Org]:
    """The same on every store in turn."""
    with organisation(database_url) as made:
        yield made


@pytest.fixture
def small(org: Org) -> Org:
    """What fixtures made for a smaller organisation ask for."""
    return org
