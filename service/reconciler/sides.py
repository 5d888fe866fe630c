"""The sides of the comparison, each with one row per address: CRM, lists, outcomes, the ledger.

Pure SQL over the mirrors and the standing projection; nothing is judged here.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import (
    CTE,
    ColumnElement,
    FromClause,
    Subquery,
    and_,
    case,
    exists,
    false,
    func,
    literal,
    null,
    or_,
    select,
    union_all,
)

from service.db import (
    Moment,
    canary,
    contact,
    crm_address,
    crm_record,
    member,
    outcome,
    subject,
    suppression,
)
from service.policy import PolicySet
from service.reconciler.enforcement import CAMPAIGNS
from service.reconciler.ledger_side import Only, among, known
from service.reconciler.port import Member, OutcomeKind


@dataclass(frozen=True, slots=True, kw_only=True)
class _Scope:
    """Which lists count, which products are as if nobody were in them, whom alone to look at."""

    names: Sequence[str]
    without: frozenset[str]
    only: Only

    def shows(self, product: str, index: ColumnElement[bytes]) -> ColumnElement[bool]:
        """Return whether this row of a product, of this address, is looked at."""
        return false() if product in self.without else among(index, self.only)


def facts(
    policy: PolicySet,
    now: datetime,
    without: frozenset[str] = frozenset(),
    only: Only = None,
) -> CTE:
    """Put the sides together; every column is named once and may be NULL where a side knows nothing.

    The products `without` (`crm`, `campaigns`) are as if nobody were in them. Our own canaries never count.
    `only` are the addresses to look at, where not all: each side then keeps no more than theirs.
    """
    names = [entry.name for entry in policy.zoho.campaigns.lists if entry.purpose == policy.zoho.governs]
    scope = _Scope(names=names, without=without, only=only)
    everybody, mailed = _everybody(scope), _outcomes(policy, now, scope)
    ledger = known(policy.zoho.governs, now, only)
    index = everybody.c.address_index
    in_campaigns = and_(contact.c.address_index == index, scope.shows(CAMPAIGNS, contact.c.address_index))
    joined = (
        everybody.outerjoin(mailed, mailed.c.address_index == index)
        .outerjoin(contact, in_campaigns)
        .outerjoin(ledger, ledger.c.address_index == index)
        .outerjoin(suppression, suppression.c.address_index == index)
    )
    return (
        select(
            *everybody.c,
            *_beside_index(mailed),
            *_beside_index(ledger),
            contact.c.permission,
            contact.c.since.label("permission_since"),
            case((suppression.c.address_index.is_not(None), 1), else_=0).label("kept_out"),
        )
        .select_from(joined)
        .where(index.not_in(select(canary.c.address_index)))
        .cte("fact")
    )


def _everybody(scope: _Scope) -> Subquery:
    """Return each address of either product once, with what CRM and the lists say about it.

    Whom CRM knows, whom only a list knows, and whom only an outcome knows: a full join in three parts,
    because SQLite reads the whole other side for each row of one.
    """
    crm, on_lists, elsewhere = _crm(scope), _lists(scope, "on_lists"), _lists(scope, "elsewhere")
    of_crm, of_lists = _beside_index(crm), _beside_index(on_lists)
    nothing = [null().label(column.name) for column in of_crm]
    both = select(crm.c.address_index, *of_crm, *of_lists).select_from(
        crm.outerjoin(on_lists, on_lists.c.address_index == crm.c.address_index)
    )
    listed = select(elsewhere.c.address_index, *nothing, *_beside_index(elsewhere)).where(
        ~_in_crm(scope, elsewhere.c.address_index)
    )
    told = outcome.c.address_index
    mailed = (
        select(told, *nothing, *(null().label(column.name) for column in of_lists))
        .where(scope.shows(CAMPAIGNS, told), ~_in_crm(scope, told), ~_on_a_list(scope, told))
        .group_by(told)
    )
    return union_all(both, listed, mailed).subquery("everybody")


def _in_crm(scope: _Scope, index: ColumnElement[bytes]) -> ColumnElement[bool]:
    theirs = crm_address.alias("theirs")
    return exists().where(theirs.c.address_index == index, scope.shows("crm", theirs.c.address_index))


def _on_a_list(scope: _Scope, index: ColumnElement[bytes]) -> ColumnElement[bool]:
    theirs = member.alias("theirs")
    here = scope.shows(CAMPAIGNS, theirs.c.address_index)
    return exists().where(theirs.c.list_name.in_(scope.names), theirs.c.address_index == index, here)


def _crm(scope: _Scope) -> Subquery:
    """Return CRM's side: how many records, how many opted out, since when; the strictest country of them."""
    out = crm_record.c.opted_out == 1
    known = func.nullif(crm_record.c.jurisdiction, "unknown")
    same = func.min(known) == func.max(known)
    views = literal(",") + crm_record.c.views
    viewed = or_(*(views.contains(f",{name},", autoescape=True) for name in scope.names))
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
        .where(scope.shows("crm", crm_address.c.address_index))
        .group_by(crm_address.c.address_index)
        .subquery("in_crm")
    )


def _lists(scope: _Scope, name: str) -> Subquery:
    """Return Campaigns' side: on how many governed lists in which status, and since when as far as we saw.

    One list has each address once, so there is nothing to group.
    """
    several = len(scope.names) > 1

    def total(each: ColumnElement[Any]) -> ColumnElement[Any]:
        return func.sum(each) if several else each

    def latest(each: ColumnElement[Any]) -> ColumnElement[Any]:
        return func.max(each) if several else each

    left = member.c.status == Member.UNSUBSCRIBED.value
    bounced = member.c.status == Member.BOUNCED.value
    members = select(
        member.c.address_index,
        *(
            total(case((member.c.status == status.value, 1), else_=0)).label(status.name.lower())
            for status in Member
        ),
        latest(member.c.since).label("member_since"),
        latest(case((left, member.c.since))).label("left_since"),
        latest(case((left & member.c.was.is_not(None), member.c.since))).label("left_seen_at"),
        latest(case((bounced, member.c.since))).label("bounced_since"),
    ).where(member.c.list_name.in_(scope.names), scope.shows(CAMPAIGNS, member.c.address_index))
    return (members.group_by(member.c.address_index) if several else members).subquery(name)


def _outcomes(policy: PolicySet, now: datetime, scope: _Scope) -> CTE:
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
        .where(scope.shows(CAMPAIGNS, outcome.c.address_index))
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


def _beside_index(side: FromClause) -> list[ColumnElement[Any]]:
    return [column for column in side.c if column.name != "address_index"]
