"""Campaigns' half of many stops at once: a workflow of Campaigns, triggered for 200 people by one call.

Calls about one person are limited to about a hundred people a minute. The workflow's answer tells only
who entered it, so that nobody is stopped by it until the lists show them as unsubscribed. Who entered
before, who could not, and who is not seen in time goes the other way, one by one. Who was just seen to have
left by themselves needs no call where many wait.
"""

import time
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

import structlog
from sqlalchemy import select

from service.consent import SubjectId
from service.db import member
from service.errors import QuotaExhausted, Unreachable, ZohoError
from service.policy import Workflow
from service.reconciler import mirror, refusing, tasks
from service.reconciler.apply import active_lists
from service.reconciler.context import Context
from service.reconciler.enforcement import CAMPAIGNS
from service.reconciler.port import Member
from service.reconciler.stopping import Awaited, Ended, Still, Stop, enforced
from service.reconciler.tasks import Triggering
from service.vault.address import fold

log = structlog.get_logger(__name__)

MOST = 200
"""People in one call."""
APART = timedelta(seconds=1)
"""Between two calls of whichever worker: 300 of the 450 that five minutes allow."""

JUST = timedelta(minutes=10)
"""How lately a list must have shown that somebody left, for it to be believed without asking again."""

WINDOW = timedelta(minutes=5)
"""How long each window of the calls about one person is (facts zoho-campaigns, section 7)."""

Seen = Mapping[str, set[bytes]]
"""By list: which of the awaited (keyed hashes) it shows as unsubscribed."""


def stop_in_campaigns(context: Context, stops: Sequence[Stop], still: Still) -> Mapping[SubjectId, Ended]:
    """Stop many through the workflow, where one is named, and the others one by one.

    The workflow also takes those who would wait for a window of the calls about one person.
    """
    workflow = context.policy.zoho.campaigns.workflow
    if workflow is None or not stops:
        return refusing.stop_in_campaigns(context, stops, still)
    ended: dict[SubjectId, Ended] = dict(_awaited(stops, workflow, context.now()))
    able = [stop for stop in _able(context, stops) if stop.sub not in ended]
    if _busy(context, workflow, len(able)):
        ended |= _trigger(context, workflow, able, still) | _gone(context, stops)
    ended |= refusing.stop_in_campaigns(context, [s for s in stops if s.sub not in ended], still)
    shut = [stop for stop in able if isinstance(ended.get(stop.sub), QuotaExhausted)]
    return ended | _trigger(context, workflow, shut, still)


def confirm(context: Context, stops: Sequence[Stop], seen: Seen) -> Mapping[SubjectId, Ended]:
    """Return what is proved by the lists: off one at least, and off each where our mirror has them active.

    Who is not seen there is left out.
    """
    indexes = {stop.sub: context.vault.address_index(stop.address) for stop in stops}
    names = sorted({name for stop in stops for name in stop.lists})
    with context.db.read() as tx:
        active = active_lists(tx, list(indexes.values()), names)
    ended: dict[SubjectId, Ended] = {}
    for stop in stops:
        index = indexes[stop.sub]
        off = {name for name in stop.lists if index in seen[name]}
        if off and stop.triggered is not None and off >= {*active.get(index, ())} & {*stop.lists}:
            code, sha256 = stop.triggered.code or "", stop.triggered.answer_sha256 or b""
            ended[stop.sub] = [enforced(stop, CAMPAIGNS, code, sha256, stop.triggered.at)]
    with context.db.begin() as tx:
        for name in names:
            left = [indexes[sub] for sub in ended if indexes[sub] in seen[name]]
            mirror.note_left(tx, left, [name], context.now())
    return ended


def _awaited(stops: Sequence[Stop], workflow: Workflow, now: datetime) -> Mapping[SubjectId, Awaited]:
    """Return who is still to be seen after a trigger that was answered."""
    patience = timedelta(minutes=workflow.seen_within_minutes)
    return {
        stop.sub: Awaited(stop.triggered.at + patience)
        for stop in stops
        if stop.triggered is not None
        and stop.triggered.code is not None
        and now < stop.triggered.at + patience
    }


def _busy(context: Context, workflow: Workflow, waiting: int) -> bool:
    """Return whether many wait, or as many came within the time that a window of Campaigns is long."""
    if waiting >= workflow.from_people:
        return True
    with context.db.read() as tx:
        since = tasks.received_since(tx, workflow.from_people)
    return since is not None and since > context.now() - WINDOW


