"""What the products know and the ledger does not: sightings become observed events, each once.

A claim's key is made of what was seen (product, campaign or state, time), never of the run, so that a
crash and a second run record nothing twice. Evidence says how the time is known; where a product
tells none, the event carries the moment of our own sighting and says so.
"""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, bindparam, func, or_, select, update

from service.consent import Category, Provenance
from service.db import crm_address, crm_record, outcome
from service.errors import KeyReused, Refused, ServiceError
from service.intake import Claim, Recorded
from service.ledger.canonical import Json
from service.policy import PolicySet
from service.reconciler.context import Context
from service.reconciler.people import best_time, people
from service.reconciler.port import OutcomeKind
from service.reconciler.sealed import sealed_address
from service.vault.address import fold

CHUNK = 1_000
"""Claims handed to the ledger at a time."""

CRM = "zoho-crm"
CAMPAIGNS = "zoho-campaigns"

CATEGORIES = {
    OutcomeKind.COMPLAINED.value: Category.COMPLAINT,
    OutcomeKind.BOUNCED_HARD.value: Category.BOUNCE_HARD,
    OutcomeKind.BOUNCED_SOFT.value: Category.BOUNCE_SOFT,
}


@dataclass(slots=True, kw_only=True)
class News:
    """What was recorded by category, and how many claims the ledger refused as malformed."""

    recorded: dict[str, int] = field(default_factory=dict)
    refused: int = 0

    def count(self, category: Category, count: int = 1) -> None:
        """Add to what was recorded."""
        self.recorded[category.value] = self.recorded.get(category.value, 0) + count

    @property
    def total(self) -> int:
        """Return how many events were recorded."""
        return sum(self.recorded.values())


def record(context: Context, at: datetime) -> News:
    """Record all news as observed events, outcomes first; returns once they are durable."""
    news = News()
    for chunk in _outcomes(context, at):
        places = _record(context, [claim for _, claim in chunk], news)
        done = [
            {"campaign": row.campaign_key, "index": row.address_index, "what": row.kind, "place": place}
            for (row, _), place in zip(chunk, places, strict=True)
            if place is not None
        ]
        with context.db.begin() as tx:
            _mark(tx, done)
        context.progress("news", news.total, 0)
    for sightings in (_dead, _withdrawn):
        for claims in sightings(context, at):
            _record(context, claims, news)
            context.progress("news", news.total, 0)
    return news


def preview(tx: Connection, policy: PolicySet, at: datetime) -> News:
    """Count what `record` would record, without recording it."""
    news = News()
    person = people(policy, at)
    kinds = select(outcome.c.kind, func.count()).where(_unrecorded()).group_by(outcome.c.kind)
    for kind, count in tx.execute(kinds).tuples():
        news.count(CATEGORIES[kind], count)
    withdrew, dead = tx.execute(select(func.sum(person.c.withdrew), func.sum(person.c.bounce_new))).one()
    for category, count in ((Category.WITHDRAWN, withdrew), (Category.BOUNCE_HARD, dead)):
        if count:
            news.count(category, count)
    return news


def _outcomes(context: Context, at: datetime) -> Iterator[list[tuple[Any, Claim]]]:
    """Yield complaints and bounces that no entry records yet, with their claims."""
    with context.db.read() as tx:
        rows = tx.execute(
            select(
                outcome.c.campaign_key,
                outcome.c.address_index,
                outcome.c.kind,
                outcome.c.happened_at,
                outcome.c.sent_at,
                outcome.c.observed_at,
                outcome.c.address,
                best_time().label("at"),
                _jurisdiction(outcome.c.address_index).label("jurisdiction"),
            )
            .where(_unrecorded())
            .order_by(best_time(), outcome.c.campaign_key, outcome.c.kind, outcome.c.address_index)
            .execution_options(yield_per=CHUNK)
        )
        for part in rows.partitions():
            yield [(row, _outcome_claim(context, row, at)) for row in part]


def _outcome_claim(context: Context, row: Any, at: datetime) -> Claim:  # noqa: ANN401  # a result row
    if row.happened_at is not None:
        known = "told by Campaigns"
    elif row.sent_at is not None and row.at == row.sent_at:
        known = "not told; the mail was sent then"
    else:
        known = "not told; seen then"
    evidence: dict[str, Json] = {
        "campaign": row.campaign_key,
        "outcome": row.kind,
        "time_known": known,
        "observed_at": _text(row.observed_at),
    }
    if row.sent_at is not None:
        evidence["sent_at"] = _text(row.sent_at)
    return _claim(
        context,
        CATEGORIES[row.kind],
        CAMPAIGNS,
        row,
        at=at,
        key=("outcome", row.campaign_key, row.kind, row.address_index),
        evidence=evidence,
    )


def _dead(context: Context, at: datetime) -> Iterator[list[Claim]]:
    """Yield claims about people whom a list shows as bounced while no campaign tells which mail it was."""
    for rows in _people(context, at, "bounce_new"):
        yield [
            _claim(
                context,
                Category.BOUNCE_HARD,
                CAMPAIGNS,
                row,
                at=at,
                key=("list-bounce", row.bounced_since, row.address_index),
                evidence={"list_status": "bounce", "time_known": "not told; seen then"},
                occurred_at=row.bounced_since,
            )
            for row in rows
        ]


