"""Who opens again what was stopped: exact over all drifts of the time that is asked about."""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import ColumnElement, Connection, Select, func, select

from service.db import drift, run
from service.reconciler.attribution import RECORD, Cause

NOBODY = "somebody whom the product does not name"


@dataclass(frozen=True, slots=True, kw_only=True)
class Opener:
    """One who opened again: how many people, and by what, the most frequent first."""

    name: str
    people: int
    causes: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Openers:
    """All who were opened again: `people` in all, `top` by whom, `others` by those who are not listed.

    Of the people in `by_record` no timeline was read: whoever had written the record last is named, and
    whether by hand or by an import is not known.
    """

    people: int = 0
    by_record: int = 0
    others: int = 0
    top: tuple[Opener, ...] = ()


def openers(tx: Connection, since: datetime, until: datetime, *, most: int = 5) -> Openers:
    """Return who opened again what had been stopped, in the runs that began between two moments.

    Somebody who was opened again by two users counts for each of them, and once in all.
    """
    people = func.count(drift.c.address_index.distinct())
    reopened = _reopened(since, until)
    who = func.coalesce(drift.c.actor, NOBODY)
    counted = select(who, people).join(run, run.c.id == drift.c.run_id).where(*reopened).group_by(who)
    names = [(str(name), int(count)) for name, count in tx.execute(counted.order_by(people.desc(), who))]
    listed = [name for name, _ in names[:most]]
    others = tx.scalar(_people(*reopened, who.not_in(listed))) if len(names) > most else 0
    return Openers(
        people=tx.scalar(_people(*reopened)) or 0,
        by_record=tx.scalar(_people(*reopened, drift.c.told_by == RECORD)) or 0,
        others=others or 0,
        top=tuple(
            Opener(name=name, people=count, causes=_causes(tx, [*reopened, who == name]))
            for name, count in names[:most]
        ),
    )


def _causes(tx: Connection, where: list[ColumnElement[bool]]) -> tuple[str, ...]:
    people = func.count(drift.c.address_index.distinct())
    rows = tx.execute(
        select(drift.c.cause)
        .join(run, run.c.id == drift.c.run_id)
        .where(*where)
        .group_by(drift.c.cause)
        .order_by(people.desc(), drift.c.cause)
    )
    return tuple(cause or Cause.UNKNOWN.value for (cause,) in rows)


def _people(*where: ColumnElement[bool]) -> Select[int]:
    people = func.count(drift.c.address_index.distinct())
    return select(people).join(run, run.c.id == drift.c.run_id).where(*where)


def _reopened(since: datetime, until: datetime) -> tuple[ColumnElement[bool], ...]:
    return run.c.started_at > since, run.c.started_at <= until, drift.c.reopened == 1