def _able(context: Context, stops: Sequence[Stop]) -> list[Stop]:
    """Return who may be stopped by the workflow: they said so, and the mirror knows from which list.

    Nobody for whom it was triggered and answered before. Others would look like a new withdrawal on the
    lists, or could not be looked for there.
    """
    wanted = [
        stop
        for stop in stops
        if stop.refused
        and "," not in stop.address
        and (stop.triggered is None or stop.triggered.code is None)
    ]
    names = sorted({name for stop in wanted for name in stop.lists})
    indexes = {stop.sub: context.vault.address_index(stop.address) for stop in wanted}
    with context.db.read() as tx:
        active = active_lists(tx, list(indexes.values()), names)
    return [stop for stop in wanted if {*active.get(indexes[stop.sub], ())} & {*stop.lists}]


def _gone(context: Context, stops: Sequence[Stop]) -> dict[SubjectId, Ended]:
    """Return who left in Campaigns by themselves, as the lists just showed: nothing is to be written.

    Off each list of the purposes that stop, and seen to go from one at least; nobody who was triggered for.
    """
    indexes = {stop.sub: context.vault.address_index(stop.address) for stop in stops if not stop.triggered}
    theirs = member.c.address_index.in_(list(indexes.values()))
    left = select(member.c.address_index, member.c.list_name).where(
        theirs,
        member.c.status == Member.UNSUBSCRIBED.value,
        member.c.was.is_not(None),
        member.c.since >= context.now() - JUST,
    )
    with context.db.read() as tx:
        gone = {(row.address_index, row.list_name) for row in tx.execute(left)}
        active = active_lists(tx, list(indexes.values()), sorted({n for stop in stops for n in stop.lists}))
    return {
        stop.sub: ()
        for stop in stops
        if (index := indexes.get(stop.sub)) is not None
        and any((index, name) in gone for name in stop.lists)
        and not {*active.get(index, ())} & {*stop.lists}
    }


def _trigger(
    context: Context, workflow: Workflow, stops: Sequence[Stop], still: Still
) -> dict[SubjectId, Ended]:
    """Return who entered the workflow; who did not, or could not be asked for, is left out."""
    ended: dict[SubjectId, Ended] = {}
    for start in range(0, len(stops), MOST):
        part = stops[start : start + MOST]
        _keep_apart(context)
        wanted = still(part)
        try:
            ended |= _triggered(context, workflow, [stop for stop in part if stop.sub in wanted])
        except Unreachable as error:
            return ended | {stop.sub: error for stop in part if stop.sub in wanted}
        except ZohoError as error:
            log.warning("withdrawals.workflow", code=error.code)
            return ended
    return ended


def _triggered(context: Context, workflow: Workflow, stops: Sequence[Stop]) -> dict[SubjectId, Ended]:
    """Trigger once; whom an earlier call without an answer may have let in has entered, if it says so."""
    if not stops:
        return {}
    at = context.now()
    _note(context, stops, Triggering(at=at, code=None, answer_sha256=None))
    try:
        told = context.campaigns.trigger([stop.address for stop in stops])
    except ZohoError as error:
        if not isinstance(error, Unreachable):
            _forget(context, stops)
        raise
    before = {stop.sub for stop in stops if fold(stop.address) in told.already and stop.triggered is None}
    entered = [s for s in stops if s.sub not in before and fold(s.address) not in told.ignored]
    _note(context, entered, Triggering(at=at, code=told.code, answer_sha256=told.answer_sha256))
    _forget(context, [stop for stop in stops if stop not in entered])
    context.progress("workflow triggered", len(entered), len(stops))
    until = at + timedelta(minutes=workflow.seen_within_minutes)
    return {stop.sub: Awaited(until) for stop in entered}


def _note(context: Context, stops: Sequence[Stop], triggered: Triggering) -> None:
    with context.db.begin() as tx:
        tasks.note_triggered(tx, [number for stop in stops for number in stop.tasks], triggered)


def _forget(context: Context, stops: Sequence[Stop]) -> None:
    with context.db.begin() as tx:
        tasks.forget_triggered(tx, [number for stop in stops for number in stop.tasks])


def _keep_apart(context: Context) -> None:
    """Wait until the last call of whichever worker is long enough ago."""
    with context.db.read() as tx:
        last = tasks.last_triggered(tx)
    if last is not None and (wait := last + APART - context.now()) > timedelta(0):
        time.sleep(min(wait, APART).total_seconds())
