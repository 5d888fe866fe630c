"""One row per address, judged: which sightings still count, whether to stop, whether a product permits.

Pure SQL over the sides, on keyed hashes. A sighting (somebody opted out in CRM, left in Campaigns, was
refused there) counts unless the ledger has a newer live grant, or unless it is the trace of our own
write. Nothing is read or opened here; the caller runs the statement.
"""

from datetime import datetime
from typing import Any

from sqlalchemy import CTE, ColumnElement, Select, and_, case, func, or_, select

from service.consent import State
from service.policy import PolicySet
from service.reconciler.sides import facts

Bool = ColumnElement[bool]


def people(policy: PolicySet, now: datetime) -> CTE:
    """Return the CTE of all addresses in either mirror, judged; see the labels at its end."""
    return _judged(facts(policy, now), policy).cte("person")


def _judged(fact: CTE, policy: PolicySet) -> Select[Any]:
    """Say which sightings count, whether they add up to stop, and whether a product still permits."""
    f = fact.c
    must_stop = func.coalesce(f.must_stop, 0) == 1
    crm_at, left_at, refused_at = f.crm_at, _left_at(fact), f.permission_since
    untold = and_(f.crm_told_at.is_(None), f.granted_at.is_(None), f.ours_until.is_not(None))
    crm_ours = or_(untold, _ours(fact, crm_at))
    crm_stop = and_(f.opted_out > 0, _after(fact, crm_at), ~crm_ours)
    left = or_(f.unsubscribed > 0, f.optout_seen_at.is_not(None))
    left_stop = and_(left, _after(fact, left_at), or_(f.optout_told_at.is_not(None), ~_ours(fact, left_at)))
    refused_stop = and_(f.permission == "refused", _after(fact, refused_at), ~_ours(fact, refused_at))
    dead_list = and_(
        f.bounced > 0, _none(f.hards), func.coalesce(f.softs, 0) < policy.enforcement.soft_bounce_limit
    )
    bounce_new = and_(dead_list, or_(f.hard_recorded_at.is_(None), f.hard_recorded_at < f.bounced_since))
    complained = and_(f.complaints > 0, or_(f.complaints_new > 0, must_stop))
    hard = or_(
        and_(f.hards > 0, or_(f.hards_new > 0, must_stop)), and_(dead_list, or_(bounce_new, must_stop))
    )
    soft = and_(f.softs >= policy.enforcement.soft_bounce_limit, or_(f.softs_new > 0, must_stop))
    sighted = or_(_true(crm_stop), _true(left_stop), _true(refused_stop))
    stop = or_(must_stop, sighted, _true(complained), _true(hard), _true(soft))
    return select(
        *(
            f[name]
            for name in ("address_index", "sub", "suppressed", "decided_at", "granted_at", "permission")
        ),
        *(f[name] for name in ("crm_at", "crm_told_at", "crm_mode", "optout_told_at", "permission_since")),
        *(f[name] for name in ("complaint_at", "soft_at", "bounced_since", "member_since")),
        *(_zero(f[name]) for name in ("records", "opted_out", "viewed", "active", "unsubscribed", "bounced")),
        left_at.label("left_at"),
        func.coalesce(f.hard_at, f.bounced_since).label("hard_at"),
        func.coalesce(f.jurisdiction, "unknown").label("jurisdiction"),
        func.coalesce(f.state, State.UNKNOWN.value).label("state"),
        _flag(crm_stop, "crm_stop"),
        _flag(left_stop, "left_stop"),
        _flag(refused_stop, "refused_stop"),
        _flag(bounce_new, "bounce_new"),
        _flag(complained, "complained"),
        _flag(hard, "hard_bounced"),
        _flag(soft, "soft_bounced"),
        _flag(stop, "stop"),
        _flag(and_(sighted, func.coalesce(f.state, "") != State.REFUSED.value), "withdrew"),
        _flag(or_(f.records > f.opted_out, f.active > 0), "permits"),
    )


def _left_at(fact: CTE) -> ColumnElement[Any]:
    """Return when somebody left in Campaigns: its own word, else when we saw the change, else first saw it.

    Its word is overruled by a change that we saw after a grant which that word precedes: they left again.
    """
    f = fact.c
    told_counts = and_(f.optout_told_at.is_not(None), _after(fact, f.optout_told_at))
    first_seen = func.coalesce(f.optout_told_at, f.left_since, f.optout_seen_at)
    return case(
        (told_counts, f.optout_told_at), (f.left_seen_at.is_not(None), f.left_seen_at), else_=first_seen
    )


def _after(fact: CTE, at: ColumnElement[Any]) -> Bool:
    """Return whether a sighting is newer than the live grant that decides, if one does."""
    return or_(fact.c.granted_at.is_(None), at > fact.c.granted_at)


def _ours(fact: CTE, at: ColumnElement[Any]) -> Bool:
    return and_(fact.c.ours_until.is_not(None), at <= fact.c.ours_until)


def _none(count: ColumnElement[Any]) -> Bool:
    return func.coalesce(count, 0) == 0


def _zero(count: ColumnElement[Any]) -> ColumnElement[Any]:
    return func.coalesce(count, 0).label(count.name)


def _true(condition: Bool) -> Bool:
    """Return a condition in which "nobody knows" is false."""
    return case((condition, 1), else_=0) == 1


def _flag(condition: Bool, name: str) -> ColumnElement[int]:
    return case((condition, 1), else_=0).label(name)
