"""Looking on Campaigns' lists for those whom the workflow was triggered for: only there it is seen done.

Whoever Campaigns says has left is looked for by the same reading.

A list is read from its newest end. Where it shows those first who left last, a look takes a call or two,
however long the list is; where it does not, the whole list is read, as often as its window allows. Which
of the two it is nobody has written down: it is found out by looking.
"""

from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import islice

import structlog
from sqlalchemy import Connection, and_, select

from service.db import member
from service.reconciler import hints, many, tasks
from service.reconciler.context import Context
from service.reconciler.port import ListMember, Member
from service.reconciler.refusing import PAGE
from service.reconciler.turn import Carried, Turn

log = structlog.get_logger(__name__)

Others = Callable[[Sequence[ListMember]], object]
"""Hears whom else a list shows as unsubscribed, a list at a time."""

LIMIT = 200
"""People proved in one turn."""
IDLE_S = 1.0
"""How long to rest at least: where nobody is to be looked for, and while few calls were made."""
WINDOW = timedelta(minutes=5)
"""How long Campaigns' window of the listing is (facts zoho-campaigns, section 7)."""
OURS = 225
"""Calls of a window that looks take, half of the 450; the nights and the watch read the same lists."""
EACH = WINDOW / OURS
"""How long to rest for each call, once the half is used."""
CHUNK = PAGE - 50
"""People of a list that are judged together: less than a page, so that it takes no call to know the next."""


@dataclass(slots=True)
class Shown:
    """What one list showed in one look: whom of those awaited, who is new, and how much was read of it."""

    found: set[bytes] = field(default_factory=set)
    fresh: dict[bytes, ListMember] = field(default_factory=dict)
    """Who is not known to have left long ago, the awaited among them."""
    rows: int = 0
    late: bool = False
    """Whether somebody awaited came behind a stretch where everybody had left long ago."""
    ended: bool = True
    """Whether nobody is missing, or everything was read."""

    @property
    def calls(self) -> int:
        """Return about how many calls it took."""
        return 1 + self.rows // PAGE


@dataclass(slots=True, kw_only=True)
class Seeking:
    """Looks again and again; remembers how the lists are ordered, and what looking took lately."""

    context: Context
    worker: str
    others: Others | None = None
    """The watch, which does not read the lists meanwhile, and records of whom hints tell."""
    found: Callable[[Carried], None] = lambda _: None
    chunk: int = CHUNK
    scattered: set[str] = field(default_factory=set)
    """The lists that do not show those first who left last."""
    whole_from: datetime | None = None
    """When a list may be read to its end again for those who are missing."""
    spent: deque[tuple[datetime, int]] = field(default_factory=deque)
    """When looks began, and the calls that they took."""

    def look(self) -> float:
        """Look once; return how long to rest, in seconds. Raises `ZohoError` where a list cannot be read.

        Who is seen is recorded and done; the others are looked for again, until they are stopped one by one.
        """
        began = self.context.now()
        names = [entry.name for entry in self.context.policy.zoho.campaigns.lists]
        with self.context.db.read() as tx:
            ours = tasks.awaited(tx, names)
            told = {} if self.others is None else hints.left(tx, names, now=began)
        awaited = told | ours
        if not awaited:
            return IDLE_S
        whole = self.whole_from is None or began >= self.whole_from
        shown = {name: self._read(name, awaited, whole=whole) for name in names}
        self._learn(shown, began)
        if self.others is not None:
            for one in shown.values():
                self.others([member for index, member in one.fresh.items() if index not in ours])
        self._prove({name: one.found for name, one in shown.items()}, began)
        calls, seen = sum(one.calls for one in shown.values()), sum(len(one.found) for one in shown.values())
        rest_s = self._rest_s(began, calls)
        log.info("withdrawals.sought", awaited=len(awaited), seen=seen, calls=calls, rest_s=round(rest_s, 1))
        return rest_s

    def _read(self, name: str, awaited: Mapping[bytes, frozenset[str]], *, whole: bool) -> Shown:
        """Read a list until all are found whom it should show, or until nobody new is to be expected."""
        sought = {index for index, lists in awaited.items() if not lists or name in lists}
        shown, quiet = Shown(), False
        if not sought:
            return shown
        for chunk in _chunks(self.context.campaigns.left(name), self.chunk):
            fresh = self._take(shown, name, chunk, awaited)
            shown.late |= quiet and bool(fresh & awaited.keys())
            quiet |= not fresh
            if sought <= shown.found:
                break
            if quiet and not whole and name not in self.scattered:
                shown.ended = False
                break
        return shown

    def _take(
        self,
        shown: Shown,
        name: str,
        chunk: Sequence[ListMember],
        awaited: Mapping[bytes, frozenset[str]],
    ) -> set[bytes]:
        """Sort people by whether they are awaited; return who is not known to have left long ago."""
        indexes = {self.context.vault.address_index(one.address): one for one in chunk}
        mine = indexes.keys() & awaited.keys()
        shown.rows += len(chunk)
        shown.found |= mine
        with self.context.db.read() as tx:
            known = _left_long_ago(tx, name, [index for index in indexes if index not in mine])
        shown.fresh |= {index: one for index, one in indexes.items() if index not in known}
        return indexes.keys() - known

    def _learn(self, shown: Mapping[str, Shown], began: datetime) -> None:
        """Remember which lists are no use read in part, and when whole ones may be read again."""
        self.scattered |= {name for name, one in shown.items() if one.late}
        if calls := sum(one.calls for one in shown.values() if one.ended and one.rows > self.chunk):
            self.whole_from = began + calls * EACH

    def _prove(self, seen: many.Seen, began: datetime) -> None:
        """Settle those who are seen, a turn at a time; who was triggered for later is not looked for yet."""
        after = 0
        while True:
            with self.context.db.begin() as tx:
                now = self.context.now()
                claimed = tasks.claim_triggered(
                    tx, worker=self.worker, now=now, before=began, after=after, limit=LIMIT
                )
            if not claimed:
                return
            after = max(item.id for mine in claimed.values() for item in mine)
            steps = {"campaigns_at": lambda context, stops, _still: many.confirm(context, stops, seen)}
            turn = Turn(context=self.context, worker=self.worker, claimed=claimed, steps=steps)
            with turn.leased():
                self.found(turn.run())

    def _rest_s(self, began: datetime, calls: int) -> float:
        """Return how long to rest: the longer, the more of the window is used."""
        while self.spent and self.spent[0][0] <= began - WINDOW:
            self.spent.popleft()
        self.spent.append((began, calls))
        used = sum(made for _, made in self.spent) / OURS
        return max(IDLE_S, calls * min(1.0, used) * EACH.total_seconds())


def _left_long_ago(tx: Connection, name: str, indexes: Sequence[bytes]) -> set[bytes]:
    """Return which of these people the mirror has as unsubscribed on a list."""
    left = and_(member.c.list_name == name, member.c.status == Member.UNSUBSCRIBED.value)
    return set(tx.scalars(select(member.c.address_index).where(left, member.c.address_index.in_(indexes))))


def _chunks(members: Iterator[ListMember], size: int) -> Iterator[list[ListMember]]:
    while chunk := list(islice(members, size)):
        yield chunk
