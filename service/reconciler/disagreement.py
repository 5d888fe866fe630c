"""The one statement of the comparison: everybody about whom a product and the ledger disagree, and how.

Pure SQL over `people`; one kind per person. Nothing is read here; the caller runs the statement.
"""

from datetime import datetime
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Select,
    Subquery,
    and_,
    case,
    false,
    func,
    literal,
    not_,
    or_,
    select,
    true,
)

from service.consent import State
from service.db import Moment
from service.policy import UNKNOWN, PolicySet
from service.reconciler.ledger_side import Only
from service.reconciler.people import people
from service.reconciler.sealed import sealed_address

RE_PERMISSION = "re_permission"
"""Held back by a product although a newer live consent permits."""
WITHOUT_CONSENT = "permitted_without_consent"
"""Nobody said stop; the policy does, for where they are."""
WAITING = ("unknown", "pending", "expired")
"""States of people whom nobody may mail yet, or any more, and who refused nothing."""


def select_all(
    policy: PolicySet, now: datetime, without: frozenset[str] = frozenset(), only: Only = None
) -> Select[Any]:
    """Select one row per person about whom a product and the ledger disagree, and one per count of the rest.

    `unconsented` counts, by jurisdiction and state, the people whom a product permits although the ledger
    knows no permission; rows without an address stand for those of them about whom nothing disagrees. The
    people are gone through once: that is why both come from one grouping. Of who is `doubtful` the caller
    must ask where they are: CRM alone does not tell, and it decides whether the policy says stop.
    """
    named = _named(policy, now, without, only)
    n = named.c
    odd = or_(n.kind.is_not(None), n.doubtful == 1)
    keys = {
        "address_index": case((odd, n.address_index)),
        "sub": case((odd, n.sub)),
        "jurisdiction": n.jurisdiction,
        "state": n.state,
        "kind": n.kind,
        "doubtful": n.doubtful,
        "since": case((odd, _since(named, now))),
    }
    found = (
        select(
            *(column.label(name) for name, column in keys.items()),
            func.sum(n.unconsented).label("unconsented"),
        )
        .where(or_(odd, n.unconsented == 1))
        .group_by(*keys.values())
        .subquery("found")
    )
    return select(found, sealed_address(found.c.address_index).label("address"))


TIMES = (
    *("complaint_at", "hard_at", "soft_at", "crm_at", "permission_since", "left_at"),
    *("decided_at", "granted_at", "member_since"),
)


def _named(policy: PolicySet, now: datetime, without: frozenset[str], only: Only) -> Subquery:
    """Return everybody with the kind of what disagrees, or NULL; worked out once for each of them."""
    person = people(policy, now, without, only)
    p = person.c
    waiting = p.state.in_([State.UNKNOWN.value, State.PENDING.value, State.EXPIRED.value])
    unconsented = and_(p.permits == 1, p.stop != 1, waiting)
    doubtful = and_(unconsented, _differs(person, policy))
    return (
        select(
            *(p[name] for name in ("address_index", "sub", "jurisdiction", "state", *TIMES)),
            _kind(person, policy, whole=not without).label("kind"),
            case((unconsented, 1), else_=0).label("unconsented"),
            case((doubtful, 1), else_=0).label("doubtful"),
        )
        .offset(0)
        .subquery("named")
    )


