"""A log that is published, and somebody outside who attests it."""

from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta

import pytest

from service.anchor.anchors import Anchors
from service.anchor.attestation import Attestation
from service.db import Database, migrate
from service.ledger.publication import Publisher
from service.ledger.quorum import Group, LogPolicy, Party
from service.ledger.store import Store
from tests.anchor.witness import Witness, witness_server
from tests.running import ORIGIN, keys


class Clock:
    """A clock that stands where a test puts it."""

    def __init__(self):
        self.at = datetime.now(UTC).replace(microsecond=0)

    def __call__(self) -> datetime:
        return self.at

    def seconds(self) -> float:
        return self.at.timestamp()

    def forward(self, **by: float) -> None:
        self.at += timedelta(**by)


class Log:
    """A log of one's own: grows, publishes, and asks for words about itself."""

    def __init__(self, db: Database, clock: Clock):
        self.db, self.clock = db, clock
        self.store = Store(ORIGIN, keys().log)
        self.publisher = Publisher(db, self.store, keys().log, keys().log_pq, clock)
        with db.begin() as tx:
            if not self.store.exists(tx):
                self.store.begin(tx)

    def grow(self, number: int, text: str = "entry") -> None:
        with self.db.begin() as tx:
            edge = self.store.lock(tx)
            self.store.append(tx, edge, [f"{text} {edge.size + n}".encode() for n in range(number)])

    def publish(self, number: int = 3, text: str = "entry"):
        self.grow(number, text)
        return self.publisher.publish()

    def anchors(self, *parties: Party, authorities=(), quorum: str | None = None, **more) -> Anchors:
        attestation = Attestation(policy=policy_of(*parties, quorum=quorum), authorities=tuple(authorities))
        return Anchors(
            self.db, self.store, [keys().log.verifier], attestation, now=self.clock, timeout_s=2.0, **more
        )


def policy_of(*parties: Party, quorum: str | None = None) -> LogPolicy:
    names = tuple(party.name for party in parties)
    groups = (Group(name="all", threshold=len(names), members=names),) if quorum == "all" else ()
    return LogPolicy(witnesses=parties, groups=groups, quorum=quorum)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def log(database: Database, clock: Clock) -> Log:
    return Log(database, clock)


@pytest.fixture
def make_witness(tmp_path, clock: Clock) -> Iterator[Callable[..., Witness]]:
    """Return how to make a witness with a memory of its own."""
    opened: list[Database] = []

    def make(name: str = "w1.example", url: str | None = None, **more) -> Witness:
        db = Database(url or f"sqlite:///{tmp_path / name}.db")
        opened.append(db)
        return Witness(name, db, {ORIGIN: keys().log.verifier, **more}, clock.seconds)

    yield make
    for db in opened:
        db.close()


@pytest.fixture
def witness(make_witness) -> Witness:
    return make_witness()


@pytest.fixture
def party(witness) -> Iterator[Party]:
    """Return a witness that can be asked."""
    with witness_server(witness) as url:
        yield witness.party(url)


@pytest.fixture
def other_url(tmp_path) -> str:
    """Return the URL of a second database, for another history of the same log."""
    url = f"sqlite:///{tmp_path / 'other.db'}"
    migrate(url)
    return url


@contextmanager
def log_in(url: str, clock: Clock) -> Iterator[Log]:
    """Open the log in another database."""
    with closing(Database(url)) as db:
        yield Log(db, clock)
