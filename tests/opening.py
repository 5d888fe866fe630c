"""Take a table's wall down for a moment, as whoever owns the tables can, and put it back as it was."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager

import psycopg
from sqlalchemy import make_url

from service.db import Database


@contextmanager
def open_wall(database: Database, table: str) -> Iterator[None]:
    """Let anybody change one table for as long as the block runs."""
    url = make_url(database.url)
    if database.dialect == "sqlite":
        triggers = _run_sqlite(
            url.database, "SELECT name, sql FROM sqlite_master WHERE type = 'trigger' AND tbl_name = ?", table
        )
        for name, _ in triggers:
            _run_sqlite(url.database, f"DROP TRIGGER {name}")
        yield
        for _, made in triggers:
            _run_sqlite(url.database, made)
        return
    told = f"host={url.query['host']} dbname={url.database} user=postgres"
    with psycopg.connect(told, autocommit=True) as owner:
        owner.execute(f"ALTER TABLE {table} DISABLE TRIGGER USER")
        yield
        for (name,) in owner.execute(
            "SELECT tgname FROM pg_trigger WHERE tgrelid = %s::regclass AND NOT tgisinternal", [table]
        ).fetchall():
            owner.execute(f"ALTER TABLE {table} ENABLE ALWAYS TRIGGER {name}")


def _run_sqlite(path: str | None, statement: str, *values: str) -> list[tuple]:
    assert path is not None
    with closing(sqlite3.connect(path)) as connection, connection:
        return connection.execute(statement, values).fetchall()
