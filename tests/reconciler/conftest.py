"""A simulated organisation, a ledger beside it, and the parts of a reconciliation over real HTTP."""

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import func, select

from service.consent import Category
from service.db import Database, happening, leaf, run, standing, subject
from service.intake import Intake
from service.reconciler.context import Context
from service.reconciler.run import RunResult, reconcile
from service.settings import Settings
from service.zoho.mapping import Zoho, connect
from service.zoho.pace import Pace
from service.zoho.simulator import running
from service.zoho.simulator.server import Simulator
from tests.running import start


class CrashError(Exception):
    """The process ends here."""


@dataclass(slots=True)
class Clock:
    """The real time, moved forward at will: the simulated organisation lives in real time."""

    ahead: timedelta = timedelta(0)

    def __call__(self) -> datetime:
        return datetime.now(UTC) + self.ahead


@dataclass(slots=True)
class World:
    """One organisation and one ledger; `context` is what a run is handed."""

    sim: Simulator
    db: Database
    intake: Intake
    zoho: Zoho
    clock: Clock
    context: Context
    steps: list[str] = field(default_factory=list)

    def run(self, *, applying: bool = True, **parts) -> RunResult:
        return reconcile(replace(self.context, **parts), applying=applying)

    def planted(self) -> dict[str, int]:
        return self.sim.control("truth")["planted"]

    def emails(self, kind: str) -> list[str]:
        return self.sim.control(f"truth/{kind}")["emails"]

    def person(self, email: str) -> dict:
        return self.sim.control("person", {"email": email})

    def ordinary(self) -> str:
        """Somebody in CRM and on the list of whom nothing is wrong."""
        row = self.sim.world.db.execute(
            "SELECT c.email FROM contacts c JOIN members m ON m.contact_id = c.id WHERE m.status = 'active'"
            " AND c.email NOT IN (SELECT email FROM truth) ORDER BY c.id LIMIT 1"
        ).fetchone()
        return row[0]

    def writes(self) -> int:
        """How many writing calls both products have seen."""
        calls = self.sim.control("meter")["by_endpoint"]
        words = ("PUT ", "/listsubscribe", "/listunsubscribe", "/contactdonotmail")
        return sum(count for name, count in calls.items() if any(word in name for word in words))

    def size(self) -> int:
        with self.db.read() as tx:
            return tx.scalar(select(func.count()).select_from(leaf))

    def events(self, email: str) -> list[str]:
        with self.db.read() as tx:
            sub = self.intake.vault.find(tx, email)
            return [] if sub is None else [event.category.value for event in self.intake.events(tx, sub)]

    def standing(self, email: str):
        with self.db.read() as tx:
            sub = self.intake.vault.find(tx, email)
            return tx.execute(
                select(standing.c.state, standing.c.must_stop).where(standing.c.sub == sub)
            ).one()

    def enforcements(self) -> list[dict]:
        """What every enforcement entry says, opened."""
        return [fields for category, _, fields in self.ledger() if category == Category.ENFORCEMENT]

    def ledger(self) -> list[tuple]:
        with self.db.read() as tx:
            rows = tx.execute(
                select(happening.c.idx, happening.c.category, subject.c.address_index)
                .outerjoin(subject, subject.c.sub == happening.c.sub)
                .where(happening.c.category != Category.SUBJECT_OPENED)
            ).all()
            opened = self.intake.vault.openings(tx, [row.idx for row in rows])
        return [(row.category, row.address_index, dict(opened[row.idx].fields)) for row in rows]

    def told(self) -> Counter:
        """The ledger as a bag of (category, person, target): what two histories must share."""
        return Counter((category, who, fields.get("target")) for category, who, fields in self.ledger())

    def products(self) -> dict[str, int]:
        """Totals of both products that a run can change."""
        state = self.sim.control("state")
        return {name: state[name] for name in ("opted_out", "dnm", "refused", "active", "unsub", "bounce")}

    def runs(self) -> list[tuple[str, str]]:
        with self.db.read() as tx:
            return [tuple(row) for row in tx.execute(select(run.c.state, run.c.summary).order_by(run.c.id))]


def settings(url: str) -> Settings:
    return Settings(
        zoho_accounts_url=url,
        zoho_crm_url=url,
        zoho_campaigns_url=url,
        zoho_client_id="1000.SIMULATOR",
        zoho_client_secret="simulator-secret",
        zoho_refresh_token="1000.simulator.refresh",
    )


def hasty() -> Pace:
    """The client's pace without its pauses."""
    return Pace(sleep=lambda _seconds: None)


@contextmanager
def world(url: str, contacts: int, **more) -> Iterator[World]:
    database, clock = Database(url), Clock()
    with (
        running(contacts=contacts, seed=1) as sim,
        start(database, now=clock) as intake,
        connect(settings(sim.url), intake.policy, pace=hasty(), **more) as zoho,
    ):
        context = Context(
            db=database,
            intake=intake,
            policy=intake.policy,
            crm=zoho.crm,
            campaigns=zoho.campaigns,
            now=clock,
        )
        yield World(sim=sim, db=database, intake=intake, zoho=zoho, clock=clock, context=context)
    database.close()


@contextmanager
def fresh_clients(made: World) -> Iterator[World]:
    """The same organisation, later: through other clients, whose windows are empty."""
    with connect(settings(made.sim.url), made.intake.policy, pace=hasty()) as zoho:
        yield replace(made, context=replace(made.context, crm=zoho.crm, campaigns=zoho.campaigns))


def stopped(made: World, email: str) -> bool:
    person = made.person(email)
    off_lists = "active" not in person["campaigns"]["lists"].values()
    return off_lists and all(record["Email_Opt_Out"] for record in person["crm"])


@pytest.fixture
def organisation(database_url: str) -> Iterator[World]:
    """100 people, on every store in turn."""
    with world(database_url, 100) as made:
        yield made


@pytest.fixture
def small(sqlite_url: str) -> Iterator[World]:
    """A few people with one of each trouble, on SQLite."""
    with world(sqlite_url, 30) as made:
        yield made


@pytest.fixture
def begun(sqlite_url: str) -> Callable[..., World]:
    """Return how to begin a world that needs parts of its own."""
    return lambda contacts=30, **more: world(sqlite_url, contacts, **more)
