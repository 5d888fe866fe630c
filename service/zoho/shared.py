"""One budget for the organisation: what this node takes of it, in blocks, from the database.

A call is booked here before it is sent, mostly out of a block that is in the database already: a crash
forgets no call, and counts a few too many. What a block has left goes back when it ends.
"""

import os
import socket
import threading
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final
from uuid import uuid4

import msgspec
import structlog
from sqlalchemy.exc import DBAPIError

from service.db import Database
from service.zoho import blocks, licence
from service.zoho.blocks import Block, Use, Wish
from service.zoho.licence import HEAVY_AT_A_TIME, LEARNED_FOR, Licence
from service.zoho.pace import utc_now
from service.zoho.places import PATIENCE_S, SharedSlots
from service.zoho.quota import CAMPAIGNS_DEFAULT, CAMPAIGNS_LIMITS, DAY_S, HEAVY, OAUTH_LIMITS, Limit
from service.zoho.transport import Transport
from service.zoho.wire import Clock

log = structlog.get_logger(__name__)

CREDITS: Final = "crm"
"""The account of CRM's credits."""
BLOCK = 50
"""Units of a block where there is plenty."""
LIFE = timedelta(seconds=60)
"""How long a block may be used, at most; of short windows, a twentieth of the window."""
SEEN_EVERY = timedelta(seconds=30)
"""How often the vendor's own count of what is left is kept."""


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
        self._node = f"{socket.gethostname()}:{os.getpid()}:{uuid4().hex[:8]}"
        self._known: tuple[Licence, datetime] | None = None
        self._sweeper: threading.Timer | None = None
        self._mutex = threading.Lock()
        self.slots = SharedSlots(
            db, clock=clock, node=self._node, limit=self._at_a_time, patience_s=patience_s
        )
        self._gates = {
            "crm": SharedGate(self, CREDITS, credits=True),
            "campaigns": SharedGate(self, "campaigns", credits=False),
            "oauth": SharedGate(self, "oauth", credits=False),
        }

    @property
    def db(self) -> Database:
        """Return where the blocks are."""
        return self._db

    @property
    def node(self) -> str:
        """Return the name of this node among all takers."""
        return self._node

    def now(self) -> datetime:
        """Return the time by this node's clock."""
        return self._clock()

    def gate(self, product: str) -> "SharedGate":
        """Return what a product's calls pass before they are sent."""
        return self._gates[product]

    @property
    def licence(self) -> Licence:
        """Return what is known about the edition: from memory, else the database, else the least of all."""
        known = self._known or self._read()
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
        """Ask CRM about the edition unless a node did lately, for all nodes; raises `ZohoError`."""
        if not self.is_learned:
            found, now = licence.read(crm), self._clock()
            with self._db.begin() as tx:
                blocks.keep_facts(tx, CREDITS, msgspec.json.encode(found).decode(), now)
            self._known = (found, now)
        return self.licence

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

    def watch(self) -> None:
        """See to it that what ends is given back even if this node sends nothing more."""
        with self._mutex:
            if self._sweeper is None:
                self._sweeper = threading.Timer(LIFE.total_seconds(), self._sweep)
                self._sweeper.daemon = True
                self._sweeper.start()

    def _read(self) -> tuple[Licence, datetime] | None:
        with self._db.read() as tx:
            found = blocks.facts(tx, CREDITS)
        if found is not None:
            self._known = (msgspec.json.decode(found[0], type=Licence), found[1])
        return self._known

    def _sweep(self) -> None:
        with self._mutex:
            self._sweeper = None
        try:
            for gate in self._gates.values():
                gate.settle(ended_by=self._clock())
            self.slots.settle()
        except DBAPIError as error:
            log.warning("quota.settle", kind=type(error).__name__)
        if not self.slots.empty or any(gate.is_open for gate in self._gates.values()):
            self.watch()

    def _at_a_time(self, kind: str) -> int:
        return HEAVY_AT_A_TIME if kind == HEAVY else self.licence.at_a_time


