"""One turn of the short way: decide for the people whose tasks are leased, stop, record, settle.

The decision is read again now, not when the task was written, and once more right before each write.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import datetime

from sqlalchemy import Connection, func, select

from service.consent import Category, Standing, State, SubjectId
from service.db import chunks, happening, lease
from service.errors import KeyReused, ServiceError, ZohoError
from service.ledger.store import LOG_ID
from service.reconciler import tasks
from service.reconciler.context import Context
from service.reconciler.enforcement import Enforced
from service.reconciler.stopping import Awaited, Ended, Still, Stop
from service.reconciler.tasks import Task, Triggering

HALVES = ("campaigns_at", "crm_at")
"""The columns that remember when each product was stopped and had shown it."""

Step = Callable[[Context, Sequence[Stop], Still], Mapping[SubjectId, Ended]]
"""Stops one half; who is left out of its answer was not reached."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Carried:
    """How one turn ended, in people."""

    done: int = 0
    superseded: int = 0
    postponed: int = 0
    """Given back: after an error, or because this turn did not come to them."""
    awaited: int = 0
    """Written by many at once, and to be seen done on Campaigns' lists."""

    @property
    def total(self) -> int:
        """Return how many people had something waiting."""
        return self.done + self.superseded + self.postponed + self.awaited


@dataclass(slots=True, kw_only=True)
class Turn:
    """The people of one turn, and how each half of each of them ended."""

    context: Context
    worker: str
    claimed: Mapping[SubjectId, list[Task]]
    steps: Mapping[str, Step]
    """What stops each half, by the column that remembers it."""
    newest: dict[SubjectId, int] = field(default_factory=dict)
    """The last entry about each of them that the decision knows of."""

    def leased(self) -> AbstractContextManager[None]:
        """Renew the leases from another thread for as long as the turn lasts."""
        every_s = tasks.LEASE.total_seconds() / 3
        return lease.kept(self._renew, every_s=every_s, event="withdrawals.lease")

    def run(self) -> Carried:
        """Decide, stop both halves at the same time, record, settle."""
        stops, pointless = self._decide()
        ended = self._stop(stops)
        still = self._still(stops)
        unrecorded = self._record(stops, ended)
        self.context.progress("enforced", len(stops), len(stops))
        settled = [stop for stop in stops if stop.sub not in unrecorded]
        with self.context.db.begin() as tx:
            for sub, reason in pointless.items():
                tasks.supersede(tx, self.claimed[sub], reason)
            told = self._settle(tx, settled, ended, still)
        for error in unrecorded.values():
            raise error
        return Carried(
            done=told["done"],
            postponed=told["postponed"],
            awaited=told["awaited"],
            superseded=len(pointless),
        )

    def _renew(self) -> None:
        ids = [item.id for mine in self.claimed.values() for item in mine]
        with self.context.db.begin() as tx:
            tasks.hold(tx, ids, worker=self.worker, until=self.context.now() + tasks.LEASE)

    def _decide(self) -> tuple[list[Stop], dict[SubjectId, str]]:
        """Return whom to stop by what the ledger says now, and for whom there is nothing to stop, and why."""
        context, subs = self.context, list(self.claimed)
        stops: list[Stop] = []
        pointless: dict[SubjectId, str] = {}
        with context.db.read() as tx:
            self.newest = _newest(tx, subs)
            addresses = context.vault.addresses_of(tx, subs)
            standings = context.intake.standings_of(tx, subs)
            for sub, mine in self.claimed.items():
                found = {s.purpose: s for s in standings[sub] if s.must_stop}
                if sub not in addresses:
                    pointless[sub] = "the person was erased; there is no address left to stop"
                elif not found:
                    pointless[sub] = "a newer entry permits again; nothing was written"
                else:
                    stops.append(_stop(context, mine, addresses[sub], found))
        return stops, pointless

    def _stop(self, stops: Sequence[Stop]) -> dict[str, Mapping[SubjectId, Ended]]:
        """Return how each half ended for those for whom it was not done before."""
        waiting = {
            half: [s for s in stops if not all(half in item.halves for item in self.claimed[s.sub])]
            for half in self.steps
        }
        with ThreadPoolExecutor(max_workers=len(self.steps), thread_name_prefix="enforce") as threads:
            running = {
                half: threads.submit(step, self.context, waiting[half], self._still)
                for half, step in self.steps.items()
            }
            return {half: future.result() for half, future in running.items()}

    def _still(self, stops: Sequence[Stop]) -> set[SubjectId]:
        """Return for whom the decision still holds: no newer entry, and their tasks are still ours."""
        subs = [stop.sub for stop in stops]
        ids = {item.id: sub for sub in subs for item in self.claimed[sub]}
        with self.context.db.read() as tx:
            held = tasks.held(tx, list(ids), worker=self.worker, now=self.context.now())
            newest = _newest(tx, subs)
        lost = {sub for number, sub in ids.items() if number not in held}
        return {sub for sub in subs if sub not in lost and newest.get(sub) == self.newest.get(sub)}

    def _record(
        self, stops: Sequence[Stop], ended: Mapping[str, Mapping[SubjectId, Ended]]
    ) -> dict[SubjectId, ServiceError]:
        """Record what was written and read back; return for whom the ledger did not take it, and why.

        An entry that exists from an earlier attempt is as good.
        """
        found = [ended[half].get(stop.sub, ()) for stop in stops for half in self.steps]
        written: list[Enforced] = [
            one for end in found if not isinstance(end, ZohoError | Awaited) for one in end
        ]
        now = self.context.now()
        results = self.context.intake.record([one.claim(self.context.policy, now) for one in written])
        return {
            one.subject: result
            for one, result in zip(written, results, strict=True)
            if isinstance(result, ServiceError)
            and not isinstance(result, KeyReused)
            and one.subject is not None
        }

    def _settle(
        self,
        tx: Connection,
        stops: Sequence[Stop],
        ended: Mapping[str, Mapping[SubjectId, Ended]],
        still: set[SubjectId],
    ) -> Counter[str]:
        """Write down how it ended for each; return how many people are done, awaited and postponed.

        What was decided too early or not reached is given back.
        """
        now = self.context.now()
        told: Counter[str] = Counter()
        halves: dict[tuple[tuple[str, datetime], ...], list[Task]] = {}
        ends: dict[str | datetime, list[Task]] = {}
        for stop in stops:
            mine = self.claimed[stop.sub]
            found = {half: ended[half][stop.sub] for half in self.steps if stop.sub in ended[half]}
            done = _done(found, now)
            halves.setdefault(tuple(done.items()), []).extend(mine)
            if errors := [end for end in found.values() if isinstance(end, ZohoError)]:
                tasks.postpone(tx, mine, errors, now=now)
                told["postponed"] += 1
            else:
                end = _end(found, done, mine) if stop.sub in still else "postponed"
                ends.setdefault(end, []).extend(mine)
                told["awaited" if isinstance(end, datetime) else end] += 1
        for columns, items in halves.items():
            tasks.note(tx, items, dict(columns))
        self._give_back(tx, ends, now)
        return told

    def _give_back(
        self, tx: Connection, ends: Mapping[str | datetime, Sequence[Task]], now: datetime
    ) -> None:
        for end, items in ends.items():
            if end == "done":
                tasks.finish(tx, items, proved_at=now)
            elif isinstance(end, datetime):
                tasks.rest(tx, items, worker=self.worker, until=end)
            else:
                tasks.release(tx, items, worker=self.worker)
        answered = [item for end, items in ends.items() if end != "postponed" for item in items]
        if any(item.unanswered for item in answered):
            tasks.wake(tx, now)


