"""The events of a person as rows, and back: what the fold and the diff read. Derived, never evidence."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, RowMapping, bindparam, select

from service.consent import Category, Event, Ground, Provenance, Standing, SubjectId, standing
from service.db import chunks, happening
from service.intake.claim import Claim, grade
from service.ledger.store import LOG_ID
from service.policy import PolicySet
from service.policy.places import Atlas

_EVENTS = (
    select(
        happening.c.sub,
        happening.c.idx,
        happening.c.category,
        happening.c.purpose,
        happening.c.occurred_at,
        happening.c.recorded_at,
        happening.c.source,
        happening.c.provenance,
        happening.c.grade,
        happening.c.valid_until,
        happening.c.fact,
        happening.c.fact_at,
        happening.c.conditions,
        happening.c.country,
        happening.c.hint,
        happening.c.corrects,
        happening.c.brought,
    )
    .where(happening.c.log_id == LOG_ID, happening.c.sub.in_(bindparam("subs", expanding=True)))
    .order_by(happening.c.sub, happening.c.idx)
)


def row_of(
    claim: Claim,
    sub: SubjectId,
    index: int,
    graded: str,
    *,
    atlas: Atlas,
    hint: str | None,
    category: Category | None = None,
) -> dict[str, Any]:
    """Return the `event` row of one entry; a time from the future counts as the time of receipt.

    Of the country only a code is kept, and of the address only its country-code domain.
    """
    ground = claim.ground if category is None else None
    came = claim.brought if category is None else None
    return {
        "log_id": LOG_ID,
        "idx": index,
        "sub": sub,
        "category": (category or claim.category).value,
        "purpose": claim.purpose,
        "occurred_at": min(claim.happened_at, claim.received_at),
        "recorded_at": claim.received_at,
        "source": claim.source,
        "provenance": claim.provenance.value,
        "grade": graded,
        "valid_until": claim.valid_until,
        "fact": None if ground is None else ground.fact,
        "fact_at": None if ground is None else ground.at,
        "conditions": None if ground is None else ",".join(sorted(ground.conditions)),
        "country": atlas.storable(claim.country),
        "hint": hint,
        "corrects": None if category is not None else claim.corrects,
        "brought": None if came is None else ",".join(sorted(came)),
    }


def event_of(row: Mapping[str, Any] | RowMapping) -> Event:
    """Return the event of one row."""
    return Event(
        index=row["idx"],
        category=Category(row["category"]),
        purpose=row["purpose"],
        occurred_at=row["occurred_at"],
        recorded_at=row["recorded_at"],
        source=row["source"],
        provenance=Provenance(row["provenance"]),
        grade=row["grade"],
        valid_until=row["valid_until"],
        ground=_ground(row) if row["fact"] is not None else None,
        country=row["country"],
        hint=row["hint"],
        corrects=row["corrects"],
        brought=None if row["brought"] is None else _names(row["brought"]),
    )


def _ground(row: Mapping[str, Any] | RowMapping) -> Ground:
    return Ground(fact=row["fact"], at=row["fact_at"], conditions=_names(row["conditions"] or ""))


def _names(told: str) -> frozenset[str]:
    return frozenset(filter(None, told.split(",")))


def events_of(tx: Connection, subs: Sequence[SubjectId]) -> dict[SubjectId, list[Event]]:
    """Return the events of these persons, each in the order of the log."""
    found: dict[SubjectId, list[Event]] = {}
    for part in chunks(subs):
        for row in tx.execute(_EVENTS, {"subs": part}).mappings():
            found.setdefault(row["sub"], []).append(event_of(row))
    return found


def standings(
    events: Sequence[Event], policy: PolicySet, at: datetime, crm: str | None = None
) -> list[Standing]:
    """Return one standing per purpose of the policy, as of `at`, under the rules of where the person is.

    `crm` is what CRM tells about that, where no event does.
    """
    known = [event for event in events if event.recorded_at <= at]
    there = policy.place_of(known, crm).jurisdiction
    return [standing(events, purpose, policy.rules(purpose, there), at) for purpose in policy.purposes]


def alone(claim: Claim, sub: SubjectId, policy: PolicySet, crm: str | None = None) -> list[Standing]:
    """Return what a claim would add up to if its person had said nothing else, one standing per purpose."""
    hint = policy.atlas.hint(claim.address)
    event = event_of(row_of(claim, sub, 0, grade(claim), atlas=policy.atlas, hint=hint))
    return standings([event], policy, claim.received_at, crm)


def standing_row(sub: SubjectId, found: Standing) -> dict[str, Any]:
    """Return the `standing` row of a person."""
    return {
        "sub": sub,
        "purpose": found.purpose,
        "state": found.state.value,
        "reason": found.reason,
        "suppressed": found.suppressed,
        "must_stop": int(found.must_stop),
        "decided_by": found.decided_by,
        "decided_at": found.decided_at,
        "suppressed_by": found.suppressed_by,
        "valid_until": found.valid_until,
        "rule": found.rule,
        "policy": bytes.fromhex(found.policy),
    }
