"""How long withdrawals took, in which order they went, and what of the vendor's limits was met on the way."""

import time
from bisect import bisect_right, insort
from collections.abc import Callable, Mapping
from datetime import datetime
from itertools import groupby

import httpx
from sqlalchemy import func, select

from service.db import Database, subject, task
from service.reconciler.enforce import LIMIT


def wait(made: Database, wanted: int, *, patience_s: float) -> None:
    """Return when so many people are done and nothing is open, or after a while."""
    deadline, told_at = time.monotonic() + patience_s, 0.0
    while time.monotonic() < deadline:
        with made.read() as tx:
            left = tx.scalar(select(func.count()).select_from(task).where(task.c.state == "open"))
            people = tx.scalar(select(func.count(task.c.sub.distinct())).where(task.c.state == "done"))
        if not left and people >= wanted:
            return
        if time.monotonic() > told_at + 10:
            told_at = time.monotonic()
            print(f"  {left} wait, {people} of {wanted} people are done", flush=True)
        time.sleep(0.5)


def delays(made: Database, left_at: Mapping[bytes, datetime], name: Callable[[bytes], str]) -> None:
    """Print the time from the moment when each left to the stop in both products, and to its proof.

    People by their keyed hashes; `name` says which line somebody belongs to.
    """
    with made.read() as tx:
        rows = tx.execute(
            select(
                subject.c.address_index,
                func.min(task.c.stopped_at).label("stopped_at"),
                func.min(task.c.proved_at).label("proved_at"),
            )
            .join(task, task.c.sub == subject.c.sub)
            .where(task.c.state == "done", subject.c.address_index.in_(left_at))
            .group_by(subject.c.address_index)
        ).all()
    print(f"{len(left_at)} people left, all but {len(left_at) - len(rows)} done")
    rows.sort(key=lambda row: name(row.address_index))
    for line, group in groupby(rows, key=lambda row: name(row.address_index)):
        of_line = list(group)
        for column in ("stopped_at", "proved_at"):
            took = sorted(
                (getattr(row, column) - left_at[row.address_index]).total_seconds() for row in of_line
            )
            shown = "  ".join(f"p{q} {took[len(took) * q // 100]:.2f}" for q in (50, 95, 99))
            print(f"{line:13} {column:10}  {shown}  slowest {took[-1]:.2f} s  ({len(took)})")


def order(made: Database, *, workers: int) -> None:
    """Print how many were overtaken by more people of later deadlines than one turn of each worker takes."""
    with made.read() as tx:
        rows = tx.execute(
            select(task.c.due_at, task.c.campaigns_at)
            .where(task.c.state == "done")
            .order_by(task.c.campaigns_at, task.c.due_at)
        ).all()
    before: list[datetime] = []
    overtaken, worst = 0, 0
    for _, turn in groupby(rows, key=lambda row: row.campaigns_at):
        together = [row.due_at for row in turn]
        by = [len(before) - bisect_right(before, due_at) for due_at in together]
        overtaken, worst = overtaken + sum(n > workers * LIMIT for n in by), max(worst, *by)
        for due_at in together:
            insort(before, due_at)
    print(
        f"order: {overtaken} of {len(rows)} were overtaken by more than a turn of each worker "
        f"({workers} x {LIMIT}); the most by {worst}; {len({row.due_at for row in rows})} deadlines"
    )


def limits(vendor: str) -> None:
    """Print which endpoints the vendor has locked because more was called than it allows."""
    met = httpx.get(f"{vendor}/_control/meter").raise_for_status().json()
    locked = ", ".join(met["locks"]) or "none"
    print(f"limits broken: {len(met['locks'])} (locked endpoints: {locked}); credits {met['credits']}")
