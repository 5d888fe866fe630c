"""When a product is not believed, or nothing more is permitted in it: small pure rules, and their rows.

Each rule returns why it trips, or None. A breaker concerns one product; the other goes on. Stops are
never held back by a number: only a product that cannot be understood is left out of a run.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from sqlalchemy import Connection, FromClause, and_, func, insert, literal, select

from service.db import Moment, breaker, canary, contact, crm_record, member
from service.policy import PolicySet
from service.policy.limits import Breaker
from service.reconciler.actors import called
from service.reconciler.enforcement import CAMPAIGNS
from service.reconciler.plan import Change
from service.reconciler.port import Member

CRM = "crm"
PRODUCTS = (CRM, CAMPAIGNS)
LIMITS = "policies/enforcement.toml"

Stops = Literal["all", "permissions"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Trip:
    """One breaker that tripped; `stops` is all (the product is left out) or permissions alone."""

    target: str
    name: str
    stops: Stops
    reason: str


def blind(trips: Iterable[Trip]) -> frozenset[str]:
    """Return the products that are left out of the run."""
    return frozenset(trip.target for trip in trips if trip.stops == "all")


def held(trips: Iterable[Trip]) -> frozenset[str]:
    """Return the products in which nothing is permitted: those that are left out as well, and no others."""
    return frozenset(trip.target for trip in trips)


def shrunken_read(seen: Mapping[str, int], before: Mapping[str, int], largest_shrink: float) -> str | None:
    """Return why a read is not believed: nobody was read, or far fewer than last time.

    Keys are what was read (`crm`, `permission`, `list:<name>`), all of one product.
    """
    if not sum(count for name, count in seen.items() if name != "permission"):
        return "returned nobody at all; check its mapping in policies/zoho.toml and its permissions"
    for name, count in before.items():
        if seen.get(name, 0) < count * (1 - largest_shrink):
            return (
                f"{name} returned {seen.get(name, 0)} where the last run saw {count}, which is fewer than "
                f"largest_shrink in {LIMITS} allows; find out why, or raise it for one run"
            )
    return None


def unknown_values(unknown: int, of: int, limit: float) -> str | None:
    """Return why values cannot be understood: too large a share means neither stop nor go."""
    if of and unknown / of > limit:
        return (
            f"{unknown} of {of} values mean neither stop nor go, more than unknown_values in {LIMITS} "
            "allows; check the field that policies/zoho.toml names"
        )
    return None


def many_re_permissions(people: int, of: int, limit: Breaker) -> str | None:
    """Return why so many people may not be let go at once: their number, or their share of all."""
    if people > limit.re_permissions:
        return (
            f"{people} people could be mailed again, more than re_permissions in {LIMITS} allows "
            f"({limit.re_permissions}); find out where their consents come from"
        )
    if people >= limit.re_permissions_free and of and people / of > limit.re_permission_share:
        return (
            f"{people} of {of} people could be mailed again, a larger share than re_permission_share in "
            f"{LIMITS} allows ({limit.re_permission_share:.1%}); find out where they consented"
        )
    return None


def sudden_change(by_actor: Mapping[str, int], limit: int) -> str | None:
    """Return why nothing is permitted after one actor changed so many people since the last run."""
    if not by_actor:
        return None
    actor, people = max(by_actor.items(), key=lambda pair: (pair[1], pair[0]))
    if people <= limit:
        return None
    return (
        f"{called(actor)} changed the consent of {people} records since the last run, more than one_actor in "
        f"{LIMITS} allows ({limit}); ask what it was"
    )


def wrong_polarity(wrong: Sequence[str]) -> str | None:
    """Return why a mapping is not believed: what our own contacts show is not what was written."""
    if not wrong:
        return None
    return f"{'; '.join(wrong)}: stop and go may have changed places; check the mapping in policies/zoho.toml"


def judge_reads(seen: Mapping[str, int], before: Mapping[str, int], largest_shrink: float) -> list[Trip]:
    """Return the products whose read cannot be believed beside the last one that was."""
    trips = []
    for target in PRODUCTS:
        reason = shrunken_read(_of(target, seen), _of(target, before), largest_shrink)
        if reason is not None:
            told = "CRM" if target == CRM else "Campaigns"
            trips.append(Trip(target=target, name="shrunken read", stops="all", reason=f"{told}: {reason}"))
    return trips


def judge_values(tx: Connection, policy: PolicySet) -> list[Trip]:
    """Return the products in whose mirrors too many values mean neither stop nor go."""
    ours = select(canary.c.address_index)
    records, odd = tx.execute(select(func.count(), func.sum(crm_record.c.unknown))).one()
    active = and_(contact.c.address_index == member.c.address_index, member.c.status == Member.ACTIVE.value)
    told, people = tx.execute(
        select(func.count(contact.c.permission), func.count())
        .select_from(contact)
        .where(select(member.c.list_name).where(active).exists(), contact.c.address_index.not_in(ours))
    ).one()
    counts = {CRM: (odd or 0, records), CAMPAIGNS: (people - told if told else 0, people)}
    trips = []
    for target, (unknown, of) in counts.items():
        if reason := unknown_values(unknown, of, limit_of(policy, target).unknown_values):
            trips.append(Trip(target=target, name="unknown values", stops="all", reason=reason))
    return trips


def judge_actors(tx: Connection, policy: PolicySet, run_id: int, since: datetime | None) -> list[Trip]:
    """Return the products in which one actor changed many people's consent since the last run."""
    if since is None:
        return []
    who = func.coalesce(crm_record.c.modified_by, "somebody unnamed")
    changed = select(who, func.count()).where(crm_record.c.changed_run == run_id).group_by(who)
    widened = select(func.count()).where(
        contact.c.permission == "granted",
        contact.c.was == "refused",
        contact.c.since > literal(since, Moment()),
    )
    actors: dict[str, dict[str, int]] = {CRM: {str(actor): people for actor, people in tx.execute(changed)}}
    if regranted := tx.scalar(widened):
        actors[CAMPAIGNS] = {"somebody (Campaigns does not say who)": regranted}
    trips = []
    for target, by_actor in actors.items():
        if reason := sudden_change(by_actor, limit_of(policy, target).one_actor):
            trips.append(Trip(target=target, name="one actor", stops="permissions", reason=reason))
    return trips