def _withdrawn(context: Context, at: datetime) -> Iterator[list[Claim]]:
    """Yield one claim per person who left in a product, by the sighting whose time is known best."""
    for rows in _people(context, at, "withdrew"):
        yield [_withdrawal(context, row, at) for row in rows]


def _withdrawal(context: Context, row: Any, at: datetime) -> Claim:  # noqa: ANN401  # a result row
    source, signal, when, known = _sighting(row)
    evidence: dict[str, Json] = {
        "signal": signal,
        "time_known": known,
        "crm_records_opted_out": row.opted_out,
        "crm_records": row.records,
        "campaigns_unsubscribed": row.unsubscribed > 0,
    }
    if row.crm_mode is not None:
        evidence["crm_unsubscribed_mode"] = row.crm_mode
    if row.permission is not None:
        evidence["marketing_permission"] = row.permission
    return _claim(
        context,
        Category.WITHDRAWN,
        source,
        row,
        at=at,
        key=("withdrawn", signal, when, row.address_index),
        evidence=evidence,
        occurred_at=when,
    )


def _sighting(row: Any) -> tuple[str, str, datetime, str]:  # noqa: ANN401  # a result row
    """Return (source, signal, time, how the time is known) of the sighting that is known best."""
    if row.left_stop and row.left_at == row.optout_told_at:
        return CAMPAIGNS, "unsubscribed", row.left_at, "told by Campaigns"
    if row.crm_stop and row.crm_told_at is not None:
        return CRM, "opted out", row.crm_at, "told by CRM"
    if row.crm_stop:
        return CRM, "opted out", row.crm_at, "not told; the record was last modified then"
    if row.left_stop:
        return CAMPAIGNS, "unsubscribed", row.left_at, "not told; seen then"
    return CAMPAIGNS, "permission refused", row.permission_since, "not told; seen then"


def _people(context: Context, at: datetime, flag: str) -> Iterator[Sequence[Any]]:
    person = people(context.policy, at)
    index = person.c.address_index
    with context.db.read() as tx:
        rows = tx.execute(
            select(person, sealed_address(index).label("address"))
            .where(person.c[flag] == 1)
            .order_by(index)
            .execution_options(yield_per=CHUNK)
        )
        yield from rows.partitions()


def _claim(
    context: Context,
    category: Category,
    source: str,
    row: Any,  # noqa: ANN401  # a result row
    *,
    at: datetime,
    key: tuple[object, ...],
    evidence: dict[str, Json],
    occurred_at: datetime | None = None,
) -> Claim:
    return Claim(
        category=category,
        source=source,
        key=_key(key),
        address=fold(context.vault.open_address(row.address)),
        purpose=context.governed,
        occurred_at=min(occurred_at or row.at, at),
        received_at=at,
        provenance=Provenance.OBSERVED,
        evidence=evidence,
        country=None if row.jurisdiction in (None, "unknown") else row.jurisdiction,
        enforce=False,
    )


def _record(context: Context, claims: Sequence[Claim], news: News) -> list[int | None]:
    """Record claims; return the entry of each, None for one that the ledger will not take."""
    places: list[int | None] = []
    for claim, result in zip(claims, context.intake.record(claims), strict=True):
        places.append(_place(result))
        if places[-1] is None:
            news.refused += 1
        elif isinstance(result, Recorded) and not result.duplicate:
            news.count(claim.category)
    return places


def _place(result: Recorded | ServiceError) -> int | None:
    match result:
        case Recorded() | KeyReused():  # reused: an earlier run recorded this sighting in other words
            return result.index
        case Refused():
            return None
        case _:
            raise result


def _mark(tx: Connection, done: Sequence[dict[str, Any]]) -> None:
    if done:
        tx.execute(
            update(outcome)
            .where(
                outcome.c.campaign_key == bindparam("campaign"),
                outcome.c.address_index == bindparam("index"),
                outcome.c.kind == bindparam("what"),
            )
            .values(recorded_idx=bindparam("place")),
            list(done),
        )


def _unrecorded() -> Any:  # noqa: ANN401  # a condition
    return outcome.c.recorded_idx.is_(None) & or_(*(outcome.c.kind == kind for kind in CATEGORIES))


def _jurisdiction(index: Any) -> Any:  # noqa: ANN401  # a column and a scalar subquery
    return (
        select(func.max(func.nullif(crm_record.c.jurisdiction, "unknown")))
        .join(
            crm_address,
            (crm_address.c.module == crm_record.c.module)
            & (crm_address.c.record_id == crm_record.c.record_id),
        )
        .where(crm_address.c.address_index == index)
        .scalar_subquery()
    )


def _key(parts: tuple[object, ...]) -> str:
    text = "\n".join(
        part.hex() if isinstance(part, bytes) else _text(part) if isinstance(part, datetime) else str(part)
        for part in parts
    )
    return f"observed:{hashlib.sha256(text.encode()).hexdigest()}"


def _text(moment: datetime) -> str:
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
