"""One row per address, judged: which sightings still count, whether to stop, whether a product permits.

Pure SQL over the sides, on keyed hashes. A sighting (somebody opted out in CRM, left in Campaigns, was
refused there) counts unless the ledger has a newer live grant, or unless it is the trace of our own
write. Nothing is read or opened here; the caller runs the statement.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import CTE, ColumnElement, Connection, Select, and_, case, exists, func, or_, select

from service.consent import State
from service.db import chunks, contact, member, run
from service.policy import PolicySet
from service.reconciler.ledger_side import Only
from service.reconciler.runs import BELIEVED, KIND
from service.reconciler.sides import facts

Bool = ColumnElement[bool]


def people(
    policy: PolicySet,
    now: datetime,
    without: frozenset[str] = frozenset(),
    only: Only = None,
) -> CTE:
    """Return the CTE of all addresses in either mirror, or of `only` these, judged; see its labels.

    The products `without` are as if nobody were in them.
    """
    # OFFSET 0 changes no row: it keeps PostgreSQL from copying each flag into whatever asks for it.
    return _judged(facts(policy, now, without, only), policy).offset(0).cte("person")


def familiar(tx: Connection, indexes: Sequence[bytes]) -> tuple[set[bytes], bool]:
    """Return whom Campaigns' mirror knows of these addresses, and whether it was ever read to the end."""
    known: set[bytes] = set()
    for part in chunks(indexes):
        for table in (member, contact):
            known.update(tx.scalars(select(table.c.address_index).where(table.c.address_index.in_(part))))
    complete = exists().where(run.c.kind == KIND, run.c.state.in_(BELIEVED))
    return known, bool(tx.scalar(select(complete)))


TAKEN_OVER = (
    *("address_index", "sub", "suppressed", "decided_at", "granted_at", "permission", "permission_since"),
    *("crm_at", "crm_told_at", "crm_mode", "optout_told_at"),
    *("complaint_at", "soft_at", "bounced_since", "member_since"),
)
COUNTS = ("records", "opted_out", "viewed", "active", "unsubscribed", "bounced")


def _judged(fact: CTE, policy: PolicySet) -> Select[Any]:
    """Say which sightings count, whether they add up to stop, and whether a product still permits."""
    f = fact.c
    left, mail = _said(fact), _mail(fact, policy.enforcement.soft_bounce_limit)
    sighted = or_(*(_true(condition) for condition in left.values()))
    stop = or_(_must_stop(fact), sighted, *(_true(mail[name]) for name in SUPPRESSING))
    withdrew = and_(sighted, ~_forgotten(fact), func.coalesce(f.state, "") != State.REFUSED.value)
    flags = (
        left
        | mail
        | {"stop": stop, "withdrew": withdrew, "permits": or_(f.records > f.opted_out, f.active > 0)}
    )
    return select(
        *(f[name] for name in TAKEN_OVER),
        *(func.coalesce(f[name], 0).label(name) for name in COUNTS),
        _left_at(fact).label("left_at"),
        func.coalesce(f.hard_at, f.bounced_since).label("hard_at"),
        func.coalesce(f.jurisdiction, "unknown").label("jurisdiction"),
        func.coalesce(f.state, State.UNKNOWN.value).label("state"),
        *(case((condition, 1), else_=0).label(name) for name, condition in flags.items()),
    )


def _said(fact: CTE) -> dict[str, Bool]:
    """Return which sightings of somebody who said stop count: in CRM, left in Campaigns, refused there."""
    f, left_at = fact.c, _left_at(fact)
    untold = and_(f.crm_told_at.is_(None), f.granted_at.is_(None), f.ours_until.is_not(None))
    crm_ours = or_(untold, _ours(fact, f.crm_at))
    left_after = or_(_told_counts(fact), _after(fact, left_at))
    left = or_(f.unsubscribed > 0, f.optout_seen_at.is_not(None))
    refused_after = and_(_after(fact, f.permission_since), ~_ours(fact, f.permission_since))
    return {
        "crm_stop": and_(f.opted_out > 0, _may_follow(fact, f.crm_at, f.granted_second), ~crm_ours),
        "left_stop": and_(left, left_after, or_(f.optout_told_at.is_not(None), ~_ours(fact, left_at))),
        "refused_stop": and_(f.permission == "refused", refused_after),
    }


