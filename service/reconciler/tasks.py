"""The rows of `task`: withdrawals that wait to be carried out, leased to one worker at a time."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, Select, and_, case, delete, func, or_, select, update

from service.consent import Category, SubjectId
from service.db import chunks, crm_address, happening, member, subject, task, triggering
from service.errors import QuotaExhausted, Unreachable, ZohoError
from service.ledger.store import LOG_ID
from service.reconciler.port import Member
from service.reconciler.upsert import upsert

LEASE = timedelta(seconds=30)
"""How long a worker may be silent before another one takes its tasks; one that works renews its leases."""

OWN_WORDS = (Category.WITHDRAWN.value, Category.REFUSED.value, Category.COMPLAINT.value)
"""What a person said themselves; all else waits for it."""

FIRST_PAUSE_S = 1.0
LONGEST_PAUSE_S = 300.0
"""Pauses double from the first to the longest; jitter takes off up to half."""
NO_ANSWER = Unreachable.__name__
"""How the error of a task begins whose product gave no answer, among whatever else went wrong."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Triggering:
    """When the workflow was triggered for a task; without a code nobody knows whether it was."""

    at: datetime
    code: str | None
    answer_sha256: bytes | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """One withdrawal to carry to both products."""

    id: int
    sub: SubjectId
    cause_idx: int
    attempts: int
    category: str = Category.WITHDRAWN.value
    halves: frozenset[str] = frozenset()
    """The columns of the products that are stopped and proved already."""
    unanswered: bool = False
    """Whether a product gave no answer when this was last tried."""
    triggered: Triggering | None = None
    """The workflow that was triggered for it, until it is seen done."""

    @property
    def own(self) -> bool:
        """Return whether the person said it themselves."""
        return self.category in OWN_WORDS


def waiting(tx: Connection, now: datetime) -> bool:
    """Return whether there is anything to claim: a look that takes no lock."""
    return tx.execute(select(task.c.id).where(_free(now)).limit(1)).first() is not None


def claim(
    tx: Connection, *, worker: str, now: datetime, limit: int, others: int | None = None
) -> dict[SubjectId, list[Task]]:
    """Lease the tasks of up to `limit` people, the first deadline first; all tasks of a person together.

    People's own words come first, then whom a product is known to hold, then the rest: of these only up
    to `others` at a time, so that a withdrawal never waits for a long turn.
    """
    free = _free(now)
    wanted = select(task.c.sub).where(free).with_for_update(skip_locked=True)
    by_deadline = wanted.where(_own()).order_by(task.c.due_at, task.c.id).limit(limit)
    urgent = tx.scalars(by_deadline).all()
    if not urgent:
        by_rank = wanted.order_by(_rank(), task.c.due_at, task.c.id)
        urgent = tx.scalars(by_rank.limit(limit if others is None else others)).all()
    subs = [SubjectId(sub) for sub in dict.fromkeys(urgent)]
    rows = tx.execute(
        _tasks()
        .where(free, task.c.sub.in_(subs))
        .order_by(task.c.due_at, task.c.id)
        .with_for_update(skip_locked=True, of=task)
    ).all()
    found = _lease(tx, rows, worker=worker, now=now)
    return {sub: found[sub] for sub in subs if sub in found}


def claim_triggered(
    tx: Connection, *, worker: str, now: datetime, before: datetime, after: int, limit: int
) -> dict[SubjectId, list[Task]]:
    """Lease up to `limit` tasks that a workflow was triggered for by `before`, with ids greater than `after`.

    Whether they rest does not matter: nothing is tried, they are only looked for on the lists.
    """
    rows = tx.execute(
        _tasks()
        .where(_awaited(), triggering.c.at <= before, _unleased(now), task.c.id > after)
        .order_by(task.c.id)
        .limit(limit)
        .with_for_update(skip_locked=True, of=task)
    ).all()
    return _lease(tx, rows, worker=worker, now=now)


def awaited(tx: Connection, names: Sequence[str] = ()) -> dict[bytes, frozenset[str]]:
    """Return for whom a workflow was triggered who were not seen stopped: on which lists the mirror has them.

    People are address indexes, lists those of these `names` where they are still active.
    """
    active = and_(
        member.c.address_index == subject.c.address_index,
        member.c.list_name.in_(names),
        member.c.status == Member.ACTIVE.value,
    )
    found: dict[bytes, set[str]] = {}
    for index, name in tx.execute(
        select(subject.c.address_index, func.coalesce(member.c.list_name, ""))
        .select_from(subject)
        .join(task, task.c.sub == subject.c.sub)
        .join(triggering, triggering.c.task_id == task.c.id)
        .outerjoin(member, active)
        .where(_awaited(), subject.c.address_index.is_not(None))
    ):
        found.setdefault(index, set()).update([name] if name else ())
    return {index: frozenset(lists) for index, lists in found.items()}


