"""Who was in fact mailed while they were not permitted: windows of drift, joined with what Campaigns sent.

A window begins when somebody said stop (or a mailbox died) and ends when both products had stopped. Only
campaigns sent within some window are read, each once, and again only when a window is noticed later that
covers it. Of the recipients nobody is kept who has no window.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Protocol

from sqlalchemy import (
    ColumnElement,
    Connection,
    Select,
    and_,
    case,
    func,
    literal,
    or_,
    select,
    true,
    union_all,
    update,
)

from service.db import (
    batches,
    change,
    drift,
    harm,
    harm_look,
    harm_window,
    mailing_scan,
    outcome,
    run,
    subject,
    task,
)
from service.reconciler.context import Context
from service.reconciler.diff import DATED, STOPPING
from service.reconciler.runs import BELIEVED
from service.reconciler.upsert import insert_into, moment, upsert

BATCH = 500
"""Recipients that are looked up in one statement: one page of the listing."""
WAITING = ("open", "failed")
OVERLAP = timedelta(days=2)
"""Runs that began so long before the last notice are looked at again: they may have ended since."""
MAILED_WRONGLY = tuple(kind for kind in STOPPING if kind in DATED or "bounce" in kind)
"""Kinds of drift in which a mail is a mail too many; of the rest nobody ever said stop."""
WITHDRAWN = "withdrawn"
"""The kind of a window that a withdrawal recorded here began."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sent:
    """One campaign that went out."""

    key: str
    sent_at: datetime


