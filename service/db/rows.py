"""Many rows at once, for the few tables that are written and asked in bulk."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain, islice
from typing import Any, TypeAlias, TypeVar

from sqlalchemy import Column, Connection, Table

from service.db.columns import Moment, to_milliseconds

CHUNK = 500  # values asked for in one statement; SQLite takes 32,766 parameters, planners prefer fewer
_WIDEST = 64  # rows of one statement on SQLite; a power of two
_NOTHING = (1, 0)  # a range without anything in it
T = TypeVar("T")
Rows: TypeAlias = Sequence[Mapping[str, Any]]


def insert_rows(tx: Connection, table: Table, rows: Rows) -> None:
    """Insert rows that name the same columns in the same order; for the few tables written in bulk.

    On PostgreSQL each column travels as one array, which takes a fifth of the time of a row each. On
    SQLite many rows are one statement, so that other threads run while it works, and are not in its way.
    """
    insert_all(tx, {table: rows})


def insert_all(
    tx: Connection, tables: Mapping[Table, Rows], last: str = "", given: Sequence[Any] = ()
) -> int:
    """Insert rows of several tables as `insert_rows` does; on PostgreSQL all of them are one statement.

    There `last` may be another one, with its parameters, that ends it; returns how many rows that changed.
    """
    filled = [(table, *_columns(table, rows)) for table, rows in tables.items() if rows]
    if tx.dialect.name == "sqlite":
        for table, columns, values in filled:
            _insert_sqlite(tx, _into(table, columns), list(zip(*values, strict=True)))
    elif filled or last:
        texts = [*(_unnested(tx, table, columns) for table, columns, _ in filled), *filter(None, [last])]
        named = ", ".join(f"t{number} AS ({text})" for number, text in enumerate(texts[:-1]))
        asked_for = tuple(column for _, _, columns in filled for column in columns)
        asked = f"WITH {named} {texts[-1]}" if named else texts[-1]
        return tx.exec_driver_sql(asked, (*asked_for, *given)).rowcount
    return 0


def _columns(table: Table, rows: Rows) -> tuple[list[Column[Any]], list[list[Any]]]:
    columns = [table.c[name] for name in rows[0]]
    values = [
        list(map(to_milliseconds, found)) if isinstance(column.type, Moment) else list(found)
        for column, found in zip(columns, zip(*(row.values() for row in rows), strict=True), strict=True)
    ]
    return columns, values


def _into(table: Table, columns: Sequence[Column[Any]]) -> str:
    return f"INSERT INTO {table.name} ({', '.join(column.name for column in columns)})"


def _unnested(tx: Connection, table: Table, columns: Sequence[Column[Any]]) -> str:
    arrays = ", ".join(f"%b::{column.type.compile(tx.dialect)}[]" for column in columns)
    return f"{_into(table, columns)} SELECT * FROM unnest({arrays})"  # noqa: S608  # our own names


def rows_in(
    tx: Connection,
    columns: Sequence[Column[Any]],
    key: Column[bytes],
    values: Sequence[bytes],
    where: str = "",
) -> Iterator[tuple[Any, ...]]:
    """Yield these columns of every row whose `key` is among `values`; for the few look-ups of every append.

    `where` is a condition of our own words. Only bytes, texts and integers come back as they should.
    """
    names = ", ".join(column.name for column in columns)
    text = f"SELECT {names} FROM {key.table.name} WHERE {where and where + ' AND '}{key.name}"  # noqa: S608  # ours
    if tx.dialect.name != "sqlite":
        if values:
            yield from map(tuple, tx.exec_driver_sql(f"{text} = ANY(%b::bytea[])", (list(values),)))
        return
    for part in chunks(values):
        width = 1 << (len(part) - 1).bit_length()  # few widths, so that each text is compiled once
        asked = (*part, *[part[-1]] * (width - len(part)))
        yield from map(tuple, tx.exec_driver_sql(f"{text} IN ({', '.join('?' * width)})", asked))


def rows_between(
    tx: Connection,
    columns: Sequence[Column[Any]],
    key: Column[int],
    ranges: Sequence[tuple[int, int]],
    where: str,
) -> Iterator[tuple[Any, ...]]:
    """Yield these columns of every row whose `key` lies in one of the ranges, both ends included.

    `where` is a condition of our own words on the columns that stand before `key` in the primary key. Each
    range is looked up by itself: SQLite reads the whole table where ranges are joined by OR. Only bytes,
    texts and integers come back as they should.
    """
    names = ", ".join(column.name for column in columns)
    table = f"{key.table.name} ON {where} AND {key.name} BETWEEN lo AND hi"
    if tx.dialect.name != "sqlite":
        if ranges:
            text = f"SELECT {names} FROM unnest(%b::bigint[], %b::bigint[]) AS r(lo, hi) JOIN {table}"  # noqa: S608  # ours
            yield from map(tuple, tx.exec_driver_sql(text, tuple(map(list, zip(*ranges, strict=True)))))
        return
    for part in chunks(ranges):
        width = 1 << (len(part) - 1).bit_length()
        asked = chain.from_iterable((*part, *[_NOTHING] * (width - len(part))))
        marks = ", ".join(["(?, ?)"] * width)
        text = f"WITH r(lo, hi) AS (VALUES {marks}) SELECT {names} FROM r CROSS JOIN {table}"  # noqa: S608  # ours
        yield from map(tuple, tx.exec_driver_sql(text, tuple(asked)))


def _insert_sqlite(tx: Connection, into: str, rows: Sequence[tuple[Any, ...]]) -> None:
    """Insert the rows in statements of 64, 32 ... 1 of them, so that each text is compiled once."""
    marks = f"({', '.join('?' * len(rows[0]))})"
    start, size = 0, _WIDEST
    while start < len(rows):
        while size > len(rows) - start:
            size //= 2
        part = rows[start : start + size]
        tx.exec_driver_sql(f"{into} VALUES {', '.join([marks] * size)}", tuple(chain.from_iterable(part)))
        start += size


def batches(items: Iterable[T], size: int = CHUNK) -> Iterator[list[T]]:
    """Yield the items in lists of at most `size`, reading no further ahead."""
    source = iter(items)
    while batch := list(islice(source, size)):
        yield batch


def chunks(items: Sequence[T]) -> Iterator[Sequence[T]]:
    """Yield the items in parts that are small enough for one statement each."""
    return (items[start : start + CHUNK] for start in range(0, len(items), CHUNK))
