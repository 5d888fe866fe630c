"""Look at both products for one run: read them, and judge what of it can be believed.

Our own canaries are written before and read back after. A product whose read lost people keeps its mirror.
"""

from collections.abc import Mapping
from datetime import datetime

from service.errors import ServiceError, Unsafe
from service.reconciler import breakers, canaries, mirror, runs
from service.reconciler.breakers import PRODUCTS, Trip
from service.reconciler.context import Context
from service.reconciler.enforcement import CAMPAIGNS
from service.reconciler.observe import observe


def look(context: Context, *, applying: bool) -> tuple[int, int | None, list[Trip]]:
    """Read both products into the mirrors; return this run, the one to compare with, and what tripped."""
    with context.db.begin() as tx:
        run_id = runs.begin(tx, context.now())
        believed = runs.last_believed(tx, run_id)
    context.progress("observing", 0, 0)
    previous, since, before = believed or (None, None, {})
    try:
        if applying:
            canaries.drive(context)
        observe(context, run_id, since=since)
        with context.db.read() as tx:
            seen = mirror.count_seen(tx, run_id)
        trips = _judged(context, run_id, seen, before, since, applying=applying)
    except ServiceError as error:
        with context.db.begin() as tx:
            runs.advance(tx, run_id, "refused", finished_at=context.now(), reason=str(error))
        raise
    context.progress("believed", sum(seen.values()), sum(seen.values()))
    unread = {trip.target for trip in trips if trip.name == "shrunken read"}
    with context.db.begin() as tx:
        mirror.drop_unseen(tx, run_id, keep=frozenset(unread))
        breakers.keep(tx, run_id, trips, context.now())
        runs.advance(tx, run_id, "observing", seen=_believable(seen, before, unread))
        if breakers.CRM in breakers.blind(trips):
            runs.advance(tx, run_id, "observing", crm={})  # no increment builds on what is not believed
    context.progress("observed", sum(seen.values()), sum(seen.values()))
    return run_id, previous, trips


def _judged(
    context: Context,
    run_id: int,
    seen: Mapping[str, int],
    before: Mapping[str, int],
    since: datetime | None,
    *,
    applying: bool,
) -> list[Trip]:
    """Return the breakers that this read trips; raises `Unsafe` where nothing of it can be believed."""
    policy = context.policy
    trips = breakers.judge_reads(seen, before, policy.enforcement.largest_shrink)
    trips += canaries.judge(context, applying=applying)
    with context.db.read() as tx:
        trips += breakers.judge_values(tx, policy)
        trips += breakers.judge_actors(tx, policy, run_id, since)
    if breakers.blind(trips) == frozenset(PRODUCTS):
        with context.db.begin() as tx:
            breakers.keep(tx, run_id, trips, context.now())
        raise Unsafe("; ".join(trip.reason for trip in trips if trip.stops == "all"))
    return trips


def _believable(seen: Mapping[str, int], before: Mapping[str, int], unread: set[str]) -> dict[str, int]:
    """Return the counts that the next run is compared with: where this read is not believed, former ones."""
    return {
        **{name: n for name, n in before.items() if _product(name) in unread},
        **{name: n for name, n in seen.items() if _product(name) not in unread},
    }


def _product(name: str) -> str:
    return name if name == breakers.CRM else CAMPAIGNS
