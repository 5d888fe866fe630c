"""Room for statements over everybody: what PostgreSQL is told for one transaction. SQLite needs nothing."""

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
)


def prepare(tx: Connection) -> None:
    """Make room until this transaction ends."""
    if tx.dialect.name == "postgresql":
        tx.exec_driver_sql("; ".join(SETTINGS))
