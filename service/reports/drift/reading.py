"""The queries behind the nightly report, all of them: runs, drift, withdrawals, the log's head.

Reads only, and no address in the clear: people are keyed hashes here.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

from sqlalchemy import (
    BigInteger,
    Connection,
    Row,
    Select,
    Subquery,
    case,
    distinct,
    func,
    or_,
    select,
    type_coerce,
)

from service.db import EPOCH, change, drift, log_state, mailing, run, task
from service.vault.pseudonym import by_address

LOOKED = ("planned", "applying", "done")
"""States of runs that read both products to the end; only a done one has written everything."""

WAITING = ("open", "failed")
"""States of withdrawals that do not yet stand in both products."""

_DAY_MS = 86_400_000
_LONGEST = timedelta(days=31)  # a first report after a long silence covers this much, no more


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One reconciliation; `reason` says why it was refused, empty otherwise.

    `without_consent` counts people whom Zoho permits while the ledger knows no consent, where the
    policy says that this is reported and not stopped.
    """

    id: int
    kind: str
    state: str
    started_at: datetime
    finished_at: datetime | None
    reason: str
    without_consent: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """One person under one kind of drift, as the newest run of the period left it.

    `person` is a pseudonym. `state` is found, open, failed, repaired, or settled: found by one run and
    not seen again by the newest. `at` is when the last write about the person was accepted, else when
    the run ended.
    """

    kind: str
    person: str
    subject: bytes | None
    jurisdiction: str
    since: datetime
    due_at: datetime | None
    due_rule: str | None
    action: str
    state: str
    at: datetime
    ended_at: datetime | None = None
    """When the run ended, which reads back what it wrote; None while it lasts."""
    cause: str = ""
    """What brought it about, as far as the products tell."""
    actor: str = ""
    """Who, as CRM names its users."""

    @property
    def is_open(self) -> bool:
        """Return whether something is still to be done about it."""
        return self.state not in ("repaired", "settled")

    def is_late(self, now: datetime) -> bool:
        """Return whether the deadline passed before it was repaired, or has passed by now."""
        return self.due_at is not None and self.due_at < (now if self.is_open else self.at)


@dataclass(frozen=True, slots=True, kw_only=True)
class Withdrawal:
    """One task: a withdrawal on its way to both products."""

    sub: bytes
    received_at: datetime
    due_at: datetime
    due_rule: str
    state: str
    stopped_at: datetime | None
    proved_at: datetime | None
    cause: int = -1
    """The entry that said so; -1 where none does."""

    @property
    def is_open(self) -> bool:
        """Return whether it does not yet stand in both products."""
        return self.state in WAITING

    def is_late(self, now: datetime) -> bool:
        """Return whether the deadline passed before mail was stopped, or has passed by now."""
        return self.due_at < (self.stopped_at or now)


@dataclass(frozen=True, slots=True, kw_only=True)
class DayCount:
    """How many people were found wrongly mailable on one day (UTC), and how many of them were repaired."""

    found: int
    repaired: int


def log_head(tx: Connection) -> tuple[str, int, bytes]:
    """Return origin, size and signed checkpoint of the log."""
    row = tx.execute(select(log_state.c.origin, log_state.c.size, log_state.c.head)).one()
    return row.origin, row.size, row.head


def period_start(tx: Connection, night: date, now: datetime) -> datetime:
    """Return where this night's report begins: where the last mail ended, else a day ago."""
    last = tx.scalar(
        select(func.max(mailing.c.claimed_at)).where(
            mailing.c.state == "sent", mailing.c.night < night.isoformat()
        )
    )
    return max(last or now - timedelta(days=1), now - _LONGEST)


def last_run(tx: Connection, now: datetime, states: Sequence[str] | None = None) -> Run | None:
    """Return the newest run that began until `now`, of these states if any are given."""
    wanted = select(run.c.id, run.c.kind, run.c.state, run.c.started_at, run.c.finished_at, run.c.summary)
    wanted = wanted.where(run.c.started_at <= now).order_by(run.c.id.desc()).limit(1)
    if states is not None:
        wanted = wanted.where(run.c.state.in_(states))
    row = tx.execute(wanted).one_or_none()
    if row is None:
        return None
    summary = json.loads(row.summary or "{}")
    return Run(
        id=row.id,
        kind=row.kind,
        state=row.state,
        started_at=row.started_at,
        finished_at=row.finished_at,
        reason=str(summary.get("reason", "")),
        without_consent=int(summary.get("without_consent", 0)),
    )


