"""How large an organisation was when it was last read, and what the last comparison would stop.

For estimates before anything is asked. Counts rows of the mirrors; asks neither product.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from sqlalchemy import Connection, case, func, select

from service.db import change, contact, crm_address, crm_record, drift, member, outcome, plan
from service.policy import PolicySet
from service.reconciler import runs
from service.reconciler.apply import BOUNCES
from service.reconciler.context import Context
from service.reconciler.crm_reading import FOLLOWED_FROM, base_of
from service.reconciler.enforcement import CAMPAIGNS, CRM
from service.reconciler.observe import OVERLAP
from service.reconciler.port import Member

LATE = timedelta(days=120)
"""How long after its sending a campaign is asked for outcomes; older ones cost nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stops:
    """What is to be written: records of CRM by module, and contacts of Campaigns.

    `reasoned` are modules of which some record is told why, which a bulk write cannot.
    """

    records: Mapping[str, int] = field(default_factory=dict)
    contacts: int = 0
    reasoned: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class Sizes:
    """Rows by what they are read from; `read_at` None: nothing was ever read, all counts are guesses.

    `records` by module, `followed` those of which only changes are read, with how many we made ourselves
    since; `members` by list and status,
    `permissions` by segment, `outcomes` by campaign and kind.
    """

    read_at: datetime | None = None
    records: Mapping[str, int]
    followed: Mapping[str, int] = field(default_factory=dict)
    members: Mapping[tuple[str, str], int]
    permissions: Mapping[str, int]
    outcomes: Mapping[tuple[str, str], int] = field(default_factory=dict)
    lists: int = 1
    stops: Stops = Stops()


