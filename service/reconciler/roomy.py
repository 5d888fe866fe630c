"""Room for statements over everybody: what the stores are told for one transaction or one connection."""

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import Connection

SETTINGS = (
    # Millions of people are joined in memory or in few parts, not sorted on disk.
    "SET LOCAL work_mem = '128MB'",
    # A statement of a thousand expressions takes seconds to compile, longer than it saves.
    "SET LOCAL jit = off",
    # All rows are wanted, so a cursor must not be planned for the first of them.
    "SET LOCAL cursor_tuple_fraction = 1",
    # What is grouped is few, which nobody can tell beforehand: sorting everybody for it takes a third longer.
    "SET LOCAL enable_sort = off",
    # Cursors get no workers, and a look-up of a thousand people is over before one has begun.
    "SET LOCAL max_parallel_workers_per_gather = 0",
    # While others read for it, the one that writes says nothing, for minutes where there are millions.
    "SET LOCAL idle_in_transaction_session_timeout = '15min'",
)
GATHERED = (
    # How many a union holds is taken for two hundred, and each of them looked up.
    "SET LOCAL enable_nestloop = off",
    # Where there are hundreds of thousands, compiling pays if nothing is spent on optimizing.
    "SET LOCAL jit = on",
    "SET LOCAL jit_optimize_above_cost = -1",
    "SET LOCAL jit_inline_above_cost = -1",
)
"""What is told besides where rows of both products are gathered by one grouping (`sides`)."""
SQLITE_CACHE_KIB = 24_576
"""Of a connection that reads through everybody; look-ups by keyed hash touch pages all over."""


def prepare(tx: Connection, *, gathered: bool = False) -> None:
    """Make room until this transaction ends; SQLite needs none."""
    if tx.dialect.name == "postgresql":
        tx.exec_driver_sql("; ".join((*SETTINGS, *GATHERED) if gathered else SETTINGS))


@contextmanager
def cached(reader: Connection) -> Iterator[None]:
    """Give a connection to SQLite a larger cache, outside of transactions, and take it back."""
    cursor = reader.connection.cursor()
    before = cursor.execute("PRAGMA cache_size").fetchone()[0]
    cursor.execute(f"PRAGMA cache_size = -{SQLITE_CACHE_KIB}")
    try:
        yield
    finally:
        reader.connection.cursor().execute(f"PRAGMA cache_size = {before}")
