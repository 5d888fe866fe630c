"""A whole site over a real ledger on SQLite, with a clock that a test can turn."""

import shutil
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path

import pytest
from argon2 import PasswordHasher
from litestar.testing import TestClient
from sqlalchemy import insert

from service import policy as policies
from service.db import Database, account
from service.intake import Intake
from service.ledger.entry import decode
from service.policy import PolicySet
from service.settings import load
from service.vault.keys import open_keys
from service.web.auth import EVENTS_WRITE, HISTORY_READ, KeyRing, create_key
from service.web.edge import Edge
from service.web.sessions import SESSION, cookie_name, open_session
from service.web.site import create_site

HERE = Path(__file__).resolve().parent
ORIGIN = "ledger.localhost/web-tests"
PASSWORD = "correct horse battery"
SECOND_FORM = """
[purposes.events]
title = "Invitations to events"
double_opt_in = true

[forms.events]
purpose = "events"
title = "Invitations"
language = "en"
notice_version = "1"
notice = "Yes, invite me."
"""


class Clock:
    """The time, which passes only when a test says so."""

    def __init__(self) -> None:
        self.time = datetime.now(UTC).replace(second=20, microsecond=0)

    def __call__(self) -> datetime:
        return self.time

    def advance(self, **units: float) -> None:
        self.time += timedelta(**units)


@dataclass(frozen=True, kw_only=True)
class Site:
    """What the tests of the edge touch: the parts, keys for programs, and requests."""

    edge: Edge
    clock: Clock
    client: TestClient
    writer: str
    reader: str

    def event(self, key: str | None = "k1", **fields: object):
        """Post one event, by default a withdrawal of somebody."""
        body = {"category": "consent.withdrawn", "email": "cyd@example.com", **fields}
        headers = {"Authorization": f"Bearer {self.writer}"}
        if key is not None:
            headers["Idempotency-Key"] = key
        return self.client.post("/api/events", json=body, headers=headers)

    def events(self, values: list[object], **headers: str):
        """Post an array of events."""
        headers = {"Authorization": f"Bearer {self.writer}", **headers}
        return self.client.post("/api/events", json=values, headers=headers)

    def ask(self, path: str, email: str, **fields: object):
        """Ask about an address as a program."""
        body = {"email": email, "purpose_of_lookup": "a test", **fields}
        return self.client.post(path, json=body, headers={"Authorization": f"Bearer {self.reader}"})

    def history(self, email: str, **fields: object) -> dict:
        """Return the history of an address as JSON."""
        answer = self.ask("/api/history", email, **fields)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def categories(self, email: str) -> list[str]:
        """Return what happened to an address, look-ups left out."""
        return [r["category"] for r in self.history(email)["records"] if r["category"] != "access"]

    def subscribe(self, email: str, **fields: object):
        """Post the newsletter form as a program would."""
        body = {"email": email, "control": "tick", "page_url": "https://acme.example/join", **fields}
        return self.client.post("/forms/newsletter", json=body)

    def token(self, email: str, purpose: str = "marketing") -> str:
        """Return the unsubscribe token of a known person."""
        with self.edge.db.read() as tx:
            return self.edge.intake.vault.token(self.edge.intake.vault.find(tx, email), purpose)

    @property
    def size(self) -> int:
        """Return how many entries the log has."""
        with self.edge.db.read() as tx:
            return self.edge.intake.store.size(tx)

    @property
    def questions(self) -> int:
        """Return how many look-ups the log holds."""
        with self.edge.db.read() as tx:
            store = self.edge.intake.store
            entries = store.entries(tx, range(store.size(tx))).values()
        return sum(decode(entry).category == "access" for entry in entries)


@pytest.fixture(scope="session")
def policy(tmp_path_factory: pytest.TempPathFactory) -> PolicySet:
    """Return the shipped policies with a second purpose, which needs a confirmation."""
    folder = tmp_path_factory.mktemp("policies") / "policies"
    shutil.copytree(HERE.parent.parent / "policies", folder)
    with (folder / "purposes.toml").open("a") as purposes:
        purposes.write(SECOND_FORM)
    return policies.load(folder)


@pytest.fixture
def clock() -> Clock:
    """Return the tests' clock."""
    return Clock()


@pytest.fixture
def make_edge(
    sqlite_url: str, tmp_path: Path, policy: PolicySet, clock: Clock
) -> Iterator[Callable[..., Edge]]:
    """Return how to build an edge over a running ledger, at a public address of the test's choice."""
    settings = load(database_url=sqlite_url, state_dir=tmp_path, origin=ORIGIN)
    with (
        closing(Database(sqlite_url)) as db,
        Intake(db, open_keys(settings), policy, origin=ORIGIN, now=clock) as intake,
    ):
        yield lambda public_url="http://testserver.local": Edge(
            public_url=public_url, policy=policy, db=db, intake=intake, keyring=KeyRing(db, clock), now=clock
        )


@pytest.fixture
def edge(make_edge: Callable[..., Edge]) -> Edge:
    """Return an edge over a running ledger."""
    return make_edge()


@pytest.fixture
def site(edge: Edge, clock: Clock) -> Iterator[Site]:
    """Yield the site with a client in front."""
    with TestClient(create_site(edge)) as client:
        yield Site(
            edge=edge,
            clock=clock,
            client=client,
            writer=create_key(edge.db, "shop", [EVENTS_WRITE], at=clock()),
            reader=create_key(edge.db, "audit", [HISTORY_READ], at=clock()),
        )


@pytest.fixture
def auditor(site: Site) -> Site:
    """Return the site with an auditor's browser logged in."""
    let_in(site, "ada", "auditor")
    return site


def let_in(site: Site, name: str, role: str) -> None:
    """Give somebody an account with the tests' password, and their browser a session."""
    give_account(site.edge.db, name, role)
    token = open_session(site.edge.db, name, site.edge.now())
    site.client.cookies.set(cookie_name(site.edge, SESSION), token, domain="testserver.local")


def give_account(db: Database, name: str, role: str) -> None:
    """Make an account without the half second that a hash costs; the hash is real, and cheap."""
    row = {"name": name, "password": _hashed(), "role": role, "created_at": datetime.now(UTC), "failures": 0}
    with db.begin() as tx:
        tx.execute(insert(account).values(**row))


@cache
def _hashed() -> str:
    return PasswordHasher(time_cost=1, memory_cost=64, parallelism=1).hash(PASSWORD)


def log_in(client: TestClient, name: str, password: str):
    """Fetch the log-in page and post it."""
    token = form_token(client.get("/login").text)
    fields = {"name": name, "password": password, "form_token": token}
    return client.post("/login", data=fields, follow_redirects=False)


def form_token(page: str) -> str:
    """Return the token in the first form of a page."""
    return page.split('name="form_token" value="')[1].split('"', maxsplit=1)[0]
