"""What just happened in either product, seconds ago: seen, recorded with a task, carried to the other.

Looks at what changed only, beside the nightly run and by the same rules: CRM's opted-out records modified
lately, and Campaigns' lists whose number of unsubscribed moved. While CRM's notifications can be relied on,
CRM is asked rarely, to find what they missed; then often again. Begins once a run has recorded an
organisation's history. What it misses (a list too long to read, a click on an old mail), the night finds.
While many are looked for on the lists, that one reading serves the watch too: `shown` hears whom it found.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import islice
from typing import TypeVar

from sqlalchemy import Connection, select

from service.db import crm_record, member, outcome, run
from service.reconciler import breakers, channels, hints, mirror, news, runs, tasks
from service.reconciler.asking import ask
from service.reconciler.context import Context
from service.reconciler.enforcement import CAMPAIGNS
from service.reconciler.port import CrmRecord, ListMember, Member
from service.reconciler.runs import KIND

T = TypeVar("T")

OVERLAP = timedelta(minutes=10)
"""How far behind the last look CRM is asked for again, by its own clock: its index lags."""
SENT_WITHIN = timedelta(days=14)
"""How old a campaign may be at the last look to be asked about at once: most clicks come within days."""
HINTED_WITHIN = timedelta(days=60)
"""The same where Campaigns itself says that somebody left, complained or bounced."""
LONGEST_LIST = 5_000
"""Unsubscribed contacts of one list that are read within seconds: ten calls."""
CHUNK = 500
TOLD_WITHIN = timedelta(seconds=30)
"""A notification that comes later than this has been missed."""
CLOCKS_DIFFER = timedelta(minutes=5)


@dataclass(slots=True, kw_only=True)
class Watch:
    """Looks again and again; remembers since when to ask, and how many had left each list."""

    context: Context
    sweep: timedelta = timedelta(0)
    """How rarely CRM is asked while its notifications can be relied on; zero: at every look."""
    looked_at: datetime | None = None
    asked_at: datetime | None = None
    """When CRM was last asked, by its own clock."""
    counted_at: datetime | None = None
    counts: dict[str, int] = field(default_factory=dict)

    def look(self) -> int:
        """Record what is new as observed events with tasks; return how many events. Raises `ZohoError`."""
        started = self.last_run()
        if started is None:
            return 0
        run_id, began_at, asked_at = started
        at, recorded, out = self.context.now(), 0, self.left_out()
        if breakers.CRM not in out and self._due(at):
            asked = ask(self.context)
            recorded = self._record(self._crm(run_id, (self.asked_at or asked_at) - OVERLAP))
            self.looked_at, self.asked_at = at, asked.by_crm(self.context)
        if CAMPAIGNS in out:
            return recorded
        # Who left while nobody looked did so in a mail that was young then: its report tells when.
        unseen = at - (self.counted_at or began_at) + OVERLAP
        return recorded + self._record(self._campaigns(run_id, SENT_WITHIN + unseen))

    def left_out(self) -> frozenset[str]:
        """Return the products that the newest run could not believe: what they show is no news either."""
        with self.context.db.read() as tx:
            believed = runs.last_believed(tx)
            return breakers.blind(() if believed is None else breakers.tripped(tx, believed[0]))

    def read_campaigns(self, run_id: int, *, bounced: bool) -> int:
        """Record what Campaigns shows now, whether its numbers moved or not; who `bounced` as well."""
        self.counts = {}
        changed = self._campaigns(run_id, HINTED_WITHIN)
        if bounced:
            at = self.context.now()
            for name in self.context.lists:
                changed |= self._left(run_id, name, at, Member.BOUNCED)
        return self._record(changed)

    def _due(self, at: datetime) -> bool:
        """Return whether it is time to ask CRM."""
        if self.looked_at is None or not timedelta(0) <= at - self.looked_at < self.sweep:
            return True
        with self.context.db.read() as tx:
            return not channels.reliable(tx, now=at)

    def last_run(self) -> tuple[int, datetime, datetime] | None:
        """Return the newest run that recorded all news, if there is one.

        Its id, when it began, and when it asked CRM by CRM's own clock.
        """
        with self.context.db.read() as tx:
            row = tx.execute(
                select(run.c.id, run.c.started_at, run.c.summary)
                .where(run.c.kind == KIND, run.c.state == "done")
                .order_by(run.c.id.desc())
                .limit(1)
            ).one_or_none()
        if row is None:
            return None
        return row.id, row.started_at, runs.asked_at(row.summary) or row.started_at

    def _crm(self, run_id: int, since: datetime) -> set[bytes]:
        """Put the records that are not as the mirror has them; return whose they are."""
        context, changed = self.context, set()
        for records in _chunks(context.crm.opted_out(since)):
            with context.db.begin() as tx:
                ids = [record.record_id for record in records]
                known = {
                    (row.module, row.record_id, row.modified_at)
                    for row in tx.execute(
                        select(crm_record.c.module, crm_record.c.record_id, crm_record.c.modified_at).where(
                            crm_record.c.record_id.in_(ids), crm_record.c.opted_out == 1
                        )
                    )
                }
                fresh = [r for r in records if (r.module, r.record_id, r.modified_at) not in known]
                if fresh:
                    mirror.put_records(tx, fresh, run_id=run_id, vault=context.vault, policy=context.policy)
                    self._miss(tx, fresh)
            changed |= {self._index(address) for record in fresh for address in record.addresses}
        return changed

    def _miss(self, tx: Connection, fresh: Sequence[CrmRecord]) -> None:
        """Note that a notification should have told of one of these and did not."""
        at, theirs = self.context.now(), self.context.crm.now()
        late = {(r.module, r.record_id): r.modified_at for r in fresh if r.modified_at < theirs - TOLD_WITHIN}
        if late:
            changed_at = min(late.values()) + (at - theirs)
            told = hints.told_of(tx, list(late), since=changed_at - CLOCKS_DIFFER)
            if late.keys() - told:
                channels.miss(tx, at=at)

    def _campaigns(self, run_id: int, sent_within: timedelta) -> set[bytes]:
        """Put who left, if the number of unsubscribed moved on any list; return whom we did not know of."""
        context = self.context
        at, counts = context.now(), dict(context.campaigns.unsubscribed_counts())
        changed: set[bytes] = set()
        moved = [name for name in context.lists if counts.get(name) != self.counts.get(name)]
        if not moved:
            self.counted_at = at
            return changed
        changed |= self._departures(at, sent_within)
        with context.db.read() as tx:
            if tasks.awaited(tx):
                return changed  # the lists are read for the proof; as `counts` stays, they are read after it
        for name in moved:
            if counts.get(name, 0) <= LONGEST_LIST:
                changed |= self._left(run_id, name, at)
        self.counts, self.counted_at = counts, at
        return changed

    def _departures(self, at: datetime, sent_within: timedelta) -> set[bytes]:
        """Put opt-outs and complaints of recent campaigns, which tell the time."""
        context, changed = self.context, set()
        for found in _chunks(context.campaigns.departures(at - sent_within)):
            indexes = {self._index(item.address) for item in found}
            with context.db.begin() as tx:
                known = {
                    tuple(row)
                    for row in tx.execute(
                        select(outcome.c.campaign_key, outcome.c.address_index, outcome.c.kind).where(
                            outcome.c.address_index.in_(indexes)
                        )
                    )
                }
                fresh = [
                    o for o in found if (o.campaign_key, self._index(o.address), o.kind.value) not in known
                ]
                if fresh:
                    mirror.put_outcomes(tx, fresh, at=at, vault=context.vault)
            changed |= {self._index(item.address) for item in fresh}
        return changed

    def _left(
        self, run_id: int, list_name: str, at: datetime, status: Member = Member.UNSUBSCRIBED
    ) -> set[bytes]:
        """Put those of one list who left, or who bounced, as far as the list can be read at once."""
        return self._put(run_id, islice(self.context.campaigns.members(list_name, status), LONGEST_LIST), at)

    def shown(self, members: Iterable[ListMember]) -> int:
        """Record of those whom somebody else read on a list, for another purpose, what is new.

        Returns how many events. Nothing before a run recorded the history, nor of a product not believed.
        """
        started = self.last_run()
        if started is None or CAMPAIGNS in self.left_out():
            return 0
        return self._record(self._put(started[0], members, self.context.now()))

    def _put(self, run_id: int, members: Iterable[ListMember], at: datetime) -> set[bytes]:
        """Put members, all of one list and status, whom the mirror does not have so; return who they are."""
        context, changed = self.context, set()
        for found in _chunks(members):
            indexes = {self._index(item.address): item for item in found}
            with context.db.begin() as tx:
                known = set(
                    tx.scalars(
                        select(member.c.address_index).where(
                            member.c.list_name == found[0].list_name,
                            member.c.address_index.in_(indexes),
                            member.c.status == found[0].status.value,
                        )
                    )
                )
                fresh = [item for index, item in indexes.items() if index not in known]
                if fresh:
                    mirror.put_members(tx, fresh, run_id=run_id, at=at, vault=context.vault)
            changed |= indexes.keys() - known
        return changed

    def _record(self, indexes: Iterable[bytes]) -> int:
        at = self.context.now()
        return sum(news.record(self.context, at, about=part, enforce=True).total for part in _chunks(indexes))

    def _index(self, address: str) -> bytes:
        return self.context.vault.address_index(address)


def _chunks(items: Iterable[T]) -> Iterator[list[T]]:
    source = iter(items)
    while chunk := list(islice(source, CHUNK)):
        yield chunk
