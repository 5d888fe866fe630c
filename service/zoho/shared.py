"""One budget for the organisation: what this node takes of it, in blocks, from the database.

A call is booked here before it is sent, mostly out of a block that is in the database already: a crash
forgets no call, and counts a few too many. What a block has left goes back when it ends.
"""

import os
import socket
import threading
import time
from collections import Counter
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final, NamedTuple
from uuid import uuid4

import msgspec
import structlog
from sqlalchemy.exc import DBAPIError

from service.db import Database
from service.errors import ZohoDenied
from service.zoho import blocks, licence
from service.zoho.blocks import Use
from service.zoho.gate import LIFE, Node, SharedGate
from service.zoho.licence import HEAVY_AT_A_TIME, LEARNED_FOR, Licence
from service.zoho.listings import Noted
from service.zoho.pace import utc_now
from service.zoho.places import PATIENCE_S, SharedSlots
from service.zoho.quota import CAMPAIGNS_DEFAULT, CAMPAIGNS_LIMITS, DAY_S, HEAVY, OAUTH_LIMITS, Limit
from service.zoho.shared_ranges import SharedRanges
from service.zoho.transport import Transport
from service.zoho.wire import Clock

log = structlog.get_logger(__name__)

CREDITS: Final = "crm"
"""The account of CRM's credits."""
OUTCOMES: Final = "campaigns.outcomes"
"""Where the calls of the last reading of outcomes are kept: children of split tests tell nothing else."""
ASK_AGAIN = timedelta(minutes=10)
"""How long a refusal to tell the edition is remembered: somebody has to grant a scope first."""
KNOWN_FOR_S = 60.0
"""How long what another node learnt about the edition may stay unseen."""


class _Kept(NamedTuple):
    """`Noted` as it is stored; what earlier versions stored has neither key."""

    sent_at: datetime | None
    calls: dict[str, int]
    key: str = ""
    keys: int = 1


