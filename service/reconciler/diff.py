"""Find where a product and the ledger disagree: one statement, one kind per person, rows in `drift`.

Must run before the run's news are recorded, while it can still be seen what contradicted what. Kinds
that stop somebody are repaired by the plan; the rest is listed for people to decide.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import (
    ColumnElement,
    CompoundSelect,
    Connection,
    Select,
    and_,
    case,
    false,
    func,
    literal,
    not_,
    null,
    or_,
    select,
    true,
    union_all,
)

from service.consent import State
from service.db import Moment, drift, insert_rows
from service.policy import PolicySet
from service.reconciler.people import people
from service.reconciler.placing import known, places_of
from service.reconciler.sealed import sealed_address
from service.vault import Vault

STOPPING = {
    "complaint_not_in_crm": "marked our mail as spam",
    "hard_bounce_not_in_crm": "the mailbox bounced for good",
    "repeated_soft_bounce_not_in_crm": "the mailbox bounced too often",
    "duplicate_contradiction": "records of one address contradict each other",
    "permission_refused_in_campaigns": "Marketing Permission is refused in Campaigns",
    "unsubscribed_not_in_crm": "left in Campaigns",
    "opted_out_by_hand": "opted out in CRM",
    "withdrawn_not_enforced": "refused or suppressed in the ledger",
    "permitted_without_consent": "no consent is known, and the policy says stop",
}
"""Kinds that the plan repairs, most pressing first, and why."""

RE_PERMISSION = "re_permission"
REPORTED = ("list_lag_missing", "list_lag_stale")
"""Kinds that are only listed: nobody is put on a list from here."""

DATED = frozenset(STOPPING) - {
    "hard_bounce_not_in_crm",
    "repeated_soft_bounce_not_in_crm",
    "permitted_without_consent",
}
"""Kinds in which somebody said stop, so that a legal clock runs."""

CHUNK = 1_000
ROOMY = "SET LOCAL work_mem = '128MB'"
"""For one transaction: millions of people are joined in memory or in few parts, not sorted on disk."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What one comparison found: people by kind, and permitted people without consent by (country, state)."""

    kinds: Mapping[str, int]
    without_consent: Mapping[tuple[str, str], int]


def compare(
    tx: Connection,
    run_id: int,
    *,
    policy: PolicySet,
    vault: Vault,
    now: datetime,
    without: frozenset[str] = frozenset(),
) -> Found:
    """Compare the mirrors with the ledger and keep what disagrees as this run's `drift` rows.

    The products `without` are as if nobody were in them.
    """
    if tx.dialect.name == "postgresql":
        tx.exec_driver_sql(ROOMY)
    kinds: dict[str, int] = {}
    uncounted: dict[tuple[str, str], int] = {}
    found = tx.execute(disagreeing(policy, now, without), execution_options={"yield_per": CHUNK})
    for part in found.partitions():
        shown = [row for row in part if row.address_index is not None]
        places = places_of(tx, [row for row in shown if row.kind in DATED], policy, vault)
        rows = [_row(row, run_id, policy, places.get(row.address_index)) for row in shown]
        insert_rows(tx, drift, rows)
        for kept in rows:
            kinds[kept["kind"]] = kinds.get(kept["kind"], 0) + 1
        for row in (row for row in part if row.address_index is None):
            group = (known(row.jurisdiction), row.kind)
            uncounted[group] = uncounted.get(group, 0) + row.people
    return Found(
        kinds=kinds,
        without_consent={
            (jurisdiction, state): count
            for (jurisdiction, state), count in uncounted.items()
            if policy.enforcement.choice(jurisdiction, state) == "report"
        },
    )