def _tasks() -> Select[*tuple[Any, ...]]:
    return select(
        *(task.c.id, task.c.sub, task.c.cause_idx, task.c.attempts, task.c.last_error),
        *(task.c.campaigns_at, task.c.crm_at),
        func.coalesce(_category(), Category.WITHDRAWN.value).label("category"),
        *(triggering.c.at, triggering.c.code, triggering.c.answer_sha256),
    ).outerjoin(triggering, triggering.c.task_id == task.c.id)


def _lease(
    tx: Connection, rows: Sequence[Row[*tuple[Any, ...]]], *, worker: str, now: datetime
) -> dict[SubjectId, list[Task]]:
    ids = [row.id for row in rows]
    tx.execute(update(task).where(task.c.id.in_(ids)).values(claimed_by=worker, claimed_until=now + LEASE))
    found: dict[SubjectId, list[Task]] = {}
    for row in rows:
        found.setdefault(SubjectId(row.sub), []).append(_task(row))
    return found


def _task(row: Row[*tuple[Any, ...]]) -> Task:
    halves = {"campaigns_at": row.campaigns_at, "crm_at": row.crm_at}
    return Task(
        id=row.id,
        sub=SubjectId(row.sub),
        cause_idx=row.cause_idx,
        attempts=row.attempts,
        category=row.category,
        halves=frozenset(half for half, at in halves.items() if at is not None),
        unanswered=NO_ANSWER in (row.last_error or ""),
        triggered=None
        if row.at is None
        else Triggering(at=row.at, code=row.code, answer_sha256=row.answer_sha256),
    )


def hold(tx: Connection, ids: Sequence[int], *, worker: str, until: datetime) -> None:
    """Renew the leases of a worker that is still at it; those that another one took over stay theirs."""
    tx.execute(
        update(task).where(task.c.id.in_(ids), task.c.claimed_by == worker).values(claimed_until=until)
    )


def held(tx: Connection, ids: Sequence[int], *, worker: str, now: datetime) -> set[int]:
    """Return which of these tasks are this worker's still: who was frozen for long finds them gone."""
    mine = and_(task.c.state == "open", task.c.claimed_by == worker, task.c.claimed_until > now)
    return {
        found
        for part in chunks(ids)
        for found in tx.scalars(select(task.c.id).where(task.c.id.in_(part), mine))
    }


def release(tx: Connection, tasks: Iterable[Task], *, worker: str) -> None:
    """Give tasks back as they were: nobody tried them."""
    ids = [item.id for item in tasks]
    mine = and_(task.c.id.in_(ids), task.c.claimed_by == worker)
    tx.execute(update(task).where(mine).values(claimed_by=None, claimed_until=None))


def received_since(tx: Connection, number: int) -> datetime | None:
    """Return when the oldest of the last so many withdrawals was received, None where there were fewer."""
    newest = select(task.c.received_at).order_by(task.c.id.desc())
    return tx.scalar(newest.offset(number - 1).limit(1))


def last_triggered(tx: Connection) -> datetime | None:
    """Return when a workflow was last triggered for a task that is still open, by whichever worker."""
    return tx.scalar(select(func.max(triggering.c.at)))


def note_triggered(tx: Connection, ids: Sequence[int], triggered: Triggering) -> None:
    """Remember that a workflow was triggered for these tasks."""
    told = {"at": triggered.at, "code": triggered.code, "answer_sha256": triggered.answer_sha256}
    upsert(tx, triggering, [{"task_id": number, **told} for number in ids], dict.fromkeys(told))


def forget_triggered(tx: Connection, ids: Sequence[int]) -> None:
    """Forget that a workflow was to be triggered for these tasks: it certainly was not, or needs no proof."""
    tx.execute(delete(triggering).where(triggering.c.task_id.in_(ids)))


def rest(tx: Connection, tasks: Iterable[Task], *, worker: str, until: datetime) -> None:
    """Give tasks back, to be tried again when it is `until` and nobody saw them done before.

    What was wrong before is over: who rests for a proof is not woken as if a product had been silent.
    """
    mine = and_(task.c.id.in_([item.id for item in tasks]), task.c.claimed_by == worker)
    given_back = {"claimed_by": None, "claimed_until": None, "not_before": until, "last_error": None}
    tx.execute(update(task).where(mine).values(given_back))