class SharedQuota:
    """The organisation's budget as one node sees it; safe for many threads, shared by its clients."""

    def __init__(
        self,
        db: Database,
        *,
        clock: Clock = utc_now,
        own_allowance: int | None = None,
        patience_s: float = PATIENCE_S,
    ) -> None:
        """`own_allowance` replaces the edition's credits a day: part of them may belong to others.

        `patience_s` is how long a call waits for its place among those in flight.
        """
        self._db = db
        self._clock = clock
        self._own_allowance = own_allowance
        self._name = f"{socket.gethostname()}:{os.getpid()}:{uuid4().hex[:8]}"
        self._known: tuple[Licence, datetime] | None = None
        self._known_until = 0.0
        self._ask_again_at: datetime | None = None
        self._sweeper: threading.Timer | None = None
        self._mutex = threading.Lock()
        self.slots = SharedSlots(
            db, clock=clock, node=self._name, limit=self._at_a_time, patience_s=patience_s
        )
        self.ranges = SharedRanges(db, clock=clock)
        node = Node(
            db=db,
            now=clock,
            name=self._name,
            limits=self.limits,
            licence=lambda: self.licence,
            guesses=self._guesses,
            took=self._watch,
        )
        self._gates = {
            "crm": SharedGate(node, CREDITS, credits=True),
            "campaigns": SharedGate(node, "campaigns", credits=False),
            "oauth": SharedGate(node, "oauth", credits=False),
        }

    def gate(self, product: str) -> SharedGate:
        """Return what a product's calls pass before they are sent."""
        return self._gates[product]

    @property
    def licence(self) -> Licence:
        """Return what is known about the edition, as of a minute ago at most; else the least of all."""
        known = self._known if time.monotonic() < self._known_until else self._read()
        return Licence() if known is None else known[0]

    @property
    def allowance(self) -> int:
        """Return the credits of any 24 hours."""
        return self._own_allowance or self.licence.allowance

    @property
    def time_zone(self) -> str | None:
        """Return where CRM says that the organisation is, once it was asked."""
        return self.licence.time_zone

    @property
    def is_learned(self) -> bool:
        """Return whether the edition was asked for lately, by any node."""
        known = self._read()
        return known is not None and known[1] > self._clock() - LEARNED_FOR

    def learn(self, crm: Transport) -> Licence:
        """Ask CRM about the edition unless a node did lately, and keep it for all nodes.

        Who may not ask goes on with what is known, and tries again later. Raises other `ZohoError`s.
        """
        now = self._clock()
        if self.is_learned or (self._ask_again_at is not None and now < self._ask_again_at):
            return self.licence
        try:
            found = licence.read(crm)
        except ZohoDenied as error:
            log.warning("quota.edition", code=error.code, endpoint=error.endpoint)
            self._ask_again_at = now + ASK_AGAIN
            return self.licence
        with self._db.begin() as tx:
            blocks.keep_facts(tx, CREDITS, msgspec.json.encode(found).decode(), now)
        self._read()
        return self.licence

    def note_outcomes(self, calls: Sequence[Noted]) -> None:
        """Keep how many calls of Campaigns the last reading of outcomes took, by campaign and endpoint."""
        with self._db.begin() as tx:
            blocks.keep_facts(tx, OUTCOMES, msgspec.json.encode(calls).decode(), self._clock())

    @property
    def outcome_calls(self) -> Sequence[Noted] | None:
        """Return the calls of the last reading of outcomes, None if there was none."""
        with self._db.read() as tx:
            found = blocks.facts(tx, OUTCOMES)
        if found is None:
            return None
        rows = msgspec.json.decode(found[0], type=list[_Kept])
        return [Noted(one.sent_at, Counter(one.calls), one.key, one.keys) for one in rows]

    def limits(self, account: str) -> Sequence[Limit]:
        """Return the limits of an account, within which all nodes stay together."""
        if account == CREDITS:
            return (Limit(self.allowance, DAY_S),)
        product, _, endpoint = account.partition(":")
        return OAUTH_LIMITS if product == "oauth" else CAMPAIGNS_LIMITS.get(endpoint, CAMPAIGNS_DEFAULT)

    def used(self, account: str = CREDITS) -> Use:
        """Return what counts against the first limit of an account now, after giving back what is idle."""
        self.settle()
        with self._db.read() as tx:
            return blocks.used(tx, account, self.limits(account)[0], self._clock())

    def settle(self) -> None:
        """Give back everything that is not in use at this moment."""
        for gate in self._gates.values():
            gate.settle()
        self.slots.settle()

    def close(self) -> None:
        """Give everything back; what is used afterwards is taken anew."""
        with self._mutex:
            if self._sweeper is not None:
                self._sweeper.cancel()
                self._sweeper = None
        self.settle()

    def _watch(self) -> None:
        """See to it that what ends is given back even if this node sends nothing more."""
        with self._mutex:
            if self._sweeper is None:
                self._sweeper = threading.Timer(LIFE.total_seconds(), self._sweep)
                self._sweeper.daemon = True
                self._sweeper.start()

    def _read(self) -> tuple[Licence, datetime] | None:
        with self._db.read() as tx:
            found = blocks.facts(tx, CREDITS)
        self._known = None if found is None else (msgspec.json.decode(found[0], type=Licence), found[1])
        self._known_until = time.monotonic() + KNOWN_FOR_S
        return self._known

    def _guesses(self) -> bool:
        return not self._own_allowance and self.licence == Licence()

    def _sweep(self) -> None:
        with self._mutex:
            self._sweeper = None
        try:
            for gate in self._gates.values():
                gate.settle(ended_by=self._clock())
        except DBAPIError as error:
            log.warning("quota.settle", kind=type(error).__name__)
        if any(gate.is_open for gate in self._gates.values()):
            self._watch()

    def _at_a_time(self, kind: str) -> int:
        return HEAVY_AT_A_TIME if kind == HEAVY else self.licence.at_a_time
