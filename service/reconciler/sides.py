"""The sides of the comparison, each with one row per address: CRM, lists, outcomes, the ledger.

Pure SQL over the mirrors and the standing projection; nothing is judged here.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import (
    CTE,
    BigInteger,
    ColumnElement,
    and_,
    case,
    false,
    func,
    literal,
    or_,
    select,
    true,
    type_coerce,
    union,
)

from service.consent import Category, Provenance, State
from service.db import (
    Moment,
    canary,
    contact,
    crm_address,
    crm_record,
    happening,
    member,
    outcome,
    standing,
    subject,
    suppression,
)
from service.ledger.store import LOG_ID
from service.policy import PolicySet
from service.reconciler.enforcement import PERMITS
from service.reconciler.port import Member, OutcomeKind

CLOCKS_DIFFER = timedelta(minutes=10)
"""A sighting so soon after our own write is the trace of that write, whatever the vendor's clock says."""

SECOND = timedelta(seconds=1)
MINUTE = timedelta(minutes=1)
"""How exactly CRM and Campaigns tell times: a later moment of the same second, or minute, is possible."""


def facts(
    policy: PolicySet,
    now: datetime,
    without: frozenset[str] = frozenset(),
    only: Sequence[bytes] | None = None,
) -> CTE:
    """Put the sides together; every column is named once and may be NULL where a side knows nothing.

    The products `without` (`crm`, `campaigns`) are as if nobody were in them. Our own canaries never count.
    `only` are the addresses to look at, where not all: each side then reads no more than theirs.
    """
    lists = [entry for entry in policy.zoho.campaigns.lists if entry.purpose == policy.zoho.governs]
    names = [entry.name for entry in lists]
    crm, on_lists, mailed = _crm(names, only), _lists(names, only), _outcomes(policy, now, only)
    ledger = _ledger(policy.zoho.governs, now, only)
    ours = select(canary.c.address_index)
    sources = [
        (
            "crm",
            select(crm_address.c.address_index).where(
                crm_address.c.address_index.not_in(ours), _among(crm_address.c.address_index, only)
            ),
        ),
        (
            "campaigns",
            select(member.c.address_index).where(
                member.c.list_name.in_(names),
                member.c.address_index.not_in(ours),
                _among(member.c.address_index, only),
            ),
        ),
        (
            "campaigns",
            select(outcome.c.address_index).where(
                outcome.c.address_index.not_in(ours), _among(outcome.c.address_index, only)
            ),
        ),
    ]
    left = [source.distinct() for product, source in sources if product not in without]
    everybody = (union(*left) if len(left) > 1 else left[0]).cte("everybody")
    index = everybody.c.address_index
    joined: Any = everybody
    for product, side in (
        *(("crm", crm), ("campaigns", on_lists), ("campaigns", mailed)),
        *(("campaigns", contact), ("", ledger), ("", suppression)),
    ):
        shown = side.c.address_index == index
        joined = joined.outerjoin(side, false() if product in without else shown)
    columns = [
        column
        for side in (crm, on_lists, mailed, ledger)
        for column in side.c
        if column.name != "address_index"
    ]
    return (
        select(
            index,
            *columns,
            contact.c.permission,
            contact.c.since.label("permission_since"),
            case((suppression.c.address_index.is_not(None), 1), else_=0).label("kept_out"),
        )
        .select_from(joined)
        .cte("fact")
    )


def _crm(lists: list[str], only: Sequence[bytes] | None) -> CTE:
    """Return CRM's side: how many records, how many opted out, since when; the strictest country of them."""
    out = crm_record.c.opted_out == 1
    known = func.nullif(crm_record.c.jurisdiction, "unknown")
    same = func.min(known) == func.max(known)
    views = literal(",") + crm_record.c.views
    viewed = or_(*(views.contains(f",{name},", autoescape=True) for name in lists))
    return (
        select(
            crm_address.c.address_index,
            func.count().label("records"),
            func.sum(crm_record.c.opted_out).label("opted_out"),
            func.max(
                case((out, func.coalesce(crm_record.c.unsubscribed_at, crm_record.c.modified_at)))
            ).label("crm_at"),
            func.max(case((out, crm_record.c.unsubscribed_at))).label("crm_told_at"),
            func.max(case((out, crm_record.c.unsubscribed_mode))).label("crm_mode"),
            case((same, func.min(known)), else_="unknown").label("jurisdiction"),
            func.max(case((viewed, 1), else_=0)).label("viewed"),
        )
        .join(
            crm_record,
            (crm_record.c.module == crm_address.c.module)
            & (crm_record.c.record_id == crm_address.c.record_id),
        )
        .where(_among(crm_address.c.address_index, only))
        .group_by(crm_address.c.address_index)
        .cte("in_crm")
    )


def _lists(names: list[str], only: Sequence[bytes] | None) -> CTE:
    """Return Campaigns' side: on how many governed lists in which status, and since when as far as we saw."""

    def count(status: Member) -> ColumnElement[int]:
        return func.sum(case((member.c.status == status.value, 1), else_=0)).label(status.name.lower())

    left = member.c.status == Member.UNSUBSCRIBED.value
    bounced = member.c.status == Member.BOUNCED.value
    return (
        select(
            member.c.address_index,
            count(Member.ACTIVE),
            count(Member.UNSUBSCRIBED),
            count(Member.BOUNCED),
            func.max(member.c.since).label("member_since"),
            func.max(case((left, member.c.since))).label("left_since"),
            func.max(case((left & member.c.was.is_not(None), member.c.since))).label("left_seen_at"),
            func.max(case((bounced, member.c.since))).label("bounced_since"),
        )
        .where(member.c.list_name.in_(names), _among(member.c.address_index, only))
        .group_by(member.c.address_index)
        .cte("on_lists")
    )