def _done(found: Mapping[str, Ended], now: datetime) -> dict[str, datetime]:
    """Return when each half that is done was written."""
    return {
        half: max((one.written_at for one in end), default=now)
        for half, end in found.items()
        if not isinstance(end, ZohoError | Awaited)
    }


def _end(found: Mapping[str, Ended], done: Mapping[str, datetime], mine: Sequence[Task]) -> str | datetime:
    """Return "done", "postponed", or until when what is missing may still be seen."""
    missing = [half for half in HALVES if half not in done and not all(half in i.halves for i in mine)]
    awaited = [end.until for end in found.values() if isinstance(end, Awaited)]
    if not missing:
        return "done"
    return max(awaited) if awaited and len(missing) == len(awaited) else "postponed"


def _newest(tx: Connection, subs: Sequence[SubjectId]) -> dict[SubjectId, int]:
    """Return the number of the last entry about each person."""
    return {
        SubjectId(row.sub): row.newest
        for part in chunks(subs)
        for row in tx.execute(
            select(happening.c.sub, func.max(happening.c.idx).label("newest"))
            .where(happening.c.log_id == LOG_ID, happening.c.sub.in_(part))
            .group_by(happening.c.sub)
        )
    }


def _stop(context: Context, mine: Sequence[Task], address: str, found: Mapping[str, Standing]) -> Stop:
    lists = context.policy.zoho.campaigns.lists
    return Stop(
        sub=mine[0].sub,
        address=address,
        key=f"task:{min(item.id for item in mine)}",
        cause=_cause(found.get(context.governed) or next(iter(found.values()))),
        lists=tuple(entry.name for entry in lists if entry.purpose in found),
        in_crm=context.governed in found,
        bounced=all(item.category == Category.BOUNCE_HARD for item in mine),
        refused=context.governed in found and found[context.governed].state is State.REFUSED,
        tasks=tuple(item.id for item in mine),
        triggered=_triggered(mine),
    )


def _triggered(mine: Sequence[Task]) -> Triggering | None:
    """Return the last trigger, if there was one for each of the tasks."""
    found = [item.triggered for item in mine if item.triggered is not None]
    return max(found, key=lambda one: one.at) if found and len(found) == len(mine) else None


def _cause(found: Standing) -> int | None:
    return found.decided_by if found.suppressed is None else found.suppressed_by