def found_since(tx: Connection, since: datetime, now: datetime, newest: Run | None) -> list[Found]:
    """Return what the runs of the period found, once per person and kind, as the newest of them left it."""
    rows = tx.execute(_found(since, now))
    last = {(row.kind, row.address_index): row for row in rows}
    seen_last = newest.id if newest else 0
    return [_as_found(row, seen_last) for row in last.values()]


def _as_found(row: Row[*tuple[Any, ...]], seen_last: int) -> Found:
    return Found(
        kind=row.kind,
        person=by_address(row.address_index),
        subject=row.sub,
        jurisdiction=row.jurisdiction,
        since=row.since,
        due_at=row.due_at,
        due_rule=row.due_rule,
        action=row.action,
        state=row.state if row.state == "repaired" or row.run_id >= seen_last else "settled",
        at=row.at,
        ended_at=row.ended_at,
        cause=row.cause or "",
        actor=row.actor or "",
    )


def _found(since: datetime, now: datetime) -> Select[*tuple[Any, ...]]:
    """Select the drift of the period's runs, oldest run first; `at` is its last write, else the run's end."""
    written = _last_writes()
    theirs = (written.c.run_id == drift.c.run_id) & (written.c.address_index == drift.c.address_index)
    return (
        select(
            *(drift.c.run_id, drift.c.kind, drift.c.address_index, drift.c.sub, drift.c.jurisdiction),
            *(drift.c.since, drift.c.due_at, drift.c.due_rule, drift.c.action, drift.c.state),
            *(drift.c.cause, drift.c.actor, run.c.finished_at.label("ended_at")),
            func.coalesce(written.c.at, run.c.finished_at, run.c.started_at).label("at"),
        )
        .join(run, run.c.id == drift.c.run_id)
        .outerjoin(written, theirs)
        .where(run.c.started_at > since, run.c.started_at <= now)
        .order_by(drift.c.run_id)
    )


def withdrawals_since(tx: Connection, since: datetime, now: datetime) -> list[Withdrawal]:
    """Return the withdrawals received in the period, and every older one that is still under way."""
    rows = tx.execute(
        select(
            task.c.sub,
            task.c.received_at,
            task.c.due_at,
            task.c.due_rule,
            task.c.state,
            task.c.stopped_at,
            task.c.proved_at,
            task.c.cause_idx.label("cause"),
        )
        .where(task.c.received_at <= now, task.c.state != "superseded")
        .where(or_(task.c.received_at > since, task.c.proved_at > since, task.c.state.in_(WAITING)))
        .order_by(task.c.received_at, task.c.id)
    )
    return [Withdrawal(**row._mapping) for row in rows]  # noqa: SLF001  # SQLAlchemy's public name for a row as a dict


def days_looked(tx: Connection, first: date, now: datetime) -> set[date]:
    """Return the days (UTC) on which a run looked at everything."""
    rows = tx.scalars(
        select(run.c.started_at).where(
            run.c.state.in_(LOOKED), run.c.started_at >= _midnight(first), run.c.started_at <= now
        )
    )
    return {moment.date() for moment in rows}


def days_found(tx: Connection, first: date, now: datetime, action: str) -> dict[date, DayCount]:
    """Return per day (UTC) how many people stood under drift with this action, and how many were repaired."""
    day = (type_coerce(run.c.started_at, BigInteger) // _DAY_MS).label("day")
    repaired = case((drift.c.state == "repaired", drift.c.address_index))
    rows = tx.execute(
        select(day, func.count(distinct(drift.c.address_index)), func.count(distinct(repaired)))
        .join(run, run.c.id == drift.c.run_id)
        .where(drift.c.action == action, run.c.started_at >= _midnight(first), run.c.started_at <= now)
        .group_by(day)
    )
    return {
        (EPOCH + timedelta(days=number)).date(): DayCount(found=found, repaired=done)
        for number, found, done in rows
    }


def _last_writes() -> Subquery:
    """Return per run and person when the last of the planned writes was accepted."""
    return (
        select(change.c.run_id, change.c.address_index, func.max(change.c.written_at).label("at"))
        .group_by(change.c.run_id, change.c.address_index)
        .subquery()
    )


def _midnight(day: date) -> datetime:
    return datetime.combine(day, time(), UTC)
