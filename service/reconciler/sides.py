"""The sides of the comparison, each with one row per address: CRM, lists, outcomes, the ledger.

Pure SQL over the mirrors and the standing projection; nothing is judged here.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import (
    CTE,
    ColumnElement,
    FromClause,
    Integer,
    Select,
    Subquery,
    and_,
    case,
    exists,
    false,
    func,
    literal,
    literal_column,
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
from service.policy import UNKNOWN, PolicySet
from service.reconciler.enforcement import CAMPAIGNS
from service.reconciler.ledger_side import Only, Slice, among, known
from service.reconciler.port import Member, OutcomeKind

Columns = Mapping[str, ColumnElement[Any]]
"""Expressions by the name under which the comparison knows them."""


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
    gathers = isinstance(only, Slice) and only.gathered
    everybody, mailed = (_gathered if gathers else _everybody)(scope), _outcomes(policy, now, scope)
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
    nothing = _nothing(column.name for column in of_crm)
    both = select(crm.c.address_index, *of_crm, *of_lists).select_from(
        crm.outerjoin(on_lists, on_lists.c.address_index == crm.c.address_index)
    )
    listed = select(elsewhere.c.address_index, *nothing, *_beside_index(elsewhere)).where(
        ~_in_crm(scope, elsewhere.c.address_index)
    )
    told = outcome.c.address_index
    mailed = (
        select(told, *nothing, *_nothing(column.name for column in of_lists))
        .where(scope.shows(CAMPAIGNS, told), ~_in_crm(scope, told), ~_on_a_list(scope, told))
        .group_by(told)
    )
    return union_all(both, listed, mailed).subquery("everybody")


def _gathered(scope: _Scope) -> Subquery:
    """Return the same as `_everybody`, by one grouping of the rows of all three.

    Where a store groups by hashing, that is less than half the work of joining them; SQLite would sort.
    """
    of_crm, of_lists, told = _of_record(scope), _of_member(), outcome.c.address_index
    rows = union_all(
        _records(scope, [*_labelled(of_crm), *_nothing(of_lists)]),
        _members(scope, [*_nothing(of_crm), *_labelled(of_lists)]),
        select(told, *_nothing(of_crm), *_nothing(of_lists)).where(scope.shows(CAMPAIGNS, told)),
    ).subquery("rows")
    columns = {name: rows.c[name] for name in (*of_crm, *of_lists)}
    index = rows.c.address_index
    return select(index, *_labelled(_folded(columns))).group_by(index).subquery("everybody")


def _in_crm(scope: _Scope, index: ColumnElement[bytes]) -> ColumnElement[bool]:
    theirs = crm_address.alias("theirs")
    return exists().where(theirs.c.address_index == index, scope.shows("crm", theirs.c.address_index))


def _on_a_list(scope: _Scope, index: ColumnElement[bytes]) -> ColumnElement[bool]:
    theirs = member.alias("theirs")
    here = scope.shows(CAMPAIGNS, theirs.c.address_index)
    return exists().where(theirs.c.list_name.in_(scope.names), theirs.c.address_index == index, here)


def _crm(scope: _Scope) -> Subquery:
    """Return CRM's side: how many records, how many opted out, since when; the strictest country of them."""
    columns = _labelled(_folded(_of_record(scope)))
    return _records(scope, columns).group_by(crm_address.c.address_index).subquery("in_crm")


def _records(scope: _Scope, columns: Sequence[ColumnElement[Any]]) -> Select[Any]:
    return (
        select(crm_address.c.address_index, *columns)
        .join(
            crm_record,
            (crm_record.c.module == crm_address.c.module)
            & (crm_record.c.record_id == crm_address.c.record_id),
        )
        .where(scope.shows("crm", crm_address.c.address_index))
    )


def _of_record(scope: _Scope) -> Columns:
    """Return what one record of CRM tells about its address."""
    out = crm_record.c.opted_out == 1
    views = literal(",") + crm_record.c.views
    viewed = or_(*(views.contains(f",{name},", autoescape=True) for name in scope.names))
    return {
        "records": literal_column("1", Integer),
        "opted_out": crm_record.c.opted_out,
        "crm_at": case((out, func.coalesce(crm_record.c.unsubscribed_at, crm_record.c.modified_at))),
        "crm_told_at": case((out, crm_record.c.unsubscribed_at)),
        "crm_mode": case((out, crm_record.c.unsubscribed_mode)),
        "jurisdiction": func.nullif(crm_record.c.jurisdiction, UNKNOWN),
        "viewed": case((viewed, 1), else_=0),
    }


def _lists(scope: _Scope, name: str) -> Subquery:
    """Return Campaigns' side: on how many governed lists in which status, and since when as far as we saw.

    One list has each address once, so there is nothing to group.
    """
    if len(scope.names) == 1:
        return _members(scope, _labelled(_of_member())).subquery(name)
    members = _members(scope, _labelled(_folded(_of_member())))
    return members.group_by(member.c.address_index).subquery(name)


def _members(scope: _Scope, columns: Sequence[ColumnElement[Any]]) -> Select[Any]:
    here = scope.shows(CAMPAIGNS, member.c.address_index)
    return select(member.c.address_index, *columns).where(member.c.list_name.in_(scope.names), here)


def _of_member() -> Columns:
    """Return what one membership tells about its address."""
    left = member.c.status == Member.UNSUBSCRIBED.value
    bounced = member.c.status == Member.BOUNCED.value
    counts = {status.name.lower(): case((member.c.status == status.value, 1), else_=0) for status in Member}
    return counts | {
        "member_since": member.c.since,
        "left_since": case((left, member.c.since)),
        "left_seen_at": case((left & member.c.was.is_not(None), member.c.since)),
        "bounced_since": case((bounced, member.c.since)),
    }


COUNTED = ("records", "opted_out", *(status.name.lower() for status in Member))


def _folded(columns: Columns) -> Columns:
    """Return what several rows of one address tell together: counts, latest times, a country they share."""

    def fold(name: str, column: ColumnElement[Any]) -> ColumnElement[Any]:
        if name == "jurisdiction":
            return case((func.min(column) == func.max(column), func.min(column)), else_=UNKNOWN)
        return func.sum(column) if name in COUNTED else func.max(column)

    return {name: fold(name, column) for name, column in columns.items()}


def _labelled(columns: Columns) -> list[ColumnElement[Any]]:
    return [column.label(name) for name, column in columns.items()]


def _nothing(names: Iterable[str]) -> list[ColumnElement[Any]]:
    return [null().label(name) for name in names]


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
