"""Looking into hints: what they name is read again from the product, and only what is read counts.

CRM's records are read by id, fifty a call; Campaigns, which cannot be asked about one address, by its
lists and the outcomes of recent campaigns: two dozen calls, and more where it sends much. So for those who
left, the newest end of the lists is looked at first (`seeking`), and more only where that does not show them.
What is new is recorded as an observed event with a task; what permits somebody whom the ledger has stopped
gets a task again, a few times and not for ever: who keeps undoing it is for people to find out.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import structlog
from sqlalchemy import Connection, Select, case, exists, func, insert, select

from service.db import chunks, crm_record, member, outcome, standing, task
from service.errors import QuotaExhausted, Unreachable, ZohoDenied, ZohoError
from service.policy import PolicySet
from service.reconciler import hints, mirror, news
from service.reconciler.breakers import CRM
from service.reconciler.context import Context
from service.reconciler.enforcement import CAMPAIGNS
from service.reconciler.hints import Hint
from service.reconciler.people import people
from service.reconciler.port import CrmRecord, Member, OutcomeKind
from service.reconciler.push import push_changed
from service.reconciler.seeking import EACH
from service.reconciler.watch import Watch

log = structlog.get_logger(__name__)

LIMIT = 500
"""Hints of one turn: ten calls, where all are about records."""
CAMPAIGNS_EVERY = timedelta(seconds=15)
"""How often Campaigns is read for its hints at most, whoever they are about."""
SOUGHT_FIRST = timedelta(seconds=20)
"""How long whoever is said to have left is looked for on the lists alone."""
FIGHTS = 2
"""So often one decision is carried out against whoever undoes it."""

SHOWN: Mapping[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    hints.UNSUBSCRIBED: ((Member.UNSUBSCRIBED.value,), (OutcomeKind.OPTED_OUT.value,)),
    hints.SPAM: ((Member.UNSUBSCRIBED.value,), (OutcomeKind.COMPLAINED.value,)),
    hints.BOUNCE: (
        (Member.BOUNCED.value,),
        (OutcomeKind.BOUNCED_HARD.value, OutcomeKind.BOUNCED_SOFT.value),
    ),
}
"""What confirms each kind: a status on a list, or an outcome of a campaign."""


@dataclass(slots=True, kw_only=True)
class Heed:
    """Takes hints and looks into them; `watch` reads Campaigns."""

    context: Context
    watch: Watch
    worker: str
    sought: bool = False
    """Whether somebody looks on the lists for those who are said to have left."""
    campaigns_from: datetime | None = None
    """When Campaigns may be read again."""

    def turn(self) -> int:
        """Look into what waits and return how many hints; 0 before a run has recorded the history.

        Raises `ZohoError` where a product cannot be read; the hints come back.
        """
        context, now = self.context, self.context.now()
        run, kinds = self.watch.last_run(), self._kinds()
        with context.db.read() as tx:
            if run is None or not hints.waiting(tx, kinds, now):
                return 0
        with context.db.begin() as tx:
            taken = hints.claim(tx, kinds, worker=self.worker, now=now, limit=LIMIT)
        of_crm = [one for one in taken if one.kind in hints.OF_CRM]
        others = [one for one in taken if one.kind in hints.OF_CAMPAIGNS]
        errors = [*self._try(self._crm, of_crm, run[0]), *self._try(self._campaigns, others, run[0])]
        for error in errors:
            raise error
        return len(taken)

    def _kinds(self) -> tuple[str, ...]:
        """Return what can be looked into now: not what the newest run could not believe."""
        out = self.watch.left_out()
        of_crm = () if CRM in out else hints.OF_CRM
        return of_crm if CAMPAIGNS in out else (*of_crm, *hints.OF_CAMPAIGNS)

    def _try(
        self, look: Callable[[Sequence[Hint], int], None], taken: Sequence[Hint], run_id: int
    ) -> Sequence[ZohoError]:
        """Look into hints; give back what could not be read, and return why where all must rest for it.

        What a product refuses to read for its own sake is tried a few times, so that one odd hint holds the
        others up no longer than that.
        """
        try:
            look(taken, run_id)
        except ZohoError as error:
            context = self.context
            with context.db.begin() as tx:
                if isinstance(error, Unreachable | QuotaExhausted | ZohoDenied):
                    hints.release(tx, [one.id for one in taken])
                else:
                    hints.postpone(tx, taken, now=context.now())
            if look == self._campaigns and isinstance(error, QuotaExhausted):
                self.campaigns_from = error.until or self.campaigns_from
                return ()
            return (error,)
        return ()

    def _crm(self, taken: Sequence[Hint], run_id: int) -> None:
        if not taken:
            return
        context, at = self.context, self.context.now()
        targets = list({(one.module or "", one.record_id or "") for one in taken})
        read = context.crm.read(targets)
        indexes = {context.vault.address_index(address) for record in read for address in record.addresses}
        with context.db.begin() as tx:
            fresh = _unlike_mirror(tx, read)
            if fresh:
                mirror.put_records(tx, fresh, run_id=run_id, vault=context.vault, policy=context.policy)
        about = list(indexes) if fresh else []
        recorded = sum(news.record(context, at, about=part, enforce=True).total for part in chunks(about))
        pushed = sum(push_changed(context, part) for part in chunks(about))
        with context.db.begin() as tx:
            again = stop_again(tx, about, policy=context.policy, now=at)
            hints.finish(tx, [one.id for one in taken], at=at)
            hints.forget(tx, now=at)
        log.info("hints.crm", hints=len(taken), recorded=recorded, again=again, pushed=pushed)

    def _campaigns(self, taken: Sequence[Hint], run_id: int) -> None:
        left = self._settle(taken)
        at = self.context.now()
        fresh = [one for one in left if self._is_sought(one, at)]
        others = [one for one in left if one not in fresh]
        rests = self.campaigns_from is not None and at < self.campaigns_from
        with self.context.db.begin() as tx:
            hints.rest(tx, [one.id for one in fresh], until=at + SOUGHT_FIRST)
            if rests and self.campaigns_from is not None:
                hints.rest(tx, [one.id for one in others], until=self.campaigns_from)
        if not others or rests:
            return
        self._read_campaigns(run_id, bounced=any(one.kind == hints.BOUNCE for one in others))
        unseen = self._settle(others)
        with self.context.db.begin() as tx:
            hints.postpone(tx, unseen, now=self.context.now())

    def _read_campaigns(self, run_id: int, *, bounced: bool) -> None:
        """Read what Campaigns shows, and rest the longer the more calls that took."""
        meter, began = self.context.campaigns.meter, self.context.now()
        self.campaigns_from = began + CAMPAIGNS_EVERY
        before = meter.calls.get(CAMPAIGNS, 0)
        recorded = self.watch.read_campaigns(run_id, bounced=bounced)
        calls = meter.calls.get(CAMPAIGNS, 0) - before
        self.campaigns_from = began + max(CAMPAIGNS_EVERY, calls * EACH)
        log.info("hints.campaigns", recorded=recorded, calls=calls)

    def _is_sought(self, one: Hint, at: datetime) -> bool:
        return self.sought and one.kind in hints.OF_LISTS and at < one.received_at + SOUGHT_FIRST

    def _settle(self, taken: Sequence[Hint]) -> list[Hint]:
        """End the hints that Campaigns' mirror bears out, and return the others."""
        with self.context.db.begin() as tx:
            shown = _shown(tx, taken)
            hints.finish(tx, [one.id for one in taken if one.id in shown], at=self.context.now())
        return [one for one in taken if one.id not in shown]


