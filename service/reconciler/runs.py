"""Runs as rows: begun, advanced and ended here; `summary` is JSON that names nobody."""

from collections.abc import Mapping
from datetime import datetime

import msgspec
from sqlalchemy import Connection, insert, select, true, update

from service.db import run

KIND = "reconcile"
BELIEVED = ("planned", "applying", "done")
"""States of a run whose read was complete."""


def begin(tx: Connection, at: datetime) -> int:
    """Begin a run and return its number."""
    made = tx.execute(insert(run).values(kind=KIND, state="observing", started_at=at, summary="{}"))
    key = made.inserted_primary_key
    assert key is not None
    return int(key[0])


def advance(
    tx: Connection, run_id: int, state: str, *, finished_at: datetime | None = None, **facts: object
) -> None:  # any JSON
    """Move a run to a state and add to its summary."""
    before = tx.scalar(select(run.c.summary).where(run.c.id == run_id)) or "{}"
    summary = msgspec.json.encode(msgspec.json.decode(before) | facts).decode()
    tx.execute(
        update(run).where(run.c.id == run_id).values(state=state, summary=summary, finished_at=finished_at)
    )


def refuse(tx: Connection, at: datetime, reason: str) -> None:
    """Keep a run that could not even begin, with the reason."""
    advance(tx, begin(tx, at), "refused", finished_at=at, reason=reason)


def asked_at(summary: str) -> datetime | None:
    """Return when a run asked CRM, by CRM's own clock; None where it was not believed or did not note it."""
    told = msgspec.json.decode(summary).get("crm", {}).get("asked_at")
    return None if told is None else datetime.fromisoformat(told)


def last_believed(
    tx: Connection, before: int | None = None
) -> tuple[int, datetime, Mapping[str, int]] | None:
    """Return number, start and counts of the newest run (earlier than `before`) whose read was complete."""
    row = tx.execute(
        select(run.c.id, run.c.started_at, run.c.summary)
        .where(run.c.kind == KIND, run.c.state.in_(BELIEVED), true() if before is None else run.c.id < before)
        .order_by(run.c.id.desc())
        .limit(1)
    ).one_or_none()
    if row is None:
        return None
    return row.id, row.started_at, msgspec.json.decode(row.summary).get("seen", {})
