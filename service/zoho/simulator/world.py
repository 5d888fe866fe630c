"""One simulated organisation: its memory, its clock, and everything that has been switched or broken."""

import asyncio
import sqlite3
from collections import deque
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from service.zoho.simulator.clock import Clock
from service.zoho.simulator.crowd import Crowd
from service.zoho.simulator.faults import Faults
from service.zoho.simulator.meter import Meter
from service.zoho.simulator.names import GUESTS
from service.zoho.simulator.news import News
from service.zoho.simulator.outbox import Outbox
from service.zoho.simulator.ranks import Ranks
from service.zoho.simulator.schema import connect, wipe
from service.zoho.simulator.switches import Value, defaults
from service.zoho.simulator.tokens import Tokens

LAST_REQUESTS = 300
FIRST_RECORD_ID = 5725767000001000000


def _last() -> deque[tuple[float, str, str, int | str, int]]:
    return deque(maxlen=LAST_REQUESTS)


@dataclass(slots=True)
class World:
    """Everything a handler may look at; handlers run one after the other, so nothing here is locked."""

    contacts: int
    seed: int
    clock: Clock = field(default_factory=Clock)
    path: str = ":memory:"
    db: sqlite3.Connection = field(init=False)
    switches: dict[str, Value] = field(default_factory=defaults)
    meter: Meter = field(default_factory=Meter)
    tokens: Tokens = field(default_factory=Tokens)
    faults: Faults = field(default_factory=Faults)
    last_record_id: int = FIRST_RECORD_ID
    unique: dict[str, list[str]] = field(default_factory=dict)
    removed: set[str] = field(default_factory=lambda: {GUESTS})
    """Modules, and fields as `Module.Field`, that an admin has taken away or not made yet."""
    news: list[News] = field(default_factory=list)
    workflow_runs: list[tuple[str, int]] = field(default_factory=list)
    requests: deque[tuple[float, str, str, int | str, int]] = field(default_factory=_last)
    crowd: Crowd = field(default_factory=Crowd)
    outbox: Outbox = field(default_factory=Outbox)
    ticker: asyncio.Task[None] | None = None
    ranks: Ranks = field(init=False)
    ports: dict[int, str] = field(default_factory=dict)
    """The data centres that have a port of their own; every other port is the home's."""

    def __post_init__(self) -> None:
        self.db = connect(self.path)
        self.ranks = Ranks(self.db)
        self.faults.tell = self._broke

    def _broke(self, method: str, path: str, how: str) -> None:
        self.requests.append((self.clock.now(), method, path, how, 0))

    def forget(self) -> None:
        """Begin anew with an empty organisation at the real time; whoever holds this world keeps it."""
        self.db.close()
        wipe(self.path)
        self.db = connect(self.path)
        self.ranks = Ranks(self.db)
        self.requests.clear()
        self.clock.ahead_s = 0.0
        self.tokens = Tokens()
        self.last_record_id = FIRST_RECORD_ID
        self.unique = {}
        self.removed = {GUESTS}
        self.news = []
        self.workflow_runs.clear()
        self.outbox.forget()
        self.settle()

    def settle(self) -> None:
        """Forget counts, limits, faults and switched switches; people stay as they are."""
        self.meter.reset()
        self.faults.clear()
        self.switches = defaults()

    @property
    def home(self) -> str:
        """Return the data centre that holds the organisation."""
        return self.text("dc.home")

    def centre_at(self, base_url: str) -> str:
        """Return the data centre that answers at this address."""
        return self.ports.get(urlsplit(base_url).port or 0, self.home)

    def is_foreign(self, base_url: str) -> bool:
        """Return whether this is the address of a data centre that knows nothing of the organisation."""
        return self.centre_at(base_url) != self.home

    def addresses(self) -> dict[str, str]:
        """Return where each data centre with a port of its own answers."""
        return {name: f"http://127.0.0.1:{port}" for port, name in self.ports.items()}

    def address_of(self, centre: str, otherwise: str) -> str:
        """Return where a data centre answers; never a real host, to which a client would send secrets."""
        return self.addresses().get(centre, otherwise)

    def number(self, name: str) -> int:
        """Return a switch that is a number."""
        value = self.switches[name]
        assert isinstance(value, int), name
        return value

    def text(self, name: str) -> str:
        """Return a switch that is a text."""
        value = self.switches[name]
        assert isinstance(value, str), name
        return value

    def on(self, name: str) -> bool:
        """Return a switch that is on or off."""
        return self.switches[name] is True

    def next_record_id(self) -> int:
        """Return a number that no CRM record has or had."""
        self.last_record_id += 1
        return self.last_record_id
