"""Putting many rows that may exist already, in one statement, on both stores."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import ARRAY, ColumnElement, Connection, Select, Table, case, column, func, literal, select
from sqlalchemy.dialects import postgresql, sqlite

from service.db import Moment

Rows = Sequence[Mapping[str, Any]]
MIRRORS = 0x6D_69_72_72_6F_72
"""The advisory lock of whoever writes mirrored rows: the word "mirror"."""


def moment(at: datetime) -> ColumnElement[Any]:
    """Return a time as a value that both stores compare with `Moment` columns."""
    return literal(at, Moment())


def insert_into(tx: Connection, table: Table) -> Any:  # noqa: ANN401  # two dialects' classes without a common parent
    """Return the dialect's own INSERT, which knows ON CONFLICT and `excluded`."""
    return postgresql.insert(table) if tx.dialect.name == "postgresql" else sqlite.insert(table)


def upsert(tx: Connection, table: Table, rows: Rows, changes: Mapping[str, Any]) -> None:
    """Insert rows or apply `changes` to those that exist; None means: take the new value.

    Of several rows with one key the last counts. On PostgreSQL each column travels as one array.
    """
    if not rows:
        return
    keys = [key.name for key in table.primary_key.columns]
    single = list({tuple(row[key] for key in keys): row for row in rows}.values())
    insert = insert_into(tx, table)
    values: dict[str, ColumnElement[Any] | Any] = {
        name: insert.excluded[name] if change is None else change for name, change in changes.items()
    }
    if "seen_run" in table.c:
        newer = insert.excluded.seen_run > table.c.seen_run
        values["seen_run"] = case((newer, insert.excluded.seen_run), else_=table.c.seen_run)
    on_conflict: dict[str, Any] = {"index_elements": keys, "set_": values}
    alone(tx)
    if tx.dialect.name == "postgresql":
        names = list(single[0])
        tx.execute(
            insert.from_select(names, _unnested(table, names, single)).on_conflict_do_update(**on_conflict)
        )
    else:
        tx.execute(insert.on_conflict_do_update(**on_conflict), single)


def alone(tx: Connection) -> None:
    """Write mirrored rows one transaction after the other, until the end of this one.

    Runs, the watch and withdrawals write the same people's rows, each in an order of its own: PostgreSQL
    would take that for a deadlock and throw one of them out. SQLite has one writer at a time anyway.
    """
    if tx.dialect.name == "postgresql":
        tx.execute(select(func.pg_advisory_xact_lock(MIRRORS)))


def _unnested(table: Table, names: Sequence[str], rows: Rows) -> Select[Any]:
    """Select rows that travel as an array for each column."""
    arrays = [literal([row[name] for row in rows], ARRAY(table.c[name].type)) for name in names]
    fresh = func.unnest(*arrays).table_valued(*(column(name, table.c[name].type) for name in names))
    return select(fresh.render_derived(name="fresh"))