SUPPRESSING = ("complained", "hard_bounced", "soft_bounced")


def _mail(fact: CTE, limit: int) -> dict[str, Bool]:
    """Return what became of our mail: what no entry records yet, or records and still suppresses."""
    f, must_stop = fact.c, _must_stop(fact)
    unknown = or_(f.hard_recorded_at.is_(None), f.hard_recorded_at < f.bounced_since)
    on_list_alone = and_(f.bounced > 0, func.coalesce(f.hards, 0) == 0, func.coalesce(f.softs, 0) < limit)
    bounce_new = and_(on_list_alone, unknown, ~_forgotten(fact))
    bounced = or_(and_(f.hards > 0, f.hards_new > 0), bounce_new)
    known = and_(or_(f.hards > 0, on_list_alone), must_stop)
    return {
        "bounce_new": bounce_new,
        "complained": and_(f.complaints > 0, or_(f.complaints_new > 0, must_stop)),
        "hard_bounced": or_(bounced, known),
        "soft_bounced": and_(f.softs >= limit, or_(f.softs_new > 0, must_stop)),
    }


def _must_stop(fact: CTE) -> Bool:
    """Return whether the ledger says stop: by the standing, or because the erased are kept out."""
    kept_out = and_(fact.c.kept_out == 1, func.coalesce(fact.c.state, "") != State.PERMITTED.value)
    return or_(func.coalesce(fact.c.must_stop, 0) == 1, kept_out)


def _forgotten(fact: CTE) -> Bool:
    """Return whether this is about somebody erased, of whom the ledger records nothing any more."""
    return and_(fact.c.kept_out == 1, fact.c.sub.is_(None))


def _left_at(fact: CTE) -> ColumnElement[Any]:
    """Return when somebody left in Campaigns: its own word, else when we saw the change, else first saw it.

    Its word is overruled by a change that we saw after a grant which that word precedes: they left again.
    """
    f = fact.c
    first_seen = func.coalesce(f.optout_told_at, f.left_since, f.optout_seen_at)
    return case(
        (_told_counts(fact), f.optout_told_at),
        (f.left_seen_at.is_not(None), f.left_seen_at),
        else_=first_seen,
    )


def _after(fact: CTE, at: ColumnElement[Any]) -> Bool:
    """Return whether a sighting is newer than the live grant that decides, if one does."""
    return or_(fact.c.granted_at.is_(None), at > fact.c.granted_at)


def _told_counts(fact: CTE) -> Bool:
    """Return whether Campaigns' own word about an opt-out counts; it is exact to the minute."""
    told_at = fact.c.optout_told_at
    return and_(told_at.is_not(None), _may_follow(fact, told_at, fact.c.granted_minute))


def _may_follow(fact: CTE, at: ColumnElement[Any], granted_from: ColumnElement[Any]) -> Bool:
    """Return whether a time that a product told may lie after the live grant, as exactly as it tells times.

    One that an entry records already was before that grant: the ledger knew of it when it was given.
    """
    unknown = or_(fact.c.withdrawn_at.is_(None), fact.c.withdrawn_at < at)
    return or_(_after(fact, at), and_(at > granted_from, unknown))


def _ours(fact: CTE, at: ColumnElement[Any]) -> Bool:
    return and_(fact.c.ours_until.is_not(None), at <= fact.c.ours_until)


def _true(condition: Bool) -> Bool:
    """Return a condition in which "nobody knows" is false."""
    return case((condition, 1), else_=0) == 1
