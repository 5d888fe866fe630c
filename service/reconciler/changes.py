"""The rows of `change` while they are carried out: planned, written, proved, failed or superseded."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TypeVar

from sqlalchemy import Connection, Exists, and_, bindparam, case, exists, func, or_, select, update

from service.consent import State
from service.db import change, drift, run, standing, subject, suppression

T = TypeVar("T")

FIRST_PAUSE = timedelta(minutes=15)
LONGEST_PAUSE = timedelta(days=1)
TRIED = ("planned", "written", "failed")
"""A change that was not taken is tried again after pauses that double; one that failed, within a day."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """One change that waits to be written or proved."""

    run_id: int
    target: str
    address_index: bytes
    sub: bytes | None
    kind: str
    cause_idx: int | None
    due_at: datetime | None
    code: str | None
    answer_sha256: bytes | None
    written_at: datetime | None
    direction: str
    basis: str
    attempts: int

    @property
    def record(self) -> tuple[str, str]:
        """Return (module, record id) of a CRM target."""
        module, _, record_id = self.target.removeprefix("crm:").partition("/")
        return module, record_id


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """How a step ended for one change: its new state and, where it was written, the answer.

    `error` says why it did not succeed, `until` when the product takes it again, where that is known.
    """

    state: str
    code: str = ""
    answer_sha256: bytes = b""
    error: str | None = None
    until: datetime | None = None


def waiting(tx: Connection, product: str, state: str, direction: str = "stop") -> list[Item]:
    """Return the changes of a product (`crm` or `campaigns`) in a state, most urgent first."""
    rows = tx.execute(
        select(
            change.c.run_id,
            change.c.target,
            change.c.address_index,
            subject.c.sub,
            change.c.kind,
            change.c.cause_idx,
            change.c.due_at,
            change.c.code,
            change.c.answer_sha256,
            change.c.written_at,
            change.c.direction,
            change.c.basis,
            change.c.attempts,
        )
        .outerjoin(subject, subject.c.address_index == change.c.address_index)
        .where(
            change.c.state == state,
            change.c.direction == direction,
            change.c.target.startswith(product, autoescape=True),
        )
        .order_by(change.c.due_at.is_(None), change.c.due_at, change.c.target, change.c.address_index)
    )
    return [Item(**row) for row in rows.mappings()]


def urgency(item: Item) -> tuple[bool, float, bool]:
    """Return what sorts stops: the legal deadline, then the cost (a CRM record is the cheaper write)."""
    due = 0.0 if item.due_at is None else item.due_at.timestamp()
    return item.due_at is None, due, not item.target.startswith("crm:")


def outdated(tx: Connection, items: Sequence[Item], purpose: str) -> set[bytes]:
    """Return the address indexes for which the ledger does not say stop any more: never write those."""
    kept_out = select(suppression.c.address_index).where(
        suppression.c.address_index == change.c.address_index
    )
    stops = or_(
        standing.c.must_stop == 1,
        and_(
            or_(change.c.kind == "permitted_without_consent", kept_out.exists()),
            standing.c.state != State.PERMITTED.value,
        ),
    )
    known = (
        select(change.c.address_index)
        .join(subject, subject.c.address_index == change.c.address_index)
        .join(standing, and_(standing.c.sub == subject.c.sub, standing.c.purpose == purpose))
        .where(change.c.address_index.in_([item.address_index for item in items]), ~stops)
    )
    return set(tx.scalars(known))


def still(tx: Connection, items: Sequence[Item], state: str) -> set[tuple[int, str, bytes]]:
    """Return (run, target, address index) of those that are in this state now, whoever moved the others."""
    rows = tx.execute(
        select(change.c.run_id, change.c.target, change.c.address_index).where(
            change.c.run_id.in_({item.run_id for item in items}),
            change.c.address_index.in_({item.address_index for item in items}),
            change.c.state == state,
        )
    )
    return {(row.run_id, row.target, row.address_index) for row in rows}


def mark(tx: Connection, ended: Sequence[tuple[Item, Ended]], at: datetime) -> None:
    """Move changes to their new states; what was written keeps its answer and time.

    What another run proved or superseded meanwhile stays so.
    """
    rows = [
        {
            "of_run": item.run_id,
            "at_target": item.target,
            "of_index": item.address_index,
            "to_state": end.state,
            "said": end.code or item.code,
            "answer": end.answer_sha256 or item.answer_sha256,
            "when": at if end.state == "written" else item.written_at,
            "tries": item.attempts + (end.state in TRIED),
            "again": _next(item, end, at),
            "why": end.error,
        }
        for item, end in ended
    ]
    if rows:
        tx.execute(
            update(change)
            .where(
                change.c.run_id == bindparam("of_run"),
                change.c.target == bindparam("at_target"),
                change.c.address_index == bindparam("of_index"),
                change.c.state != "proved",
                change.c.state != "superseded",
            )
            .values(
                state=bindparam("to_state"),
                code=bindparam("said"),
                answer_sha256=bindparam("answer"),
                written_at=bindparam("when"),
                attempts=bindparam("tries"),
                next_at=bindparam("again"),
                error=bindparam("why"),
            ),
            rows,
        )


def _next(item: Item, end: Ended, at: datetime) -> datetime | None:
    """Return when a change that did not succeed is tried again: when the product says, or after a pause."""
    if end.state == "failed":
        return at + LONGEST_PAUSE
    if end.state != "planned":
        return None
    return end.until or at + min(FIRST_PAUSE * 2 ** min(item.attempts, 10), LONGEST_PAUSE)


def unsettled(tx: Connection) -> list[int]:
    """Return the runs that have changes to write or prove, or were cut short before they could say so."""
    waits = select(change.c.run_id).where(change.c.state.in_(["planned", "written"]))
    cut_short = select(run.c.id).where(run.c.state == "applying")
    return sorted({*tx.scalars(waits), *tx.scalars(cut_short)})


def count(tx: Connection, runs: Sequence[int]) -> Mapping[str, int]:
    """Return how many changes of these runs are in which state."""
    states = select(change.c.state, func.count()).where(change.c.run_id.in_(runs)).group_by(change.c.state)
    return dict(tx.execute(states).all())


def settle_permits(tx: Connection, runs: Sequence[int]) -> None:
    """Say of each person for whom these plans wrote everything that it is done, in later runs as well."""
    mine = and_(
        change.c.run_id.in_(runs),
        change.c.direction == "permit",
        change.c.run_id <= drift.c.run_id,
        change.c.address_index == drift.c.address_index,
    )
    proved = exists().where(mine, change.c.state == "proved").correlate(drift)
    waits = exists().where(mine, change.c.state != "proved").correlate(drift)
    tx.execute(update(drift).where(drift.c.action == "permit", proved, ~waits).values(state="repaired"))


def settle(tx: Connection, runs: Sequence[int], at: datetime) -> None:
    """Say of each person that was to be stopped whether it is done, and end runs that were cut short."""
    mine = and_(change.c.run_id == drift.c.run_id, change.c.address_index == drift.c.address_index)

    def any_in(*states: str) -> Exists:
        return exists().where(mine, change.c.state.in_(states)).correlate(drift)

    tx.execute(
        update(drift)
        .where(drift.c.run_id.in_(runs), drift.c.action == "stop")
        .values(
            state=case(
                (any_in("failed"), "failed"),
                (any_in("contested"), "contested"),
                (any_in("planned", "written", "superseded"), "open"),
                else_="repaired",
            )
        )
    )
    tx.execute(
        update(run).where(run.c.id.in_(runs), run.c.state == "applying").values(state="done", finished_at=at)
    )


def parts(items: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    """Yield `items` in parts of at most `size`."""
    return (items[start : start + size] for start in range(0, len(items), size))


def by_module(items: Sequence[Item], size: int) -> Iterator[Sequence[Item]]:
    """Yield changes of CRM in parts of at most `size`, each of one module: no call reads two of them."""
    modules: dict[str, list[Item]] = {}
    for item in items:
        modules.setdefault(item.record[0], []).append(item)
    for mine in modules.values():
        yield from parts(mine, size)
