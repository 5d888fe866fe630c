"""Measure the diff of products and ledger, beside the same join in DuckDB and a naive loop, in one run.

    python -m tests.servers postgresql -- python -m tests.bench.diff 100000 1000000 5000000
    python -m tests.servers sqlite -- python -m tests.bench.diff 100000

Prints people per second, the memory of this process, and the exponent of growth over the sizes. DuckDB runs
the very statement that the service runs, on the same rows.
"""

import math
import os
import resource
import sys
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ProcessPoolExecutor
from contextlib import closing
from datetime import UTC, datetime
from multiprocessing import get_context
from statistics import median
from typing import Any

import duckdb
from sqlalchemy import Connection, delete, func, select, text
from sqlalchemy.dialects import postgresql
from sqlalchemy.schema import CreateTable

from service.db import Database, drift, metadata, migrate, run
from service.policy import PolicySet
from service.reconciler import diff
from service.vault import Vault
from tests import running

NOW = datetime(2026, 11, 23, 4, 0, tzinfo=UTC)
ROUNDS = 3
SAMPLE = 300
"""People whom the naive loop asks about, one after the other."""
MILLISECONDS = int(NOW.timestamp() * 1000)
DAY = 86_400_000
TABLES = ("crm_record", "crm_address", "contact", "member", "outcome", "subject", "standing", "event")


def rows(first: int, last: int, sealed: str, key: Callable[[str], str], blob: str) -> dict[str, str]:
    """Return by table the SELECT that makes its rows: six in a hundred people disagree somewhere."""
    each = f"generate_series({first}, {last}) AS s(i)"
    me, sub = key("i"), key("i + 700000000")
    at = f"({MILLISECONDS}::bigint - (i % 700) * {DAY}::bigint)"
    known = f"{each} WHERE i % 3 = 0"
    return {
        "crm_record": f"""SELECT 'Contacts', i::text, (i % 50 = 0)::int::smallint, {at},
            CASE WHEN i % 50 = 0 THEN 'Manual' END, NULL::bigint,
            CASE i % 3 WHEN 0 THEN 'DE' WHEN 1 THEN 'US' ELSE 'unknown' END,
            CASE WHEN i % 200 = 0 THEN '' ELSE 'newsletter,' END, 1, NULL, NULL::bigint, 0::smallint
            FROM {each}""",
        "crm_address": f"SELECT 'Contacts', i::text, {me}, {sealed} FROM {each}",
        "contact": f"""SELECT {me}, {sealed}, CASE WHEN i % 120 = 0 THEN 'refused' ELSE 'granted' END,
            {at}, NULL, 1 FROM {each} WHERE i % 150 <> 0""",
        "member": f"""SELECT 'newsletter', {me}, CASE WHEN i % 40 = 0 THEN 'unsub' WHEN i % 90 = 0
            THEN 'bounce' ELSE 'active' END, {at}, NULL, 1 FROM {each} WHERE i % 150 <> 0""",
        "outcome": f"""SELECT '3z' || (i % 6), {me}, CASE WHEN i % 40 = 0 THEN 'optoutcontacts'
            ELSE 'senthardbounce' END, {at}, {at} - 3600000, {at}, {sealed}, NULL::bigint
            FROM {each} WHERE i % 40 = 0 OR i % 90 = 0""",
        "subject": f"""SELECT {sub}, {me}, {key("i + 800000000")}, {sealed}, 1::smallint, i, {sealed}
            FROM {known}""",
        "standing": f"""SELECT {sub}, 'marketing', CASE WHEN i % 30 = 0 THEN 'refused' ELSE 'permitted' END,
            'said so', NULL, (i % 30 = 0)::int::smallint, i, {at}, NULL::bigint, NULL::bigint, NULL,
            NULL::{blob} FROM {known}""",
        "event": f"""SELECT 1::smallint, i, {sub}, CASE WHEN i % 30 = 0 THEN 'consent.withdrawn'
            ELSE 'consent.granted' END, 'marketing', {at}, {at}, 'bench', 'live', 'A', NULL::bigint, NULL,
            NULL::bigint, NULL, NULL, NULL FROM {known}""",
    }


def main(url: str, sizes: list[int]) -> None:
    """Measure each size, the rows growing from one to the next; print a line each, then the exponent."""
    migrate(url)
    policy = running.policies()
    seconds: list[tuple[int, float]] = []
    with closing(Database(url)) as database, running.start(database) as intake:
        sealed = intake.vault.seal_address("somebody@example.com").hex()
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as columnar:
            columnar.submit(begin, sealed).result()
            before = 0
            for people in sorted(sizes):
                shown = columnar.submit(grow_columnar, before + 1, people, database.dialect == "sqlite")
                grow(database, shown.result(), before + 1, people, sealed)
                before = people
                seconds.append((people, measure(database, columnar, people, policy, intake.vault)))
    if len(seconds) > 1:
        print(f"growth: seconds ~ people^{exponent(seconds):.2f}")


def grow(database: Database, shown: Mapping[str, list[Any]], first: int, last: int, sealed: str) -> None:
    """Put the rows of these people into the mirrors and the projections, and nothing else."""
    if database.dialect == "sqlite":
        for table, found in shown.items():
            marks = ", ".join("?" * len(found[0]))
            with database.begin() as tx:
                tx.exec_driver_sql(f"INSERT INTO {table} VALUES ({marks})", found)
        with database.begin() as tx:
            tx.exec_driver_sql("ANALYZE")
        return
    literal = f"'\\x{sealed}'::bytea"
    made = rows(first, last, literal, lambda i: f"sha256(({i})::text::bytea)", "bytea")
    for table in TABLES:
        with database.begin() as tx:
            tx.exec_driver_sql(f"INSERT INTO {table} {made[table].replace('%', '%%')}")
    with database.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as plain:
        for table in TABLES:
            plain.exec_driver_sql(f"VACUUM ANALYZE {table}")