class Mails(Protocol):
    """What Campaigns knows of what it sent; errors are `ZohoError`s."""

    def sent(self) -> Sequence[Sent]:
        """Return all sent campaigns, the newest first."""

    def recipients(self, campaign_key: str) -> Iterator[str]:
        """Yield the address of everybody to whom a campaign went, its A/B children included."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Harm:
    """How many people were mailed within their windows, by kind, with how many mails; and who was not.

    `people` and `harmless` count people by kind of window: drift with and without a mail in it.
    """

    people: dict[str, int]
    harmless: dict[str, int]
    mails: int
    newest: datetime | None
    read: int = 0
    """Campaigns whose recipients were read now."""
    looked_at: datetime | None = None
    """When the newest look began that came to its end; None before the first: then nothing is known."""

    @property
    def total(self) -> int:
        """Return how many people were mailed while they were not permitted."""
        return sum(self.people.values())


def look(context: Context, mails: Mails) -> Harm:
    """Note the windows of all drift and withdrawals, read the campaigns that fall into them, and count.

    Safe to repeat and to cut off: a campaign counts as read once all its recipients were looked at.
    """
    began, read = context.now(), 0
    with context.db.begin() as tx:
        _note(tx, began)
    for sent in mails.sent():
        with context.db.read() as tx:
            wanted = _is_wanted(tx, sent)
        if wanted:
            _read(context, mails, sent)
            read += 1
    with context.db.begin() as tx:
        look_row = insert_into(tx, harm_look).values(began_at=began, campaigns=read)
        tx.execute(look_row.on_conflict_do_nothing())
        return count(tx, read=read)


def waiting(context: Context, listed: Iterable[Sent] = ()) -> dict[str, int | None]:
    """Return the campaigns that `look` would read, with their recipients where they were read before.

    Notes the windows, as `look` does, and asks Campaigns nothing: campaigns are known from their outcomes,
    and those that were `listed` when outcomes were last read.
    """
    with context.db.begin() as tx:
        _note(tx, context.now())
        rows = tx.execute(
            select(outcome.c.campaign_key, func.max(outcome.c.sent_at)).group_by(outcome.c.campaign_key)
        ).all()
        known = {key: Sent(key=key, sent_at=at) for key, at in rows if at is not None}
        known |= {sent.key: sent for sent in listed}
        before = select(mailing_scan.c.campaign_key, mailing_scan.c.recipients)
        read = {row.campaign_key: row.recipients for row in tx.execute(before)}
        return {key: read.get(key) for key, sent in known.items() if _is_wanted(tx, sent)}


def count(tx: Connection, *, since: datetime | None = None, read: int = 0) -> Harm:
    """Return what is known now, without asking Campaigns; of windows noticed `since`, or of all."""
    noticed = true() if since is None else harm_window.c.noticed_at > moment(since)
    hit = select(harm.c.address_index).where(harm.c.address_index == harm_window.c.address_index).exists()
    person = (
        select(
            harm_window.c.address_index,
            func.min(harm_window.c.kind).label("kind"),
            func.max(case((hit, 1), else_=0)).label("mailed"),
        )
        .where(noticed)
        .group_by(harm_window.c.address_index)
        .cte("person")
    )
    rows = tx.execute(
        select(
            person.c.kind,
            func.sum(person.c.mailed).label("mailed"),
            func.sum(1 - person.c.mailed).label("spared"),
        ).group_by(person.c.kind)
    ).all()
    mails, newest = tx.execute(
        select(func.count(), func.max(harm.c.sent_at))
        .select_from(harm)
        .join(person, person.c.address_index == harm.c.address_index)
    ).one()
    return Harm(
        people={row.kind: int(row.mailed) for row in rows if row.mailed},
        harmless={row.kind: int(row.spared) for row in rows if row.spared},
        mails=mails,
        newest=newest,
        read=read,
        looked_at=tx.scalar(select(func.max(harm_look.c.began_at))),
    )


def _note(tx: Connection, now: datetime) -> None:
    """Bring the windows up to date: one per stop of a person, from when it was said until it was carried."""
    found = _windows(tx.scalar(select(func.max(harm_window.c.noticed_at))), now).subquery()
    columns = [harm_window.c[name] for name in ("address_index", "kind", "since", "until", "noticed_at")]
    put = insert_into(tx, harm_window).from_select(
        columns, select(*(found.c[column.name] for column in columns)).where(true())
    )
    tx.execute(
        put.on_conflict_do_update(
            index_elements=[harm_window.c.address_index, harm_window.c.since],
            set_={"kind": put.excluded.kind, "until": put.excluded.until},
        )
    )
    _close(tx)


def _windows(noticed: datetime | None, now: datetime) -> Select[Any]:
    """Select one row per person and stop of whom something happened lately; `until` NULL while it lasts.

    Each stop has a window of its own: somebody who agreed again in between was mailed rightly then.
    """
    e = union_all(_drifted(noticed), _withdrawn(noticed)).subquery().c
    return select(
        e.address_index,
        func.min(e.kind).label("kind"),
        e.since,
        case((func.max(e.unfinished) == 0, func.max(e.until))).label("until"),
        moment(now).label("noticed_at"),
    ).group_by(e.address_index, e.since)


def _drifted(noticed: datetime | None) -> Select[Any]:
    """Select the windows of drift: since it was so, until the last write about the person was accepted."""
    written = (
        select(change.c.run_id, change.c.address_index, func.max(change.c.written_at).label("at"))
        .group_by(change.c.run_id, change.c.address_index)
        .subquery()
    )
    lately = true() if noticed is None else run.c.started_at > moment(noticed - OVERLAP)
    return (
        select(
            drift.c.address_index,
            drift.c.kind,
            drift.c.since,
            func.coalesce(written.c.at, run.c.finished_at, run.c.started_at).label("until"),
            case((_is_open(), 1), else_=0).label("unfinished"),
        )
        .join(run, run.c.id == drift.c.run_id)
        .outerjoin(
            written,
            and_(written.c.run_id == drift.c.run_id, written.c.address_index == drift.c.address_index),
        )
        .where(drift.c.kind.in_(MAILED_WRONGLY), lately)
    )


def _withdrawn(noticed: datetime | None) -> Select[Any]:
    """Select the windows of withdrawals that came here first: from receipt until both products stopped."""
    waits = task.c.state.in_(WAITING)
    # a word from long ago that came to us lately began before the last reading, and ended after it
    ended = None if noticed is None else task.c.stopped_at > moment(noticed - OVERLAP)
    lately = true() if ended is None else or_(waits, ended)
    return (
        select(
            subject.c.address_index,
            literal(WITHDRAWN).label("kind"),
            task.c.received_at.label("since"),
            task.c.stopped_at.label("until"),
            case((waits, 1), else_=0).label("unfinished"),
        )
        .join(subject, subject.c.sub == task.c.sub)
        .where(or_(task.c.stopped_at.is_not(None), waits), lately)
    )


def _is_open() -> ColumnElement[bool]:
    """Return whether a drift row is of the newest run and not repaired."""
    newest = select(func.max(drift.c.run_id)).scalar_subquery()
    return and_(drift.c.state != "repaired", drift.c.run_id == newest)


def _close(tx: Connection) -> None:
    """End the windows of those whom the newest run found in order: somebody else stopped the products."""
    newest = select(func.max(run.c.id)).where(run.c.state.in_(BELIEVED)).scalar_subquery()
    since = select(func.max(run.c.started_at)).where(run.c.id == newest).scalar_subquery()
    still = (
        select(drift.c.address_index)
        .where(
            drift.c.run_id == newest,
            drift.c.state != "repaired",
            drift.c.address_index == harm_window.c.address_index,
        )
        .exists()
    )
    waits = (
        select(task.c.id)
        .join(subject, subject.c.sub == task.c.sub)
        .where(subject.c.address_index == harm_window.c.address_index, task.c.state.in_(WAITING))
        .exists()
    )
    tx.execute(update(harm_window).where(harm_window.c.until.is_(None), ~still, ~waits).values(until=since))


def _is_wanted(tx: Connection, sent: Sent) -> bool:
    """Return whether some window covers a campaign that was not read since the window was noticed."""
    scanned = tx.scalar(select(mailing_scan.c.scanned_at).where(mailing_scan.c.campaign_key == sent.key))
    at = moment(sent.sent_at)
    covers = and_(harm_window.c.since < at, or_(harm_window.c.until.is_(None), harm_window.c.until > at))
    wanted = select(harm_window.c.address_index).where(covers).limit(1)
    if scanned is not None:
        wanted = wanted.where(harm_window.c.noticed_at > moment(scanned))
    return tx.execute(wanted).first() is not None


def _read(context: Context, mails: Mails, sent: Sent) -> None:
    """Keep who of a campaign's recipients got it within their window; then that it was read."""
    started, recipients = context.now(), 0
    for part in batches(mails.recipients(sent.key), BATCH):
        recipients += len(part)
        indexes = [context.vault.address_index(address) for address in part]
        with context.db.begin() as tx:
            _keep(tx, sent, indexes)
        context.progress("mails looked at", recipients, 0)
    row = {
        "campaign_key": sent.key,
        "sent_at": sent.sent_at,
        "scanned_at": started,
        "recipients": recipients,
    }
    with context.db.begin() as tx:
        upsert(tx, mailing_scan, [row], {"scanned_at": None, "recipients": None})


def _keep(tx: Connection, sent: Sent, indexes: Sequence[bytes]) -> None:
    at = moment(sent.sent_at)
    hit = tx.scalars(
        select(harm_window.c.address_index).where(
            harm_window.c.address_index.in_(indexes),
            harm_window.c.since < at,
            or_(harm_window.c.until.is_(None), harm_window.c.until > at),
        )
    ).all()
    rows = [{"address_index": index, "campaign_key": sent.key, "sent_at": sent.sent_at} for index in hit]
    if rows:
        tx.execute(insert_into(tx, harm).on_conflict_do_nothing(), rows)
