"""Canaries: contacts of our own in every state, which show in each run that stop still means stop.

They go through the same mapping as everybody else. A run writes each one's state again and then reads it
back from both products. After a change of the mapping they are read first: what the older mapping wrote
must look right through the new one, else the two values have changed places; only then are they written
through it, and read once more before anybody else is. Each has a record in every mapped module of CRM; the
first one stands for the canary in Campaigns. Nobody is behind them: they are left out of comparisons, news
and figures.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, delete, select, update

from service.db import canary, contact, member
from service.errors import ZohoError
from service.ledger.canonical import canonical
from service.policy import PolicySet
from service.reconciler import natures
from service.reconciler.breakers import CRM, Trip, wrong_polarity
from service.reconciler.context import Context
from service.reconciler.enforcement import CAMPAIGNS
from service.reconciler.natures import NATURES, OPTED_OUT, STATES
from service.reconciler.port import CrmChange

Seen = tuple[Mapping[str, str], str | None]
"""Status by list, and the permission that a segment shows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Canary:
    """One record of a contact of our own; `trouble` is what was last wrong with it, if anything.

    `name` is the state, and for any record but the first one its module as well.
    """

    name: str
    state: str
    address_index: bytes
    address: str
    module: str
    record_id: str
    mapping: bytes
    seen_at: datetime | None
    driven_at: datetime | None
    trouble: str | None

    @property
    def is_first(self) -> bool:
        """Whether it stands for the canary in Campaigns."""
        return self.name == self.state


def drive(context: Context, *, anew: bool = False) -> None:
    """Write each canary's state again, where the mapping is the one under which it was last read right.

    `anew` writes them under any. A canary that a product does not take is noted; it stops nobody.
    """
    known = [one for one in everybody(context) if anew or one.mapping == fingerprint(context.policy)]
    if not known:
        return
    in_crm = _drive_crm(context, known)
    for one in known:
        trouble = in_crm[one.name]
        try:
            steps = NATURES[one.state].driven if one.is_first else ()
            results = natures.write(context, steps, one.address)
            trouble = trouble or next((f"{r.target}: {r.code}" for r in results if not r.done), None)
        except ZohoError as error:
            trouble = error.code or type(error).__name__
        with context.db.begin() as tx:
            _note(tx, one.name, driven_at=context.now(), trouble=trouble)


def _drive_crm(context: Context, known: Sequence[Canary]) -> dict[str, str | None]:
    """Write Email_Opt_Out of all canaries again; return what each met, by name."""
    changes = [
        CrmChange(module=one.module, record_id=one.record_id, opted_out=OPTED_OUT[one.state]) for one in known
    ]
    try:
        results = context.crm.enforce(changes)
    except ZohoError as error:
        return {one.name: error.code or type(error).__name__ for one in known}
    met = zip(known, results, strict=True)
    return {one.name: None if result.done else f"{result.target}: {result.code}" for one, result in met}


def judge(context: Context, *, applying: bool) -> list[Trip]:
    """Read the canaries back, from CRM itself and from what was just read of Campaigns; return what is wrong.

    One that is not there any more proves nothing either way: that is noted, and told by `show`. Under a
    mapping that is new they are written, too, and read once more, unless this is a dry run.
    """
    known = everybody(context)
    if not known:
        return []
    with context.db.read() as tx:
        lists = {one.state: _shown(tx, one, context.lists) for one in known if one.is_first}
    wrong = _judged(context, known, lists)
    if any(wrong.values()) or all(one.mapping == fingerprint(context.policy) for one in known):
        return _trips(wrong)
    if not applying:
        return []
    drive(context, anew=True)
    now_there = _segments(context, known)
    lists = {state: (status, now_there.get(state)) for state, (status, _) in lists.items()}
    wrong = _judged(context, known, lists)
    if not any(wrong.values()):
        with context.db.begin() as tx:
            ours = canary.c.state.in_([one.name for one in known])
            tx.execute(update(canary).where(ours).values(mapping=fingerprint(context.policy)))
    return _trips(wrong)