def note(tx: Connection, tasks: Iterable[Task], halves: Mapping[str, datetime]) -> None:
    """Remember when each product (its column) had been stopped, so that a retry leaves it alone."""
    ids = [item.id for item in tasks]
    if halves:
        tx.execute(update(task).where(task.c.id.in_(ids)).values(**halves))


def finish(tx: Connection, tasks: Iterable[Task], *, proved_at: datetime) -> None:
    """Say that both halves are done, and when the last was read back."""
    later = case((task.c.crm_at > task.c.campaigns_at, task.c.crm_at), else_=task.c.campaigns_at)
    _end(tx, tasks, "done", stopped_at=later, proved_at=proved_at, last_error=None)


def wake(tx: Connection, now: datetime) -> int:
    """Let all come back at once that rested because a product gave no answer: it answers again.

    So a backlog is worked off by deadline, not by when each pause happens to end. Returns how many.
    """
    lost = and_(task.c.state == "open", task.c.not_before > now, task.c.last_error.contains(NO_ANSWER))
    return tx.execute(update(task).where(lost).values(not_before=now)).rowcount


def supersede(tx: Connection, tasks: Iterable[Task], reason: str) -> None:
    """Say that there is nothing to stop any more, and why."""
    _end(tx, tasks, "superseded", last_error=reason)


def postpone(tx: Connection, tasks: Sequence[Task], errors: Sequence[ZohoError], *, now: datetime) -> None:
    """Give the tasks back, to be tried again after a pause, or when the used-up windows are open again."""
    opens = [e.until for e in errors if isinstance(e, QuotaExhausted) and e.until is not None]
    error = "; ".join(f"{type(error).__name__}: {error}" for error in errors)
    for item in tasks:
        tx.execute(
            update(task)
            .where(task.c.id == item.id, task.c.state == "open")
            .values(
                attempts=item.attempts + 1,
                not_before=max(opens) if opens else now + pause(item),
                claimed_by=None,
                claimed_until=None,
                last_error=error,
            )
        )


def pause(item: Task) -> timedelta:
    """Return how long to wait after this many attempts; tasks that failed together do not return together."""
    longest = min(FIRST_PAUSE_S * 2.0 ** min(item.attempts, 30), LONGEST_PAUSE_S)
    jitter = (item.id * 2_654_435_761 % 1_000) / 1_000  # Knuth's multiplier scatters neighbours
    return timedelta(seconds=longest * (1 - jitter / 2))


def _category() -> ColumnElement[str]:
    """Return what the entry behind a task says."""
    cause = (happening.c.log_id == LOG_ID) & (happening.c.idx == task.c.cause_idx)
    return select(happening.c.category).where(cause).scalar_subquery()


def _own() -> ColumnElement[bool]:
    """Return whether a person said it themselves; a task without an entry counts as such."""
    return func.coalesce(_category(), Category.WITHDRAWN.value).in_(OWN_WORDS)


def _rank() -> ColumnElement[int]:
    """Return 0 for whom a mirror knows, 1 for the rest: those who said nothing themselves."""
    mirrors = (
        select(table.c.address_index)
        .join(subject, subject.c.address_index == table.c.address_index)
        .where(subject.c.sub == task.c.sub)
        .correlate(task)
        .exists()
        for table in (member, crm_address)
    )
    return case((or_(*mirrors), 0), else_=1)


def _free(now: datetime) -> ColumnElement[bool]:
    return and_(task.c.state == "open", task.c.not_before <= now, _unleased(now))


def _unleased(now: datetime) -> ColumnElement[bool]:
    return or_(task.c.claimed_until.is_(None), task.c.claimed_until <= now)


def _awaited() -> ColumnElement[bool]:
    return and_(task.c.state == "open", task.c.campaigns_at.is_(None), triggering.c.code.is_not(None))


def _end(tx: Connection, tasks: Iterable[Task], state: str, **values: object) -> None:
    ids = [item.id for item in tasks]
    tx.execute(
        update(task)
        .where(task.c.id.in_(ids), task.c.state == "open")
        .values(state=state, claimed_by=None, claimed_until=None, **values)
    )
    tx.execute(delete(triggering).where(triggering.c.task_id.in_(ids)))