def guessed(contacts: int, policy: PolicySet) -> Sizes:
    """Return the sizes of an organisation of which only the number of contacts is known, all on its lists."""
    modules = [module.name for module in policy.zoho.crm.modules]
    lists = [entry.name for entry in policy.zoho.campaigns.lists]
    return Sizes(
        records={name: -(-contacts // len(modules)) for name in modules},
        members={
            (name, status.value): contacts if status is Member.ACTIVE else 0
            for name in lists
            for status in Member
        },
        permissions={"granted": contacts, "refused": 0},
        lists=len(_governed(policy)),
    )


def sizes(tx: Connection, context: Context) -> Sizes | None:
    """Return the sizes as of the last reading that was believed; None if there was none."""
    last = runs.last_believed(tx)
    if last is None:
        return None
    at, policy = context.now(), context.policy
    held = {module.name: 0 for module in policy.zoho.crm.modules} | _by_module(tx)
    follows = base_of(tx, last[0] + 1, context, at) is not None
    return Sizes(
        read_at=last[1],
        records=held,
        followed={
            name: _rewritten(tx, last[0], name)
            for name, count in held.items()
            if follows and count >= FOLLOWED_FROM
        },
        members={(entry.name, one.value): 0 for entry in policy.zoho.campaigns.lists for one in Member}
        | _by_list(tx),
        permissions={"granted": 0, "refused": 0} | _by_permission(tx),
        outcomes=_by_campaign(tx, last[1]),
        lists=len(_governed(policy)),
        stops=_stops(tx, last[0], policy),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Joining:
    """How many contacts are written to one list, and how many it shows as active once they are on it."""

    writes: int
    shown: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Approved:
    """What people have approved to be let go: records of CRM by module, and contacts by list."""

    records: Mapping[str, int] = field(default_factory=dict)
    lists: Mapping[str, Joining] = field(default_factory=dict)


def approved(tx: Connection, policy: PolicySet) -> Approved:
    """Return what people have approved to be let go and is not written yet."""
    targets = set(
        tx.scalars(
            select(change.c.target).join(plan, plan.c.run_id == change.c.run_id).where(_IS_APPROVED)
        ).all()
    )
    modules = Counter(name.removeprefix(CRM).partition("/")[0] for name in targets if name.startswith(CRM))
    return Approved(records=modules, lists=_joining(tx, _governed(policy)))


_IS_APPROVED = (
    (change.c.direction == "permit")
    & change.c.state.in_(["proposed", "planned"])
    & plan.c.state.in_(["approved", "applying"])
)


def _joining(tx: Connection, lists: tuple[str, ...]) -> Mapping[str, Joining]:
    """Return what is written to each list: to those that know a contact already, whatever it is on them."""
    active = func.coalesce(func.sum(case((member.c.status == Member.ACTIVE.value, 1), else_=0)), 0)
    rows = tx.execute(
        select(member.c.list_name, func.count(), active)
        .join(change, change.c.address_index == member.c.address_index)
        .join(plan, plan.c.run_id == change.c.run_id)
        .where(_IS_APPROVED, change.c.target == CAMPAIGNS, member.c.list_name.in_(lists))
        .group_by(member.c.list_name)
    ).all()
    held = _by_list(tx)
    return {
        name: Joining(writes=count, shown=held.get((name, Member.ACTIVE.value), 0) + count - int(already))
        for name, count, already in rows
    }


def _governed(policy: PolicySet) -> tuple[str, ...]:
    return tuple(entry.name for entry in policy.zoho.campaigns.lists if entry.purpose == policy.zoho.governs)


def _by_module(tx: Connection) -> dict[str, int]:
    found = tx.execute(select(crm_record.c.module, func.count()).group_by(crm_record.c.module))
    return {row[0]: int(row[1]) for row in found}


def _by_list(tx: Connection) -> dict[tuple[str, str], int]:
    columns = member.c.list_name, member.c.status
    return {
        (row[0], row[1]): int(row[2]) for row in tx.execute(select(*columns, func.count()).group_by(*columns))
    }


def _by_permission(tx: Connection) -> dict[str, int]:
    """Return the people of each segment, which holds active contacts alone."""
    active = (
        select(member.c.address_index)
        .where(member.c.address_index == contact.c.address_index, member.c.status == Member.ACTIVE.value)
        .exists()
    )
    found = tx.execute(
        select(contact.c.permission, func.count())
        .where(contact.c.permission.is_not(None), active)
        .group_by(contact.c.permission)
    )
    return {row[0]: int(row[1]) for row in found if row[0] is not None}


def _by_campaign(tx: Connection, read_at: datetime) -> dict[tuple[str, str], int]:
    """Return the outcomes that will be listed again: those of campaigns that are not long over."""
    columns = outcome.c.campaign_key, outcome.c.kind
    recent = outcome.c.sent_at.is_(None) | (outcome.c.sent_at >= read_at - OVERLAP - LATE)
    found = tx.execute(select(*columns, func.count()).where(recent).group_by(*columns))
    return {(row[0], row[1]): int(row[2]) for row in found}


def _rewritten(tx: Connection, run_id: int, module: str) -> int:
    """Return how many records of a module the last run wrote: they are read again as changed."""
    target = change.c.target.startswith(f"{CRM}{module}/", autoescape=True)
    wrote = (change.c.run_id == run_id) & target & change.c.written_at.is_not(None)
    return int(tx.scalar(select(func.count(change.c.target.distinct())).where(wrote)) or 0)


def _stops(tx: Connection, run_id: int, policy: PolicySet) -> Stops:
    stopped = (drift.c.run_id == run_id) & (drift.c.action == "stop")
    records = (
        select(crm_record.c.module, crm_record.c.record_id)
        .distinct()
        .join(
            crm_address,
            (crm_address.c.module == crm_record.c.module)
            & (crm_address.c.record_id == crm_record.c.record_id),
        )
        .join(drift, drift.c.address_index == crm_address.c.address_index)
        .where(stopped, crm_record.c.opted_out == 0)
        .subquery()
    )
    by_module = tx.execute(select(records.c.module, func.count()).group_by(records.c.module))
    reasoned = (
        select(records.c.module)
        .distinct()
        .join(
            crm_address,
            (crm_address.c.module == records.c.module) & (crm_address.c.record_id == records.c.record_id),
        )
        .join(drift, drift.c.address_index == crm_address.c.address_index)
        .where(stopped, drift.c.kind.in_(BOUNCES))
    )
    on_lists = (member.c.list_name.in_(_governed(policy))) & (member.c.status == Member.ACTIVE.value)
    contacts = tx.scalar(
        select(func.count(drift.c.address_index.distinct()))
        .join(member, member.c.address_index == drift.c.address_index)
        .where(stopped, on_lists)
    )
    return Stops(
        records={row[0]: int(row[1]) for row in by_module},
        contacts=int(contacts or 0),
        reasoned=frozenset(tx.scalars(reasoned)) if policy.zoho.crm.reason_field else frozenset(),
    )
