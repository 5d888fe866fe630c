"""When the clocks of a withdrawal began: with the first receipt on any channel, whatever we did since.

A task begins with what its own source told. The person may have said the same elsewhere before, in a
product or in a file that was imported later: then the clocks began there.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime

from sqlalchemy import Connection, select

from service.consent import GRANTS, Event, Provenance, SubjectId
from service.consent.event import OWN_WORDS
from service.db import chunks, task
from service.policy import PolicySet
from service.reports.drift.reading import Withdrawal


def started(
    tx: Connection,
    policy: PolicySet,
    withdrawals: Sequence[Withdrawal],
    events: Mapping[SubjectId, Sequence[Event]],
) -> list[Withdrawal]:
    """Return the withdrawals with their first receipts; the deadline of their own rule moves along."""
    ends = _ends(tx, [one.sub for one in withdrawals])
    found = []
    for one in withdrawals:
        first = first_receipt(
            events.get(SubjectId(one.sub), ()), one, ends.get(one.sub, ()), policy.enforcement.weakest_grade
        )
        found.append(one if first >= one.received_at else _moved(policy, one, first))
    return found


def first_receipt(
    events: Iterable[Event], one: Withdrawal, ends: Iterable[datetime], weakest_grade: str
) -> datetime:
    """Return when this withdrawal first reached anybody who acts for the controller.

    `ends` are the times when stops of this person had been carried out: what was said until then was
    obeyed, and a later stop has clocks of its own. So has one after a live grant that lifted the earlier.
    What was said before and came to us while this was under way counts.
    """
    told = list(events)
    undone = {event.corrects for event in told}
    known = sorted((event for event in told if event.index not in undone), key=lambda event: event.index)
    cause = next((event for event in known if event.index == one.cause), None)
    made_at = one.received_at if cause is None else max(one.received_at, cause.recorded_at)
    obeyed = max((end for end in ends if end < made_at), default=None)
    first: datetime | None = None
    for event in known:
        later = event.recorded_at > made_at
        if one.stopped_at is not None and event.recorded_at > one.stopped_at:
            break
        if _lifts(event, weakest_grade):
            if later:
                break
            first = None
        elif (
            event.category in OWN_WORDS
            and _same(event, cause)
            and (obeyed is None or event.recorded_at > obeyed)
        ):
            first = event.occurred_at if first is None else min(first, event.occurred_at)
    return one.received_at if first is None else min(first, one.received_at)


def _lifts(event: Event, weakest_grade: str) -> bool:
    """Return whether this grant can have ended what was refused before it; what is doubtful does not."""
    live = event.category in GRANTS and event.provenance is Provenance.LIVE and event.ground is None
    return live and event.grade <= weakest_grade


def _same(event: Event, cause: Event | None) -> bool:
    """Return whether both are about one purpose; "stop everything" is about each."""
    told = None if cause is None else cause.purpose
    return told is None or event.purpose in (None, told)


def _moved(policy: PolicySet, one: Withdrawal, first: datetime) -> Withdrawal:
    for law in policy.jurisdictions.values():
        for rule in law.deadlines:
            if rule.id == one.due_rule:
                return replace(one, received_at=first, due_at=rule.ends(first, law.days))
    return replace(one, received_at=first)  # the rule stands in an earlier set: its end is kept


def _ends(tx: Connection, subs: Sequence[bytes]) -> dict[bytes, list[datetime]]:
    """Return when stops of these people had been carried out, by person."""
    found: dict[bytes, list[datetime]] = {}
    for part in chunks(list(dict.fromkeys(subs))):
        for sub, at in tx.execute(select(task.c.sub, task.c.stopped_at).where(task.c.sub.in_(part))):
            if at is not None:
                found.setdefault(sub, []).append(at)
    return found
