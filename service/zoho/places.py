"""Calls in flight: no more at a time than the edition allows, over all nodes together.

A node leases the places that it needs in the database, one more whenever all of its own are taken, gives
them back when they stand empty, and shares them out when another node waits. A node that died holds its
places until their lease ends.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from threading import Condition, Timer

import structlog
from sqlalchemy.exc import DBAPIError

from service.db import EPOCH, Database
from service.errors import QuotaExhausted
from service.zoho import seats as rows
from service.zoho.seats import Places
from service.zoho.wire import Clock

log = structlog.get_logger(__name__)

LEASE = timedelta(minutes=10)
"""Longer than any call lasts; renewed at half time, as long as calls begin."""
KEPT = 2
"""Places that only people's own withdrawals may take."""
PATIENCE_S = 30.0
"""How long a call may wait for a place: every call ends within that, save for a few."""
POLL_S = 0.1
"""How often a node that waits asks again, for all of its calls."""
TICK_S = 1.0
"""How long a place may stand empty, or a waiting node be overlooked."""
NEXT = timedelta(seconds=30)
"""When to come back if there was no place."""


@dataclass(slots=True)
class Seats:
    """The places of one kind that this node holds until `until`, and how many of them are taken.

    `fair` is how many it may take while another node waits; `ask_at`: when calls that leave so many places
    may ask for more (monotonic).
    """

    held: int = 0
    busy: int = 0
    until: datetime = EPOCH
    fair: int | None = None
    ask_at: dict[int, float] = field(default_factory=dict)

    @property
    def has_room(self) -> bool:
        """Return whether another call may sit down."""
        return self.busy < self.held and (self.fair is None or self.busy < self.fair)


class SharedSlots:
    """The places of this node, for many threads; `limit` says how many of a kind there are for all."""

    def __init__(
        self,
        db: Database,
        *,
        clock: Clock,
        node: str,
        limit: Callable[[str], int],
        patience_s: float = PATIENCE_S,
    ) -> None:
        self._db = db
        self._patience_s = patience_s
        self._clock = clock
        self._node = node
        self._limit = limit
        self._free = Condition()
        self._seats: dict[str, Seats] = {}
        self._ticker: Timer | None = None

    @contextmanager
    def enter(self, kinds: tuple[str, ...], *, spare: float = 0.0) -> Iterator[None]:
        """Hold one place of each kind while a call runs.

        Calls that leave a `spare` part to withdrawals leave the last two places too. Raises
        `QuotaExhausted` when no place came free in half a minute.
        """
        with ExitStack() as stack:
            for kind in kinds:
                self._sit(kind, KEPT if spare else 0)
                stack.callback(self._leave, kind)
            yield

    def settle(self) -> None:
        """Give back the places that nobody sits on."""
        with self._free:
            if self._ticker is not None:
                self._ticker.cancel()
                self._ticker = None
            for kind, seats in self._seats.items():
                if seats.held:
                    self._hold(kind, seats, seats.busy, 0)

    def _sit(self, kind: str, kept: int) -> None:
        ends = time.monotonic() + self._patience_s
        with self._free:
            seats = self._seats.setdefault(kind, Seats())
            while not self._has_room(kind, seats, kept):
                if time.monotonic() > ends:
                    raise self._crowded(kind)
                self._free.wait(POLL_S)
            seats.busy += 1
            self._tick_later()

    def _has_room(self, kind: str, seats: Seats, kept: int) -> bool:
        fresh = self._clock() < seats.until - LEASE / 2
        if seats.has_room and fresh:
            return True
        if time.monotonic() >= seats.ask_at.get(kept, 0.0) or not fresh:
            self._hold(kind, seats, max(seats.held, seats.busy + 1), kept)
            seats.ask_at[kept] = 0.0 if seats.has_room else time.monotonic() + POLL_S
        return seats.has_room

    def _hold(self, kind: str, seats: Seats, units: int, kept: int) -> None:
        now = self._clock()
        wish = Places(
            account=kind,
            node=self._node,
            units=units,
            busy=seats.busy,
            limit=self._limit(kind),
            kept=kept,
            until=now + LEASE,
        )
        with self._db.begin() as tx:
            found = rows.hold(tx, wish, now)
        seats.held, seats.fair, seats.until = found.units, found.fair, now + LEASE

    def _leave(self, kind: str) -> None:
        with self._free:
            self._seats[kind].busy -= 1
            self._free.notify()

    def _tick_later(self) -> None:
        if self._ticker is None:
            self._ticker = Timer(TICK_S, self._tick)
            self._ticker.daemon = True
            self._ticker.start()

    def _tick(self) -> None:
        """Give back what stands empty, and hear whether another node waits."""
        with self._free:
            self._ticker = None
            try:
                for kind, seats in self._seats.items():
                    if seats.held:
                        self._hold(kind, seats, seats.busy, 0)
            except DBAPIError as error:  # the next call begins to tick again
                log.warning("quota.places", kind=type(error).__name__)
                return
            self._free.notify_all()
            if any(seats.held for seats in self._seats.values()):
                self._tick_later()

    def _crowded(self, kind: str) -> QuotaExhausted:
        until = self._clock() + NEXT
        return QuotaExhausted(
            f"all {self._limit(kind)} places of {kind} are taken by other calls of this organisation; "
            f"nothing of this call was done, run again after {until:%H:%M:%S} UTC",
            code="OWN_PLACES",
            endpoint=kind,
            until=until,
        )