def _kind(person: Any, policy: PolicySet, *, whole: bool) -> ColumnElement[str | None]:  # noqa: ANN401  # a CTE's columns are untyped
    """Return the one kind of each person, or NULL: the first that fits, in the order of `diff.STOPPING`.

    Unless the view is `whole`, nothing is said of who is in one of the products and not in the other.
    """
    p = person.c
    contradicts = and_(p.records > 1, p.opted_out > 0, p.opted_out < p.records)
    open_in_crm = p.records > p.opted_out
    fits = {
        "complaint_not_in_crm": p.complained == 1,
        "hard_bounce_not_in_crm": p.hard_bounced == 1,
        "repeated_soft_bounce_not_in_crm": p.soft_bounced == 1,
        "duplicate_contradiction": contradicts,
        "permission_refused_in_campaigns": and_(p.permission == "refused", p.active > 0),
        "unsubscribed_not_in_crm": and_(or_(p.unsubscribed > 0, p.left_stop == 1), open_in_crm),
        "opted_out_by_hand": and_(p.opted_out > 0, p.active > 0),
    }
    stop = and_(p.stop == 1, p.permits == 1)
    named = [(and_(stop, condition), name) for name, condition in fits.items()]
    held_back = or_(p.opted_out > 0, p.unsubscribed > 0, p.permission == "refused", p.bounced > 0)
    seen = true() if whole else false()
    missing = and_(p.viewed == 1, p.opted_out == 0, p.active + p.unsubscribed + p.bounced == 0)
    stale = and_(p.records > 0, p.viewed == 0, p.active > 0)
    return case(
        *named,
        (stop, "withdrawn_not_enforced"),
        (p.stop == 1, None),
        (and_(p.state == State.PERMITTED.value, held_back), RE_PERMISSION),
        (and_(p.permits == 1, _stop_without_consent(person, policy)), WITHOUT_CONSENT),
        (and_(seen, missing), "list_lag_missing"),
        (and_(seen, stale), "list_lag_stale"),
        else_=None,
    )


def _stop_without_consent(person: Any, policy: PolicySet) -> ColumnElement[bool]:  # noqa: ANN401  # as above
    """Return for whom the policy says stop although nobody said so, as far as CRM tells where they are."""
    chosen = policy.enforcement.without_consent
    states = {
        where: [state for state in WAITING if getattr(choice, state) == "stop"]
        for where, choice in chosen.items()
    }
    named = [
        and_(person.c.jurisdiction == where, person.c.state.in_(stops))
        for where, stops in states.items()
        if where != "default"
    ]
    elsewhere = and_(
        person.c.jurisdiction.not_in([where for where in chosen if where != "default"]),
        person.c.state.in_(states["default"]),
    )
    return and_(not_(_differs(person, policy)), or_(elsewhere, *named))


def _differs(person: Any, policy: PolicySet) -> ColumnElement[bool]:  # noqa: ANN401  # as above
    """Return of whom CRM alone cannot tell what the policy says, because that depends on the country.

    An event may tell another country than CRM, and where neither tells one, the address's domain may.
    """
    chosen = policy.enforcement.without_consent.values()
    mixed = [state for state in WAITING if len({getattr(one, state) for one in chosen}) > 1]
    if not mixed:
        return false()
    untold = person.c.jurisdiction == UNKNOWN
    return and_(person.c.state.in_(mixed), or_(person.c.sub.is_not(None), untold))


SINCE = (
    "complaint_at",
    "hard_at",
    "soft_at",
    "crm_at",
    "permission_since",
    "left_at",
    "decided_at",
    "granted_at",
    "member_since",
)


def _since(judged: Any, now: datetime) -> ColumnElement[Any]:  # noqa: ANN401  # as above
    """Return since when each person's products disagree, as well as anybody knows; else this run."""
    n = judged.c
    told = case(
        (n.kind == "complaint_not_in_crm", n.complaint_at),
        (n.kind == "hard_bounce_not_in_crm", n.hard_at),
        (n.kind == "repeated_soft_bounce_not_in_crm", n.soft_at),
        (n.kind.in_(["duplicate_contradiction", "opted_out_by_hand"]), n.crm_at),
        (n.kind == "permission_refused_in_campaigns", n.permission_since),
        (n.kind == "unsubscribed_not_in_crm", n.left_at),
        (n.kind == "withdrawn_not_enforced", n.decided_at),
        (n.kind == RE_PERMISSION, n.granted_at),
        (n.kind == "list_lag_stale", n.member_since),
    )
    return func.coalesce(told, literal(now, Moment()))