def disagreeing(
    policy: PolicySet, now: datetime, without: frozenset[str] = frozenset()
) -> CompoundSelect[Any]:
    """Select everybody about whom a product and the ledger disagree: the one statement of the comparison.

    Rows without an address count the people whom a product permits although the ledger knows no
    permission; `kind` is their state there. Both stores work the people out once, because both halves
    ask for them.
    """
    person = people(policy, now, without)
    named = select(person, _kind(person, policy, whole=not without).label("kind")).cte("named")
    kinds = select(
        named.c.address_index,
        named.c.sub,
        named.c.jurisdiction,
        named.c.kind,
        _since(named, now).label("since"),
        sealed_address(named.c.address_index).label("address"),
        literal(1).label("people"),
    ).where(named.c.kind.is_not(None))
    return union_all(kinds, _without_consent(person))


def new_since(tx: Connection, run_id: int, previous: int | None) -> dict[str, int]:
    """Return the people by kind that this run found and the previous one had not, or had repaired."""
    before = drift.alias("before")
    known = select(before.c.kind).where(
        before.c.run_id == (previous or 0),
        before.c.kind == drift.c.kind,
        before.c.address_index == drift.c.address_index,
        before.c.state != "repaired",
    )
    fresh = (
        select(drift.c.kind, func.count())
        .where(drift.c.run_id == run_id, ~known.exists())
        .group_by(drift.c.kind)
    )
    return dict(tx.execute(fresh).all())


def _kind(person: Any, policy: PolicySet, *, whole: bool) -> ColumnElement[str | None]:  # noqa: ANN401  # a CTE's columns are untyped
    """Return the one kind of each person, or NULL: the first that fits, in the order of `STOPPING`.

    Unless the view is `whole`, nothing is said of who is held back or missing in one of the products.
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
        (and_(seen, p.state == State.PERMITTED.value, held_back), RE_PERMISSION),
        (and_(p.permits == 1, _stop_without_consent(person, policy)), "permitted_without_consent"),
        (and_(seen, missing), "list_lag_missing"),
        (and_(seen, stale), "list_lag_stale"),
        else_=None,
    )


def _stop_without_consent(person: Any, policy: PolicySet) -> ColumnElement[bool]:  # noqa: ANN401  # as above
    """Return for whom the policy says stop although nobody said so: by jurisdiction and state."""
    chosen = policy.enforcement.without_consent
    states = {
        where: [state for state in ("unknown", "pending", "expired") if getattr(choice, state) == "stop"]
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
    return or_(elsewhere, *named)


def _since(named: Any, now: datetime) -> ColumnElement[Any]:  # noqa: ANN401  # as above
    """Return since when each person's products disagree, as well as anybody knows; else this run."""
    n = named.c
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


def _row(row: Any, run_id: int, policy: PolicySet, place: tuple[str, str] | None) -> dict[str, Any]:  # noqa: ANN401  # a result row
    """Return a `drift` row; `place` is the jurisdiction and the address of who has a clock."""
    due_at, rule, where = None, None, row.jurisdiction
    if place is not None:
        where, address = place
        due_at, deadline = policy.stop_by(row.since, where, address=address)
        rule = deadline.id
    return {
        "run_id": run_id,
        "kind": row.kind,
        "address_index": row.address_index,
        "sub": row.sub,
        "jurisdiction": known(where),
        "since": row.since,
        "due_at": due_at,
        "due_rule": rule,
        "action": _action(row.kind),
        "state": "found",
    }


def _action(kind: str) -> str:
    if kind in STOPPING:
        return "stop"
    return "permit" if kind == RE_PERMISSION else "report"


def _without_consent(person: Any) -> Select[Any]:  # noqa: ANN401  # as above
    """Count whom a product permits although the ledger knows no permission, by jurisdiction and state."""
    p = person.c
    return (
        select(
            null().label("address_index"),
            null().label("sub"),
            p.jurisdiction,
            p.state.label("kind"),
            null().label("since"),
            null().label("address"),
            func.count().label("people"),
        )
        .where(p.permits == 1, not_(p.stop == 1), p.state.in_(["unknown", "pending", "expired"]))
        .group_by(p.jurisdiction, p.state)
    )
