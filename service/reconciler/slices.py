"""Run one statement over everybody in slices of the keyed addresses, side by side on connections that read.

One connection is served by one core. Keyed hashes are even, so slices are of one size. All see the same
state: PostgreSQL hands out the snapshot of the transaction, and on SQLite nobody else may write meanwhile.
"""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import Any

from sqlalchemy import Connection, Select, select, text

from service.db import crm_address, member
from service.reconciler import roomy
from service.reconciler.ledger_side import LAST, Only, Slice

HALVES = (Slice(first=0, last=LAST // 2), Slice(first=LAST // 2 + 1, last=LAST))
"""More slices would need more cores, and each reads every table of the mirrors through."""
MANY = 20_000
"""Rows of a mirror from which two connections more are worth their making."""
CHUNK = 4_000
"""Rows handed over at once; a slice reads one chunk ahead."""

Rows = Sequence[Any]
Statement = Callable[[Only], Select[Any]]


def partitions(tx: Connection, statement: Statement, many: int = MANY) -> Iterator[Rows]:
    """Yield what `statement` finds about everybody, in parts, in no order.

    Where a mirror has `many` rows or more, slices run side by side and do not see what `tx` wrote itself;
    PostgreSQL tells when it did, then one statement does it all.
    """
    roomy.prepare(tx)
    if _few(tx, many) or _wrote(tx) or tx.engine.url.database in (None, "", ":memory:"):
        everybody = tx.execute(statement(None), execution_options={"yield_per": CHUNK})
        yield from everybody.partitions()
        return
    halves = [replace(half, gathered=tx.dialect.name == "postgresql") for half in HALVES]
    with ExitStack() as stack:
        readers = [stack.enter_context(_reader(tx)) for _ in halves]
        threads = stack.enter_context(ThreadPoolExecutor(len(halves), thread_name_prefix="slice"))
        yield from _as_found([_parts(r, statement(s)) for r, s in zip(readers, halves, strict=True)], threads)


def _as_found(sources: Sequence[Iterator[Rows]], threads: ThreadPoolExecutor) -> Iterator[Rows]:
    """Yield the parts of all sources, whichever is there first; each source is in one thread at a time."""
    waiting: dict[Future[Rows | None], Iterator[Rows]] = {
        threads.submit(next, source, None): source for source in sources
    }
    while waiting:
        done, _ = wait(waiting, return_when=FIRST_COMPLETED)
        for future in done:
            source, part = waiting.pop(future), future.result()
            if part is not None:
                waiting[threads.submit(next, source, None)] = source
                yield part


def _parts(reader: Connection, statement: Select[Any]) -> Iterator[Rows]:
    """Yield the rows in parts; nothing is asked before the first is wanted."""
    yield from reader.execute(statement, execution_options={"yield_per": CHUNK}).partitions()


@contextmanager
def _reader(tx: Connection) -> Iterator[Connection]:
    """Open a further connection that sees what the transaction saw as it began to compare."""
    if tx.dialect.name == "sqlite":
        reads = tx.engine.execution_options(sqlite_begin="BEGIN")
        with reads.connect() as reader, roomy.cached(reader), reader.begin():
            yield reader
        return
    snapshot = tx.scalar(text("SELECT pg_export_snapshot()"))
    reads = tx.engine.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)
    with reads.connect() as reader, reader.begin():
        reader.exec_driver_sql(f"SET TRANSACTION SNAPSHOT '{snapshot}'")
        roomy.prepare(reader, gathered=True)
        yield reader


def _few(tx: Connection, many: int) -> bool:
    """Return whether neither mirror has so many rows; reads no further than these."""
    asked = (select(table.c.address_index).offset(many).limit(1) for table in (crm_address, member))
    return all(tx.execute(one).first() is None for one in asked)


def _wrote(tx: Connection) -> bool:
    """Return whether the transaction wrote something, as far as the store tells."""
    if tx.dialect.name == "sqlite":
        return False
    return tx.scalar(text("SELECT pg_current_xact_id_if_assigned() IS NOT NULL")) is True
