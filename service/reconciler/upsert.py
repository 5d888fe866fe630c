"""Putting many rows that may exist already, in one statement, on both stores."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, Table, case, literal
from sqlalchemy.dialects import postgresql, sqlite

from service.db import Moment

Rows = Sequence[Mapping[str, Any]]


def moment(at: datetime) -> ColumnElement[Any]:
    """Return a time as a value that both stores compare with `Moment` columns."""
    return literal(at, Moment())


def insert_into(tx: Connection, table: Table) -> Any:  # noqa: ANN401  # two dialects' classes without a common parent
    """Return the dialect's own INSERT, which knows ON CONFLICT and `excluded`."""
    return postgresql.insert(table) if tx.dialect.name == "postgresql" else sqlite.insert(table)


def upsert(tx: Connection, table: Table, rows: Rows, changes: Mapping[str, Any]) -> None:
    """Insert rows or apply `changes` to those that exist; None means: take the new value."""
    if not rows:
        return
    insert = insert_into(tx, table)
    values: dict[str, ColumnElement[Any] | Any] = {
        name: insert.excluded[name] if change is None else change for name, change in changes.items()
    }
    if "seen_run" in table.c:
        newer = insert.excluded.seen_run > table.c.seen_run
        values["seen_run"] = case((newer, insert.excluded.seen_run), else_=table.c.seen_run)
    keys = [column.name for column in table.primary_key.columns]
    tx.execute(insert.on_conflict_do_update(index_elements=keys, set_=values), list(rows))
