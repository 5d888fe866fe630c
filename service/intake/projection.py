"""The events of a person as rows, and back: what the fold and the diff read. Derived, never evidence."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, RowMapping, bindparam, select

from service.consent import Category, Event, Provenance, Standing, SubjectId, standing
from service.db import chunks, happening
from service.intake.claim import Claim
from service.ledger.store import LOG_ID
from service.policy import PolicySet

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
    )
    .where(happening.c.log_id == LOG_ID, happening.c.sub.in_(bindparam("subs", expanding=True)))
    .order_by(happening.c.sub, happening.c.idx)
)


def row_of(
    claim: Claim, sub: SubjectId, index: int, graded: str, *, category: Category | None = None
) -> dict[str, Any]:
    """Return the `event` row of one entry; a time from the future counts as the time of receipt."""
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
    )


def events_of(tx: Connection, subs: Sequence[SubjectId]) -> dict[SubjectId, list[Event]]:
    """Return the events of these persons, each in the order of the log."""
    found: dict[SubjectId, list[Event]] = {}
    for part in chunks(subs):
        for row in tx.execute(_EVENTS, {"subs": part}).mappings():
            found.setdefault(row["sub"], []).append(event_of(row))
    return found


def standings(events: Sequence[Event], policy: PolicySet, at: datetime) -> list[Standing]:
    """Return one standing per purpose of the policy, as of `at`."""
    return [standing(events, purpose, policy.rules(purpose), at) for purpose in policy.purposes]