def judge_re_permissions(tx: Connection, policy: PolicySet, permits: Sequence[Change]) -> list[Trip]:
    """Return the products in which more people could be let go than one plan may ask for."""
    trips = []
    tables: dict[str, FromClause] = {CRM: crm_record, CAMPAIGNS: contact}
    for target, table in tables.items():
        people = len({item.address_index for item in permits if item.target.startswith(target)})
        of = tx.scalar(select(func.count()).select_from(table)) or 0
        if reason := many_re_permissions(people, of, limit_of(policy, target)):
            trips.append(Trip(target=target, name="re-permissions", stops="permissions", reason=reason))
    return trips


def limit_of(policy: PolicySet, target: str) -> Breaker:
    """Return the limits of one product."""
    limits = policy.enforcement.breakers
    return limits.crm if target == CRM else limits.campaigns


def keep(tx: Connection, run_id: int, trips: Iterable[Trip], at: datetime) -> None:
    """Keep what tripped in a run."""
    rows = [
        {
            "run_id": run_id,
            "target": trip.target,
            "name": trip.name,
            "stops": trip.stops,
            "reason": trip.reason,
            "tripped_at": at,
        }
        for trip in trips
    ]
    if rows:
        tx.execute(insert(breaker), rows)


def tripped(tx: Connection, run_id: int) -> list[Trip]:
    """Return what tripped in a run."""
    rows = tx.execute(
        select(breaker.c.target, breaker.c.name, breaker.c.stops, breaker.c.reason)
        .where(breaker.c.run_id == run_id)
        .order_by(breaker.c.target, breaker.c.name)
    )
    return [Trip(**row) for row in rows.mappings()]


def _of(target: str, counts: Mapping[str, int]) -> dict[str, int]:
    return {name: count for name, count in counts.items() if (name == CRM) == (target == CRM)}
