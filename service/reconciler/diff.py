"""Find where a product and the ledger disagree: one statement, one kind per person, rows in `drift`.

Must run before the run's news are recorded, while it can still be seen what contradicted what. Kinds
that stop somebody are repaired by the plan; the rest is listed for people to decide.
"""

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache, partial
from typing import Any

from sqlalchemy import Connection, func, select

from service.db import drift, insert_rows
from service.policy import Deadline, PolicySet
from service.reconciler import disagreement, slices
from service.reconciler.placing import known, places_of
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

RE_PERMISSION = disagreement.RE_PERMISSION
REPORTED = ("list_lag_missing", "list_lag_stale")
"""Kinds that are only listed: nobody is put on a list from here."""

DATED = frozenset(STOPPING) - {
    "hard_bounce_not_in_crm",
    "repeated_soft_bounce_not_in_crm",
    "permitted_without_consent",
}
"""Kinds in which somebody said stop, so that a legal clock runs."""

CHUNK = slices.CHUNK
"""People looked up at once, and deadlines remembered."""

Due = Callable[[datetime, str, str | None], tuple[datetime, Deadline]]
"""When mail to somebody must have stopped, by time, place and domain, and under which rule."""


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
    many: int = slices.MANY,
) -> Found:
    """Compare the mirrors with the ledger and keep what disagrees as this run's `drift` rows.

    The products `without` are as if nobody were in them. From `many` rows on, halves are compared at once:
    `tx` must have changed neither a mirror nor the ledger before, for other connections do not see that.
    """
    kinds: Counter[str] = Counter()
    unconsented: Counter[tuple[str, str]] = Counter()
    due = _remembered(policy)
    for part in slices.partitions(tx, partial(disagreement.select_all, policy, now, without), many):
        placed = [row for row in part if row.kind in DATED or row.doubtful]
        places = places_of(tx, placed, policy, vault)
        kept = [_row(row, run_id, policy, places.get(row.address_index), due) for row in part]
        rows = [row for row in kept if row["kind"] is not None]
        insert_rows(tx, drift, rows)
        kinds.update(row["kind"] for row in rows)
        for row in part:
            where, _address = places.get(row.address_index, (row.jurisdiction, ""))
            unconsented[known(where), row.state] += row.unconsented
    return Found(
        kinds=kinds,
        without_consent={
            (jurisdiction, state): count
            for (jurisdiction, state), count in unconsented.items()
            if count and policy.enforcement.choice(jurisdiction, state) == "report"
        },
    )


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


def _remembered(policy: PolicySet) -> Due:
    """Return the deadlines of a policy; those asked for last are not counted anew: many stand on one time."""

    @lru_cache(maxsize=CHUNK)
    def due(since: datetime, where: str, domain: str | None) -> tuple[datetime, Deadline]:
        return policy.stop_by(since, where, address=domain)

    return due


def _row(
    row: Any,  # noqa: ANN401  # a result row
    run_id: int,
    policy: PolicySet,
    place: tuple[str, str] | None,
    due: Due,
) -> dict[str, Any]:
    """Return a `drift` row; `place` is the jurisdiction and the address of who has a clock or is doubtful.

    Its kind is None where nothing disagrees.
    """
    due_at, rule, (where, address) = None, None, place or (row.jurisdiction, None)
    kind = row.kind
    if row.doubtful and policy.enforcement.choice(where, row.state) == "stop":
        kind = disagreement.WITHOUT_CONSENT
    if kind in DATED:
        due_at, deadline = due(row.since, where, address and address.rpartition("@")[2])
        rule = deadline.id
    return {
        "run_id": run_id,
        "kind": kind,
        "address_index": row.address_index,
        "sub": row.sub,
        "jurisdiction": known(where),
        "since": row.since,
        "due_at": due_at,
        "due_rule": rule,
        "action": _action(kind),
        "state": "found",
    }


def _action(kind: str) -> str:
    if kind in STOPPING:
        return "stop"
    return "permit" if kind == RE_PERMISSION else "report"
