"""One row per address: what both products show, what the ledger says, and which sightings still count.

Pure SQL over the mirrors and the standing projection, on keyed hashes. A sighting (somebody opted
out in CRM, left in Campaigns, was refused there) counts unless the ledger has a newer live grant, or
unless it is the trace of our own write. Nothing is read or opened here; the caller runs the statement.
"""

from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import (
    CTE,
    BigInteger,
    ColumnElement,
    Select,
    and_,
    case,
    func,
    literal,
    or_,
    select,
    type_coerce,
    union,
)

from service.consent import Category, Provenance, State
from service.db import Moment, contact, crm_address, crm_record, happening, member, outcome, standing, subject
from service.ledger.store import LOG_ID
from service.policy import PolicySet
from service.reconciler.port import Member, OutcomeKind

CLOCKS_DIFFER = timedelta(minutes=10)
"""A sighting so soon after our own write is the trace of that write, whatever the vendor's clock says."""

Bool = ColumnElement[bool]


def people(policy: PolicySet, now: datetime) -> CTE:
    """Return the CTE of all addresses in either mirror, judged; see the labels at its end."""
    return _judged(_facts(policy, now), policy).cte("person")


def _facts(policy: PolicySet, now: datetime) -> CTE:
    """Put the sides together; every column is named once and may be NULL where a side knows nothing."""
    lists = [entry for entry in policy.zoho.campaigns.lists if entry.purpose == policy.zoho.governs]
    names = [entry.name for entry in lists]
    crm, on_lists, mailed = _crm(names), _lists(names), _outcomes(policy, now)
    ledger = _ledger(policy.zoho.governs, now)
    everybody = union(
        select(crm_address.c.address_index),
        select(member.c.address_index).where(member.c.list_name.in_(names)),
        select(outcome.c.address_index),
    ).cte("everybody")
    index = everybody.c.address_index
    sides = everybody
    joined: Any = sides
    for side in (crm, on_lists, mailed, ledger, contact):
        joined = joined.outerjoin(side, side.c.address_index == index)
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
        )
        .select_from(joined)
        .cte("fact")
    )


def _crm(lists: list[str]) -> CTE:
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
        .group_by(crm_address.c.address_index)
        .cte("in_crm")
    )


def _lists(names: list[str]) -> CTE:
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
        .where(member.c.list_name.in_(names))
        .group_by(member.c.address_index)
        .cte("on_lists")
    )


def _outcomes(policy: PolicySet, now: datetime) -> CTE:
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
        .group_by(outcome.c.address_index)
        .cte("mailed")
    )


def best_time() -> ColumnElement[datetime]:
    """Return when an outcome happened as well as anybody knows.

    A bounce follows its mail within hours, so the mail's time is the next best; an opt-out or a
    complaint may come years later, so only the moment when we saw it is safe.
    """
    bounce = outcome.c.kind.in_([OutcomeKind.BOUNCED_HARD.value, OutcomeKind.BOUNCED_SOFT.value])
    return func.coalesce(outcome.c.happened_at, case((bounce, outcome.c.sent_at)), outcome.c.observed_at)


def _counted(name: str, where: Bool) -> list[ColumnElement[Any]]:
    unrecorded = and_(where, outcome.c.recorded_idx.is_(None))
    return [
        func.sum(case((where, 1), else_=0)).label(f"{name}s"),
        func.sum(case((unrecorded, 1), else_=0)).label(f"{name}s_new"),
        func.max(case((where, best_time()))).label(f"{name}_at"),
    ]


def _ledger(purpose: str, now: datetime) -> CTE:
    """Return the ledger's side: standing for the purpose, the live grant that decided, our last write."""
    told = (
        select(
            happening.c.sub,
            func.max(
                case((happening.c.category == Category.BOUNCE_HARD.value, happening.c.recorded_at))
            ).label("hard_recorded_at"),
            type_coerce(
                type_coerce(
                    func.max(
                        case((happening.c.category == Category.ENFORCEMENT.value, happening.c.recorded_at))
                    ),
                    BigInteger,
                )
                + CLOCKS_DIFFER // timedelta(milliseconds=1),
                Moment(),
            ).label("ours_until"),
        )
        .where(happening.c.category.in_([Category.BOUNCE_HARD.value, Category.ENFORCEMENT.value]))
        .group_by(happening.c.sub)
        .cte("told")
    )
    deciding = happening.alias("deciding")
    ran_out = and_(
        standing.c.state == State.PERMITTED.value, standing.c.valid_until <= literal(now, Moment())
    )
    state = case((ran_out, State.EXPIRED.value), else_=func.coalesce(standing.c.state, State.UNKNOWN.value))
    live = and_(state == State.PERMITTED.value, deciding.c.provenance == Provenance.LIVE.value)
    return (
        select(
            subject.c.address_index,
            subject.c.sub,
            state.label("state"),
            standing.c.must_stop,
            standing.c.suppressed,
            standing.c.decided_at,
            case((live, standing.c.decided_at)).label("granted_at"),
            told.c.hard_recorded_at,
            told.c.ours_until,
        )
        .select_from(subject)
        .outerjoin(standing, and_(standing.c.sub == subject.c.sub, standing.c.purpose == purpose))
        .outerjoin(deciding, and_(deciding.c.log_id == LOG_ID, deciding.c.idx == standing.c.decided_by))
        .outerjoin(told, told.c.sub == subject.c.sub)
        .cte("known")
    )


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