def stop_again(tx: Connection, indexes: Sequence[bytes], *, policy: PolicySet, now: datetime) -> int:
    """Write tasks for those of these people whom CRM permits against the ledger; return how many."""
    rows = [
        {
            "sub": row.sub,
            "cause_idx": row.cause,
            "received_at": now,
            "due_at": due_at,
            "due_rule": rule.id,
            "state": "open",
            "attempts": 0,
            "not_before": now,
        }
        for part in chunks(indexes)
        for row in tx.execute(_undone(part, policy, now))
        for due_at, rule in [policy.stop_by(now, row.jurisdiction, address=None)]
    ]
    if rows:
        tx.execute(insert(task), rows)
    return len(rows)


def _undone(indexes: Sequence[bytes], policy: PolicySet, now: datetime) -> Select[Any]:
    """Select (sub, jurisdiction, cause) of whom CRM permits, the ledger stops, and nothing is under way."""
    person = people(policy, now, only=indexes)
    cause = case((standing.c.suppressed.is_not(None), standing.c.suppressed_by), else_=standing.c.decided_by)
    theirs = task.c.sub == person.c.sub
    tried = select(func.count()).where(theirs, task.c.cause_idx == cause).scalar_subquery()
    return (
        select(person.c.sub, person.c.jurisdiction, cause.label("cause"))
        .join(standing, (standing.c.sub == person.c.sub) & (standing.c.purpose == policy.zoho.governs))
        .where(
            person.c.address_index.in_(indexes),
            person.c.records > person.c.opted_out,
            standing.c.must_stop == 1,
            cause.is_not(None),
            ~exists().where(theirs, task.c.state == "open"),
            tried < FIGHTS,
        )
        .distinct()
    )


def _unlike_mirror(tx: Connection, read: Sequence[CrmRecord]) -> list[CrmRecord]:
    """Return the records that are not as the mirror has them; our own writes are there already."""
    known = {
        (row.module, row.record_id, row.modified_at, bool(row.opted_out))
        for part in chunks([record.record_id for record in read])
        for row in tx.execute(
            select(
                crm_record.c.module, crm_record.c.record_id, crm_record.c.modified_at, crm_record.c.opted_out
            ).where(crm_record.c.record_id.in_(part))
        )
    }
    return [r for r in read if (r.module, r.record_id, r.modified_at, r.opted_out) not in known]


def _shown(tx: Connection, taken: Sequence[Hint]) -> set[int]:
    """Return which hints Campaigns' mirror bears out."""
    found: set[int] = set()
    for kind, (statuses, outcomes) in SHOWN.items():
        mine = [one for one in taken if one.kind == kind and one.address_index is not None]
        for table, column, wanted in (
            (member, member.c.status, statuses),
            (outcome, outcome.c.kind, outcomes),
        ):
            for part in chunks(mine):
                about = [one.address_index for one in part]
                seen = select(table.c.address_index).where(
                    table.c.address_index.in_(about), column.in_(wanted)
                )
                shown = set(tx.scalars(seen))
                found |= {one.id for one in part if one.address_index in shown}
    return found
