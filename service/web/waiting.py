"""A request for consent that waits for its confirmation: whose it is, what it asked, how far it came.

Reads only. What came after it decides: a confirmation, a refusal, a correction, or too many days.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from sqlalchemy import Connection

from service.consent import GRANTS, REFUSALS, Category, Event, State, SubjectId
from service.errors import NotFound
from service.intake.projection import events_of
from service.ledger.canonical import Json
from service.web.edge import Edge


class Stage(StrEnum):
    """How far a request has come; one that is `over` can be confirmed no more."""

    WAITING = "waiting"
    CONFIRMED = "confirmed"
    OVER = "over"


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """One request for consent; `evidence` is what came with it."""

    sub: SubjectId
    event: Event
    stage: Stage
    evidence: Mapping[str, Json]


def asked_by(edge: Edge, token: str) -> Asked | None:
    """Return the request that a token stands for; None where there is nothing (any more) to be shown."""
    try:
        sub, index = edge.intake.vault.open_confirmation(token)
    except NotFound:
        return None
    with edge.db.read() as tx:
        events = edge.intake.events(tx, sub)
        found = next((one for one in events if one.index == index), None)
        opened = edge.intake.vault.openings(tx, [index]).get(index)
    if found is None or opened is None or found.purpose not in edge.policy.purposes:
        return None
    return Asked(sub=sub, event=found, stage=_stage(edge, events, found), evidence=opened.fields)


def waiting_of(
    edge: Edge, tx: Connection, subs: Sequence[SubjectId], purpose: str
) -> dict[SubjectId, tuple[SubjectId, Event]]:
    """Return the newest request of each of these people that waits to be confirmed."""
    told, found = events_of(tx, subs), {}
    standings = edge.intake.standings_of(tx, subs)
    for sub, events in told.items():
        pending = {one.decided_by for one in standings[sub] if one.state is State.PENDING}
        requests = [
            one
            for one in events
            if one.purpose == purpose
            and (one.category is Category.REQUESTED or (one.category in GRANTS and one.index in pending))
        ]
        newest = max(requests, key=lambda one: (one.occurred_at, one.index), default=None)
        if newest is not None and _stage(edge, events, newest) is Stage.WAITING:
            found[sub] = (sub, newest)
    return found


def until(edge: Edge, asked: Event) -> datetime:
    """Return until when a request can be confirmed (UTC)."""
    return asked.occurred_at + timedelta(days=edge.policy.purposes[asked.purpose or ""].confirm_within_days)


def _stage(edge: Edge, events: Sequence[Event], asked: Event) -> Stage:
    """Return how far a request has come, by what was recorded since."""
    later = [
        one
        for one in events
        if one.purpose in (asked.purpose, None)
        and (one.occurred_at, one.index) > (asked.occurred_at, asked.index)
    ]
    corrected = {one.corrects for one in events if one.corrects is not None}
    if asked.index in corrected or any(one.category in REFUSALS for one in later):
        return Stage.OVER
    if any(one.category is Category.CONFIRMED and one.index not in corrected for one in later):
        return Stage.CONFIRMED
    return Stage.OVER if edge.now() > until(edge, asked) else Stage.WAITING