class Columnar:
    """DuckDB with the same tables and the same rows, on as many threads as this machine has cores."""

    def __init__(self, sealed: str) -> None:
        self.made = duckdb.connect()
        self.made.execute("SET threads = 2")
        self.made.execute("SET enable_progress_bar = false")
        self._sealed = f"from_hex('{sealed}')"
        for name in (*TABLES, "suppression", "canary", "run", "drift"):
            ddl = str(CreateTable(metadata.tables[name]).compile(dialect=postgresql.dialect()))
            self.made.execute(_plain(ddl))

    def grow(self, first: int, last: int) -> None:
        """Add the rows of these people."""
        made = rows(first, last, self._sealed, lambda i: f"unhex(sha256(({i})::text))", "blob")
        for table, query in made.items():
            self.made.execute(f"INSERT INTO {table} {query}")

    def compare(self, policy: PolicySet) -> None:
        """Run the service's own statement, and keep what it finds."""
        made = diff.disagreeing(policy, NOW)
        query = str(made.compile(dialect=postgresql.dialect(), compile_kwargs={"literal_binds": True}))
        self.made.execute(f"CREATE OR REPLACE TABLE found AS {query.replace('%%', '%')}")


_HERE: list[Columnar] = []
"""The columnar database of this process, which is another than the one whose memory is measured."""


def begin(sealed: str) -> None:
    """Make the columnar database of this process."""
    _HERE[:] = [Columnar(sealed)]


def grow_columnar(first: int, last: int, shown: bool) -> dict[str, list[Any]]:  # noqa: FBT001  # sent by place
    """Add the rows of these people; return all rows where they are to be shown."""
    _HERE[0].grow(first, last)
    return {table: _HERE[0].made.execute(f"SELECT * FROM {table}").fetchall() for table in TABLES if shown}


def compare_columnar(policy: PolicySet) -> float:
    """Compare in this process's columnar database; return the seconds."""
    return _timed(lambda: _HERE[0].compare(policy))


def measure(
    database: Database, columnar: ProcessPoolExecutor, people: int, policy: PolicySet, vault: Vault
) -> float:
    """Print how fast the diff is, beside DuckDB and the naive loop, taken in turn; return its seconds."""
    ours, theirs = [], []
    for _ in range(ROUNDS):
        ours.append(_timed(lambda: _compare(database, policy, vault)))
        theirs.append(columnar.submit(compare_columnar, policy).result())
    with database.read() as tx:
        naive = SAMPLE / _timed(lambda: loop(tx, people))
        found = tx.scalar(select(func.count()).select_from(drift))
    mine, other = people / median(ours), people / median(theirs)
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    print(
        f"{database.dialect} {people:>9,} people: {median(ours):6.1f} s, {mine:>9,.0f}/s, "
        f"{mine / other:.2f} of DuckDB ({other:,.0f}/s), {mine / naive:,.0f} x a naive loop ({naive:,.0f}/s),"
        f" {found:,} found, {memory} MB",
        flush=True,
    )
    return median(ours)


def _compare(database: Database, policy: PolicySet, vault: Vault) -> None:
    with database.begin() as tx:
        tx.execute(delete(drift))
        made = run.insert().values(kind="reconcile", state="observing", started_at=NOW, summary="{}")
        run_id = tx.execute(made).inserted_primary_key[0]
        diff.compare(tx, run_id, policy=policy, vault=vault, now=NOW)


def _plain(ddl: str) -> str:
    """Return DDL that DuckDB takes: the columns, without keys and defaults."""
    kept = [line for line in ddl.splitlines() if "CONSTRAINT" not in line]
    joined = (
        "\n".join(kept).replace("BYTEA", "BLOB").replace("BIGSERIAL", "BIGINT").replace("SERIAL", "BIGINT")
    )
    head, _, _ = joined.rpartition(")")
    return head.rstrip().rstrip(",") + "\n)"


def loop(tx: Connection, people: int) -> None:
    """Ask about one person after the other, as somebody writes it on the first day."""
    step = max(1, people // SAMPLE)
    for number in range(1, SAMPLE * step + 1, step):
        here = {"record": str(number)}
        index = tx.execute(
            text(f"{_RECORD} WHERE record_id = :record AND module = 'Contacts'"), here
        ).scalar()
        for query in _ABOUT:
            tx.execute(text(query), {"index": index}).all()


_RECORD = "SELECT address_index FROM crm_address"
_ABOUT = (
    *(f"SELECT * FROM {table} WHERE address_index = :index" for table in ("contact", "member", "outcome")),
    "SELECT * FROM suppression WHERE address_index = :index",
    "SELECT s.* FROM standing s JOIN subject p ON p.sub = s.sub WHERE p.address_index = :index",
    "SELECT e.* FROM event e JOIN subject p ON p.sub = e.sub WHERE p.address_index = :index",
)


def exponent(seconds: list[tuple[int, float]]) -> float:
    """Return the slope of the line through the logarithms: 1 is linear."""
    points = [(math.log(people), math.log(taken)) for people, taken in seconds]
    x, y = (sum(axis) / len(points) for axis in zip(*points, strict=True))
    return sum((a - x) * (b - y) for a, b in points) / sum((a - x) ** 2 for a, _ in points)


def _timed(step: Callable[[], Any]) -> float:
    started = time.perf_counter()
    step()
    return time.perf_counter() - started


if __name__ == "__main__":
    main(os.environ["CONSENT_DATABASE_URL"], [int(size) for size in sys.argv[1:]])