def _judged(context: Context, known: Sequence[Canary], lists: Mapping[str, Seen]) -> dict[str, list[str]]:
    """Return what is wrong by product, and note with each canary what is."""
    read = context.crm.read([(one.module, one.record_id) for one in known])
    records = {(record.module, record.record_id): record for record in read}
    wrong: dict[str, list[str]] = {CRM: [], CAMPAIGNS: []}
    with context.db.begin() as tx:
        for one in known:
            record = records.get((one.module, one.record_id))
            in_crm = None if record is None else record.opted_out
            troubles = [*natures.wrong_in_crm(one.state, one.module, opted_out=in_crm)]
            if one.is_first:
                troubles += natures.wrong_in_campaigns(one.state, *lists[one.state])
            for product, words in troubles:
                if product is not None:
                    wrong[product].append(words)
            _note_seen(tx, one, [words for _, words in troubles], context)
    return wrong


def _trips(wrong: Mapping[str, Sequence[str]]) -> list[Trip]:
    return [
        Trip(target=product, name="canary polarity", stops="all", reason=reason)
        for product, found in wrong.items()
        if (reason := wrong_polarity(found))
    ]


def _segments(context: Context, known: Sequence[Canary]) -> dict[str, str]:
    """Return the permission of each canary as the segments show it now; they are read to the end for it."""
    ours = {one.address_index: one.state for one in known}
    found: dict[str, str] = {}
    for permission in ("granted", "refused"):
        for address in context.campaigns.permissions(permission == "granted"):
            state = ours.get(context.vault.address_index(address))
            if state is not None:
                found[state] = permission
    return found


def shown(tx: Connection) -> Sequence[Any]:
    """Return the rows of all canaries, without their addresses."""
    columns = (canary.c.state, canary.c.module, canary.c.made_at, canary.c.driven_at, canary.c.seen_at)
    return tx.execute(select(*columns, canary.c.trouble).order_by(canary.c.made_at, canary.c.state)).all()


def lacking(tx: Connection, policy: PolicySet) -> dict[str, dict[str, str]]:
    """Return the records that the canaries do not have yet: by state, name and module."""
    there = {row.state: row.module for row in tx.execute(select(canary.c.state, canary.c.module))}
    modules = [module.name for module in policy.zoho.crm.modules]
    return natures.lacking(there, modules, policy.enforcement.canaries.module)


def forget(tx: Connection) -> None:
    """Forget the canaries; the contacts stay in both products, for somebody to delete there."""
    tx.execute(delete(canary))


def fingerprint(policy: PolicySet) -> bytes:
    """Return what names everything that could turn stop into go."""
    crm, campaigns = policy.zoho.crm, policy.zoho.campaigns
    return hashlib.sha256(
        canonical(
            [
                crm.opt_out_field,
                campaigns.permission_label,
                campaigns.granted,
                campaigns.refused,
                campaigns.granted_segment,
                campaigns.refused_segment,
            ]
        )
    ).digest()


def _shown(tx: Connection, one: Canary, lists: Sequence[str]) -> Seen:
    """Return a canary's status by governed list, and its permission, as this run read them."""
    rows = tx.execute(
        select(member.c.list_name, member.c.status).where(
            member.c.address_index == one.address_index, member.c.list_name.in_(lists)
        )
    )
    told = select(contact.c.permission).where(contact.c.address_index == one.address_index)
    return {row.list_name: row.status for row in rows}, tx.scalar(told)


def everybody(context: Context) -> list[Canary]:
    """Return all records of canaries, but further ones of modules that are not mapped any more."""
    with context.db.read() as tx:
        rows = tx.execute(select(canary)).mappings().all()
    mapped = {module.name for module in context.policy.zoho.crm.modules}
    found = [
        Canary(
            name=row["state"],
            state=natures.state_of(row["state"]),
            address_index=row["address_index"],
            address=context.vault.open_address(row["address"]),
            module=row["module"],
            record_id=row["record_id"],
            mapping=row["mapping"],
            seen_at=row["seen_at"],
            driven_at=row["driven_at"],
            trouble=row["trouble"],
        )
        for row in rows
        if row["state"] in STATES or row["module"] in mapped
    ]
    return sorted(found, key=lambda one: (STATES.index(one.state), not one.is_first, one.module))


def _note_seen(tx: Connection, one: Canary, troubles: Sequence[str], context: Context) -> None:
    if troubles:
        _note(tx, one.name, trouble="; ".join(troubles))
    else:
        _note(tx, one.name, seen_at=context.now(), trouble=None)


def _note(tx: Connection, name: str, **values: object) -> None:
    tx.execute(update(canary).where(canary.c.state == name).values(**values))