def _outcomes(policy: PolicySet, now: datetime, only: Sequence[bytes] | None) -> CTE:
    """Return what became of mails: opt-outs, complaints and bounces, counted and dated."""
    since = now - timedelta(days=policy.enforcement.soft_bounce_days)
    columns = [
        *_counted("complaint", outcome.c.kind == OutcomeKind.COMPLAINED.value),
        *_counted("hard", outcome.c.kind == OutcomeKind.BOUNCED_HARD.value),
        *_counted(
            "soft",
            and_(outcome.c.kind == OutcomeKind.BOUNCED_SOFT.value, best_time() >= literal(since, Moment())),
        ),
    ]
    opted_out = outcome.c.kind == OutcomeKind.OPTED_OUT.value
    return (
        select(
            outcome.c.address_index,
            func.max(case((opted_out, outcome.c.happened_at))).label("optout_told_at"),
            func.max(case((opted_out, outcome.c.observed_at))).label("optout_seen_at"),
            *columns,
        )
        .where(_among(outcome.c.address_index, only))
        .group_by(outcome.c.address_index)
        .cte("mailed")
    )


def forgotten(index: ColumnElement[Any]) -> ColumnElement[bool]:
    """Return whether an address was erased and its owner did not come back: nothing is recorded about it."""
    kept_out = select(suppression.c.address_index).where(suppression.c.address_index == index)
    back = select(subject.c.sub).where(subject.c.address_index == index)
    return and_(kept_out.exists(), ~back.exists())


def best_time() -> ColumnElement[datetime]:
    """Return when an outcome happened as well as anybody knows.

    A bounce follows its mail within hours, so the mail's time is the next best; an opt-out or a
    complaint may come years later, so only the moment when we saw it is safe.
    """
    bounce = outcome.c.kind.in_([OutcomeKind.BOUNCED_HARD.value, OutcomeKind.BOUNCED_SOFT.value])
    return func.coalesce(outcome.c.happened_at, case((bounce, outcome.c.sent_at)), outcome.c.observed_at)


def _counted(name: str, where: ColumnElement[bool]) -> list[ColumnElement[Any]]:
    unrecorded = and_(where, outcome.c.recorded_idx.is_(None))
    return [
        func.sum(case((where, 1), else_=0)).label(f"{name}s"),
        func.sum(case((unrecorded, 1), else_=0)).label(f"{name}s_new"),
        func.max(case((where, best_time()))).label(f"{name}_at"),
    ]


def _ledger(purpose: str, now: datetime, only: Sequence[bytes] | None) -> CTE:
    """Return the ledger's side: standing for the purpose, the live grant that decided, our last write."""
    deciding, told = happening.alias("deciding"), _told(only)
    ran_out = and_(
        standing.c.state == State.PERMITTED.value, standing.c.valid_until <= literal(now, Moment())
    )
    state = case((ran_out, State.EXPIRED.value), else_=func.coalesce(standing.c.state, State.UNKNOWN.value))
    live = and_(state == State.PERMITTED.value, deciding.c.provenance == Provenance.LIVE.value)
    granted_at = case((live, standing.c.decided_at))
    return (
        select(
            subject.c.address_index,
            subject.c.sub,
            state.label("state"),
            standing.c.must_stop,
            standing.c.suppressed,
            standing.c.decided_at,
            granted_at.label("granted_at"),
            _shifted(granted_at, -SECOND).label("granted_second"),
            _shifted(granted_at, -MINUTE).label("granted_minute"),
            told.c.withdrawn_at,
            told.c.hard_recorded_at,
            told.c.ours_until,
        )
        .select_from(subject)
        .outerjoin(standing, and_(standing.c.sub == subject.c.sub, standing.c.purpose == purpose))
        .outerjoin(deciding, and_(deciding.c.log_id == LOG_ID, deciding.c.idx == standing.c.decided_by))
        .outerjoin(told, told.c.sub == subject.c.sub)
        .where(_among(subject.c.address_index, only))
        .cte("known")
    )


def _told(only: Sequence[bytes] | None) -> CTE:
    """Return each person's last withdrawal (its time), and last hard bounce and write of ours (recorded)."""
    kinds = (Category.WITHDRAWN, Category.BOUNCE_HARD, Category.ENFORCEMENT)
    theirs = (
        true()
        if only is None
        else happening.c.sub.in_(select(subject.c.sub).where(_among(subject.c.address_index, only)))
    )
    # What lets somebody be mailed again explains no later opt-out.
    counts = happening.c.source != PERMITS

    def last(category: Category, column: ColumnElement[Any]) -> ColumnElement[Any]:
        return func.max(case((happening.c.category == category.value, column)))

    return (
        select(
            happening.c.sub,
            last(Category.WITHDRAWN, happening.c.occurred_at).label("withdrawn_at"),
            last(Category.BOUNCE_HARD, happening.c.recorded_at).label("hard_recorded_at"),
            _shifted(last(Category.ENFORCEMENT, happening.c.recorded_at), CLOCKS_DIFFER).label("ours_until"),
        )
        .where(happening.c.category.in_([kind.value for kind in kinds]), counts, theirs)
        .group_by(happening.c.sub)
        .cte("told")
    )


def _shifted(moment: ColumnElement[Any], by: timedelta) -> ColumnElement[Any]:
    milliseconds = type_coerce(moment, BigInteger) + by // timedelta(milliseconds=1)
    return type_coerce(milliseconds, Moment())


def _among(index: ColumnElement[bytes], only: Sequence[bytes] | None) -> ColumnElement[bool]:
    return true() if only is None else index.in_(only)
