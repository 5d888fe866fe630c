"""What the products know and the ledger does not: sightings become observed events, each once.

Recorded as observed, without tasks of their own: the plan of the same run stops these people in bulk.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, bindparam, func, or_, select, true, update

from service.consent import Category
from service.db import canary, outcome
from service.errors import KeyReused, Refused, ServiceError
from service.intake import Claim, Recorded
from service.policy import PolicySet
from service.reconciler import claims, roomy
from service.reconciler.context import Context
from service.reconciler.enforcement import CAMPAIGNS
from service.reconciler.people import people
from service.reconciler.sealed import sealed_address
from service.reconciler.sides import best_time, forgotten

CHUNK = 1_000
"""Claims handed to the ledger at a time."""


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


def record(
    context: Context,
    at: datetime,
    *,
    about: Sequence[bytes] | None = None,
    enforce: bool = False,
    without: frozenset[str] = frozenset(),
) -> News:
    """Record all news as observed events, outcomes first; returns once they are durable.

    `about` are the address indexes to look at, where not all; `enforce` writes tasks as well. The products
    `without` tell nothing.
    """
    news = News()
    for chunk in _outcomes(context, at, about) if CAMPAIGNS not in without else ():
        places = _record(context, [replace(claim, enforce=enforce) for _, claim in chunk], news)
        done = [
            {"campaign": row.campaign_key, "index": row.address_index, "what": row.kind, "place": place}
            for (row, _), place in zip(chunk, places, strict=True)
            if place is not None
        ]
        with context.db.begin() as tx:
            _mark(tx, done)
        context.progress("news", news.total, 0)
    for flag, claim in (("bounce_new", claims.list_bounce), ("withdrew", claims.withdrawal)):
        for rows in _people(context, at, flag, about, without):
            _record(context, [replace(claim(context, row, at), enforce=enforce) for row in rows], news)
            context.progress("news", news.total, 0)
    return news


def preview(
    tx: Connection, policy: PolicySet, at: datetime, *, without: frozenset[str] = frozenset()
) -> News:
    """Count what `record` would record, without recording it."""
    news = News()
    roomy.prepare(tx)
    person = people(policy, at, without)
    kinds = select(outcome.c.kind, func.count()).where(_unrecorded()).group_by(outcome.c.kind)
    for kind, count in tx.execute(kinds) if CAMPAIGNS not in without else ():
        news.count(claims.CATEGORIES[kind], count)
    withdrew, dead = tx.execute(select(func.sum(person.c.withdrew), func.sum(person.c.bounce_new))).one()
    for category, count in ((Category.WITHDRAWN, withdrew), (Category.BOUNCE_HARD, dead)):
        if count:
            news.count(category, count)
    return news


def _outcomes(
    context: Context, at: datetime, about: Sequence[bytes] | None
) -> Iterator[list[tuple[Any, Claim]]]:
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
            )
            .where(_unrecorded(), _one_of(outcome.c.address_index, about))
            .order_by(best_time(), outcome.c.campaign_key, outcome.c.kind, outcome.c.address_index)
            .execution_options(yield_per=CHUNK)
        )
        for part in rows.partitions():
            yield [(row, claims.outcome(context, row, at)) for row in part]


def _people(
    context: Context,
    at: datetime,
    flag: str,
    about: Sequence[bytes] | None,
    without: frozenset[str] = frozenset(),
) -> Iterator[Sequence[Any]]:
    person = people(context.policy, at, without, about)
    index = person.c.address_index
    with context.db.read() as tx:
        if about is None:
            roomy.prepare(tx)
        rows = tx.execute(
            select(person, sealed_address(index).label("address"))
            .where(person.c[flag] == 1, _one_of(index, about))
            .order_by(index)
            .execution_options(yield_per=CHUNK)
        )
        yield from rows.partitions()


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


def _one_of(index: ColumnElement[bytes], about: Sequence[bytes] | None) -> ColumnElement[bool]:
    return true() if about is None else index.in_(about)


def _unrecorded() -> Any:  # noqa: ANN401  # a condition
    told = or_(*(outcome.c.kind == kind for kind in claims.CATEGORIES))
    ours = outcome.c.address_index.in_(select(canary.c.address_index))
    return outcome.c.recorded_idx.is_(None) & told & ~ours & ~forgotten(outcome.c.address_index)
