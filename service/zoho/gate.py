"""What the calls of one product pass before they are sent, where all nodes share the limits.

Booking is mostly arithmetic on a block that this node holds; only every fiftieth call or so asks the
database for another.
"""

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from service.db import Database
from service.zoho import blocks
from service.zoho.blocks import Block, Wish
from service.zoho.licence import Licence
from service.zoho.quota import Limit
from service.zoho.wire import Clock

BLOCK = 50
"""Units of a block where there is plenty."""
LIFE = timedelta(seconds=60)
"""How long a block may be used, at most; of short windows, a twentieth of the window."""
BOUNDLESS = 10**9
"""Credits of a day that nobody told us: a withdrawal is asked for until the vendor itself refuses."""
SEEN_EVERY = timedelta(seconds=30)
"""How often the vendor's own count of what is left is kept."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """One taker: where blocks are, what is known about limits; `took` hears that a block is open.

    `guesses` says that nobody was told the day's credits yet: the limit is the least that there is.
    """

    db: Database
    now: Clock
    name: str
    limits: Callable[[str], Sequence[Limit]]
    licence: Callable[[], Licence]
    guesses: Callable[[], bool]
    took: Callable[[], None]


class SharedGate:
    """What one product's calls pass before they are sent: `service.zoho.quota.Gate`, for all nodes."""

    def __init__(self, node: Node, name: str, *, credits: bool) -> None:  # noqa: A002  # Zoho's own word
        self._node = node
        self._name = name
        self._credits = credits
        self._mutex = threading.Lock()
        self._blocks: dict[tuple[str, str, float], Block] = {}
        self._locks: dict[str, datetime] = {}
        self._heard: tuple[Limit, datetime] | None = None

    @property
    def is_open(self) -> bool:
        """Return whether any block may still be used."""
        return bool(self._blocks)

    def price(self, endpoint: str, credits: int) -> int:  # noqa: A002  # Zoho's own word for its unit
        """Return what a call costs by what the organisation told of it."""
        return self._node.licence().price(endpoint, credits) if self._credits else credits

    def reserve(self, endpoint: str, spare: float = 0.0, *, units: int = 1, who: str = "") -> datetime | None:
        """Book a call and return None, or book nothing and return when there is room again."""
        units = units if self._credits else 1
        key = (self._account(endpoint), who, spare)
        with self._mutex:
            now = self._node.now()
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
            with self._node.db.begin() as tx:
                blocks.lock(tx, account, until)

    def locked_until(self, endpoint: str, spare: float = 0.0) -> datetime | None:
        """Return until when the vendor has locked `endpoint` for calls that leave so much, or None."""
        return self._locked(endpoint, spare, self._node.now())

    def remaining(self, units: int) -> None:
        """Hear what the vendor says is left of the day, which others may have used as well.

        More than the whole allowance that we know tells only that the edition was not asked for yet.
        """
        now, limit = self._node.now(), self._node.limits(self._name)[0]
        with self._mutex:
            if units > limit.calls or self._was_heard(limit, now):
                return
            self._heard = (limit, now)
            with self._node.db.begin() as tx:
                for block in self._blocks.values():
                    blocks.settle(tx, block)
                blocks.note_remaining(tx, self._name, limit, units, now)
            self._blocks.clear()

    def _was_heard(self, limit: Limit, now: datetime) -> bool:
        """Return whether this was noted a moment ago, by the allowance that is known now."""
        return self._heard is not None and self._heard[0] == limit and now < self._heard[1] + SEEN_EVERY

    def settle(self, *, ended_by: datetime | None = None) -> None:
        """Give back what is left of all blocks, or of those that have ended."""
        with self._mutex:
            ended = [
                key for key, one in self._blocks.items() if ended_by is None or one.open_until <= ended_by
            ]
            if not ended:
                return
            with self._node.db.begin() as tx:
                for key in ended:
                    blocks.settle(tx, self._blocks[key])
            for key in ended:
                del self._blocks[key]

    def _exchange(self, key: tuple[str, str, float], units: int, now: datetime) -> Block | datetime:
        """Give the old block back and take a new one, in one transaction.

        Where its outcome is unknown, the old block is forgotten: it stays counted whole.
        """
        old = self._blocks.pop(key, None)
        with self._node.db.begin() as tx:
            if old is not None:
                blocks.settle(tx, old)
            taken = blocks.take(tx, self._wish(key, units), now)
            self._locks = blocks.locks(tx, self._name, now)
        if isinstance(taken, Block):
            self._blocks[key] = taken
            self._node.took()
        return taken

    def _wish(self, key: tuple[str, str, float], units: int) -> Wish:
        account, who, spare = key
        limits = self._node.limits(account)
        if self._credits and not spare and self._node.guesses():
            limits = [replace(limit, calls=BOUNDLESS) for limit in limits]
        shortest = min(limit.seconds for limit in limits)
        return Wish(
            account=account,
            node=self._node.name,
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
