"""The two ways into the database: `begin` to write, `read` to look.

The edge opens a transaction; nothing below it commits.
"""

import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

from psycopg import Connection as PsycopgConnection
from psycopg.errors import Diagnostic
from sqlalchemy import URL, Connection, Engine, create_engine, event, make_url
from sqlalchemy.exc import ArgumentError, OperationalError
from sqlalchemy.pool import ConnectionPoolEntry

from service.db.ledger import LEDGER_TABLES
from service.db.turn import Turn
from service.errors import Misconfigured

Begin = Callable[[], AbstractContextManager[Connection]]
"""How the edge starts a transaction: `Database.begin` or `Database.read`."""

_UNREPLICATED = "unreplicated"
_IDLE = "idle_in_transaction_session_timeout"
_LONGEST_IDLE = "60s"
"""So long may we be silent in a transaction: who is frozen there holds the log's head no longer."""
_CHANGES = (sqlite3.SQLITE_UPDATE, sqlite3.SQLITE_DELETE)
_RAZING = (
    sqlite3.SQLITE_DROP_TABLE,
    sqlite3.SQLITE_DROP_TRIGGER,
    sqlite3.SQLITE_CREATE_TRIGGER,
    sqlite3.SQLITE_ALTER_TABLE,
    sqlite3.SQLITE_ATTACH,
)
_PRAGMAS = (
    "writable_schema",
    "recursive_triggers",
    "secure_delete",
    "ignore_check_constraints",
    "synchronous",
    "journal_mode",
)


class Database:
    """One engine and the two ways into it.

    `begin` is a write transaction (SQLite: BEGIN IMMEDIATE, so that a writer waits instead of
    failing half way); `read` sees one consistent state and never writes.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        self.engine = engine_from_url(url)
        self._writes = self.engine.execution_options(sqlite_begin="BEGIN IMMEDIATE")
        self._reads: Engine = self.engine
        self._turn = Turn(self.engine.url.database if self.dialect == "sqlite" else None)
        if self.dialect == "sqlite":
            event.listen(self.engine, "connect", _guard_sqlite)
        else:
            self._reads = self.engine.execution_options(
                isolation_level="REPEATABLE READ", postgresql_readonly=True
            )

    @property
    def dialect(self) -> str:
        """Return "sqlite" or "postgresql"."""
        return self.engine.dialect.name

    @contextmanager
    def begin(self) -> Iterator[Connection]:
        """Open a transaction to write in; commits at the end, rolls back on any error.

        Raises `OperationalError` after a COMMIT whose wait for the standby was cancelled: the server
        calls that a success, yet the rows may be lost with this node (reliability.md, fact 4).
        """
        with self._turn.taken(), self._writes.connect() as tx:
            with tx.begin():
                yield tx
            if tx.info.pop(_UNREPLICATED, False):
                raise OperationalError(
                    "COMMIT", None, ConnectionError("the wait for replication was cancelled")
                )

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """Open a transaction to look at one consistent state."""
        with self._reads.connect() as tx, tx.begin():
            yield tx

    def scrub(self) -> None:
        """Take what was deleted out of SQLite's write-ahead log; its pages were overwritten when it was.

        PostgreSQL keeps dead rows until VACUUM (autovacuum, or by hand); there this does nothing.
        """
        if self.dialect == "sqlite":
            connection = self.engine.raw_connection()
            try:
                connection.cursor().execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
            finally:
                connection.close()

    def close(self) -> None:
        """Give all connections back to the operating system."""
        self.engine.dispose()
        self._turn.close()


def engine_from_url(url: str) -> Engine:
    """Return an engine with the durability this service promises (reliability.md, fact 5).

    SQLite: WAL, synchronous=FULL, recursive triggers on (so that INSERT OR REPLACE meets the
    delete trigger). PostgreSQL: psycopg, with a cancelled synchronous wait raised as unknown, and an end to
    transactions in which nothing is said for a minute, unless the URL's `options` set another time.
    """
    where = parse_url(url)
    if where.get_backend_name() == "sqlite":
        return _sqlite(url, where.database)
    if where.get_backend_name() != "postgresql":
        raise Misconfigured("CONSENT_DATABASE_URL must begin with sqlite: or postgresql+psycopg:")
    engine = create_engine(
        where.set(drivername="postgresql+psycopg"), pool_size=10, max_overflow=20, pool_pre_ping=True
    )
    event.listen(engine, "connect", _heed_notices)
    if _IDLE not in str(where.query.get("options", "")):
        event.listen(engine, "connect", _limit_idleness)
    return engine


def parse_url(url: str) -> URL:
    """Return the parts of a database URL; raises `Misconfigured` that shows what one looks like."""
    try:
        return make_url(url)
    except ArgumentError:
        raise Misconfigured(
            "CONSENT_DATABASE_URL is no database URL; it looks like sqlite:///folder/ledger.db "
            "or postgresql+psycopg://user@host/database"
        ) from None


def _heed_notices(connection: PsycopgConnection[Any], record: ConnectionPoolEntry) -> None:
    """Remember on the pool's record when the server says that a COMMIT did not wait for its standby."""

    def heed(notice: Diagnostic) -> None:
        if "canceling wait for synchronous replication" in (notice.message_primary or ""):
            record.info[_UNREPLICATED] = True

    connection.add_notice_handler(heed)


def _limit_idleness(connection: PsycopgConnection[Any], _record: object) -> None:
    """Let the server end a transaction of ours that hangs; behind a pooler the limit is everybody's."""
    connection.execute(f"SET {_IDLE} = '{_LONGEST_IDLE}'")
    connection.commit()


def _sqlite(url: str, path: str | None) -> Engine:
    if path and path != ":memory:":
        Path(path).parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        if not Path(path).exists():
            os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
    engine = create_engine(url, connect_args={"timeout": 30, "isolation_level": None})
    event.listen(engine, "connect", _tune_sqlite)
    event.listen(engine, "begin", _begin_sqlite)
    return engine


def _tune_sqlite(connection: sqlite3.Connection, _record: object) -> None:
    for pragma in (
        "journal_mode=WAL",
        "synchronous=FULL",
        "fullfsync=ON",
        "foreign_keys=ON",
        "recursive_triggers=ON",
        "secure_delete=ON",
        "busy_timeout=30000",
        "trusted_schema=OFF",
        "cache_size=-16384",  # KiB of pages: ids are random, so an append touches pages all over
        "wal_autocheckpoint=4000",  # pages: what is written again soon is copied into the file once
    ):
        connection.execute(f"PRAGMA {pragma}")


def _guard_sqlite(connection: sqlite3.Connection, _record: object) -> None:
    """Let this connection neither change the ledger's rows nor take down its walls (reliability.md, S09).

    Against slips and injected statements of our own process; the triggers hold against others.
    """

    def judge(action: int, first: str | None, second: str | None, _db: str | None, _by: str | None) -> int:
        changes = action in _CHANGES and first in (*LEDGER_TABLES, "sqlite_master")
        loosens = action == sqlite3.SQLITE_PRAGMA and second is not None and first in _PRAGMAS
        return sqlite3.SQLITE_DENY if changes or loosens or action in _RAZING else sqlite3.SQLITE_OK

    connection.set_authorizer(judge)


def _begin_sqlite(connection: Connection) -> None:
    connection.exec_driver_sql(connection.get_execution_options().get("sqlite_begin", "BEGIN"))