class SharedGate:
    """What one product's calls pass before they are sent: `service.zoho.quota.Gate`, for all nodes."""

    def __init__(self, quota: SharedQuota, name: str, *, credits: bool) -> None:  # noqa: A002  # Zoho's own word
        self._quota = quota
        self._name = name
        self._credits = credits
        self._mutex = threading.Lock()
        self._blocks: dict[tuple[str, str, float], Block] = {}
        self._locks: dict[str, datetime] = {}
        self._seen_at: datetime | None = None

    @property
    def is_open(self) -> bool:
        """Return whether any block may still be used."""
        return bool(self._blocks)

    def price(self, endpoint: str, credits: int) -> int:  # noqa: A002  # Zoho's own word for its unit
        """Return what a call costs by what the organisation told of it."""
        return self._quota.licence.price(endpoint, credits) if self._credits else credits

    def reserve(self, endpoint: str, spare: float = 0.0, *, units: int = 1, who: str = "") -> datetime | None:
        """Book a call and return None, or book nothing and return when there is room again."""
        units = units if self._credits else 1
        key = (self._account(endpoint), who, spare)
        with self._mutex:
            now = self._quota.now()
            if (until := self._locked(endpoint, spare, now)) is not None:
                return until
            block = self._blocks.get(key)
            if block is None or block.open_until <= now or block.units - block.used < units:
                taken = self._exchange(key, units, now)
                if isinstance(taken, datetime):
                    return taken
                if (until := self._locked(endpoint, spare, now)) is not None:
                    return until
                block = taken
            block.used, block.used_at = block.used + units, now
            return None

    def give_back(self, endpoint: str, spare: float = 0.0, *, units: int = 1, who: str = "") -> None:
        """Take back the booking of a call that was not sent after all."""
        units = units if self._credits else 1
        with self._mutex:
            block = self._blocks.get((self._account(endpoint), who, spare))
            if block is not None:
                block.used = max(0, block.used - units)

    def lock(self, endpoint: str, until: datetime, spare: float = 0.0) -> None:
        """Refuse `endpoint` until then, on every node and after a restart: the vendor has said so.

        CRM's 429 does not tell a crowd from a used-up day. One that met a call with a `spare` part rests
        only such calls: a withdrawal asks for itself.
        """
        account = self._lock_of(endpoint, mass=self._credits and spare > 0)
        with self._mutex:
            self._locks[account] = until
            with self._quota.db.begin() as tx:
                blocks.lock(tx, account, until)

    def locked_until(self, endpoint: str, spare: float = 0.0) -> datetime | None:
        """Return until when the vendor has locked `endpoint` for calls that leave so much, or None."""
        return self._locked(endpoint, spare, self._quota.now())

    def remaining(self, units: int) -> None:
        """Hear what the vendor says is left of the day, which others may have used as well."""
        now = self._quota.now()
        with self._mutex:
            if self._seen_at is not None and now < self._seen_at + SEEN_EVERY:
                return
            self._seen_at = now
        with self._quota.db.begin() as tx:
            blocks.note_remaining(tx, self._name, self._quota.limits(self._name)[0], units, now)

    def settle(self, *, ended_by: datetime | None = None) -> None:
        """Give back what is left of all blocks, or of those that have ended."""
        with self._mutex:
            ended = [
                key for key, one in self._blocks.items() if ended_by is None or one.open_until <= ended_by
            ]
            if not ended:
                return
            with self._quota.db.begin() as tx:
                for key in ended:
                    blocks.settle(tx, self._blocks[key])
            for key in ended:
                del self._blocks[key]

    def _exchange(self, key: tuple[str, str, float], units: int, now: datetime) -> Block | datetime:
        """Give the old block back and take a new one, in one transaction.

        Where its outcome is unknown, the old block is forgotten: it stays counted whole.
        """
        old = self._blocks.pop(key, None)
        with self._quota.db.begin() as tx:
            if old is not None:
                blocks.settle(tx, old)
            taken = blocks.take(tx, self._wish(key, units), now)
            self._locks = blocks.locks(tx, self._name, now)
        if isinstance(taken, Block):
            self._blocks[key] = taken
            self._quota.watch()
        return taken

    def _wish(self, key: tuple[str, str, float], units: int) -> Wish:
        account, who, spare = key
        limits = self._quota.limits(account)
        shortest = min(limit.seconds for limit in limits)
        return Wish(
            account=account,
            node=self._quota.node,
            who=who,
            units=units,
            most=BLOCK,
            spare=spare,
            limits=limits,
            life=min(LIFE, timedelta(seconds=shortest / 20)),
        )

    def _account(self, endpoint: str) -> str:
        return self._name if self._credits else f"{self._name}:{endpoint}"

    def _locked(self, endpoint: str, spare: float, now: datetime) -> datetime | None:
        names = [self._lock_of(endpoint, mass=mass) for mass in ([False, True] if spare else [False])]
        live = [until for name in names if (until := self._locks.get(name)) is not None and until > now]
        return max(live, default=None)

    def _lock_of(self, endpoint: str, *, mass: bool) -> str:
        return f"{self._name}:{endpoint}{' (mass)' if mass else ''}"
