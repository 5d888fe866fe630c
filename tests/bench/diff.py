"""Measure the diff of products and ledger, beside the same join in DuckDB and a naive loop, in one run.

    python -m tests.servers postgresql -- python -m tests.bench.diff 100000 1000000 5000000 --sqlite 100000

Prints for each size people per second, their ratios and the client's memory as one table, and after several
sizes the exponent of growth. "join" is the statement alone, until its last row is in the client; "diff"
goes on to the deadlines and the `drift` rows, which only the service has to make. DuckDB runs the very
statement that the service runs, on the same rows in tables of its own in memory (not PostgreSQL's), also
until the last row is in its client. The naive loop asks about a few hundred people, one after the other,
and its rate is taken for all. All take turns; of each the fastest round counts, for whatever else runs on
the machine only ever makes a round slower. Three in a hundred people disagree somewhere, as after weeks
without a run: a night finds fewer, and the fewer, the less there is to finish. The client's memory counts
SQLite's pages, as SQLite is in it.
"""

import argparse
import math
import os
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import duckdb
from sqlalchemy import Connection, delete, func, select, text
from sqlalchemy.dialects import postgresql
from sqlalchemy.schema import CreateTable

from service.db import Database, drift, metadata, migrate, run
from service.policy import PolicySet
from service.reconciler import diff, disagreement, slices
from service.vault import Vault
from tests import running

NOW = datetime(2026, 11, 23, 4, 0, tzinfo=UTC)
ROUNDS = 5
LARGE = 2_000_000
"""From so many people on, two rounds."""
SAMPLE = 300
"""People whom the naive loop asks about, one after the other."""
MILLISECONDS = int(NOW.timestamp() * 1000)
DAY = 86_400_000
COLUMNS = {
    "crm_record": (
        "module, record_id, opted_out, modified_at, unsubscribed_mode, unsubscribed_at, "
        "jurisdiction, views, seen_run, modified_by, changed_run, unknown"
    ),
    "crm_address": "module, record_id, address_index, address",
    "contact": "address_index, address, permission, since, was, seen_run",
    "member": "list_name, address_index, status, since, was, seen_run",
    "outcome": (
        "campaign_key, address_index, kind, happened_at, sent_at, observed_at, address, recorded_idx"
    ),
    "subject": "sub, address_index, dk, r, version, opened_idx, address",
    "standing": (
        "sub, purpose, state, reason, suppressed, must_stop, decided_by, decided_at, suppressed_by, "
        "valid_until, rule, policy"
    ),
    "event": (
        "log_id, idx, sub, category, purpose, occurred_at, recorded_at, source, provenance, grade, "
        "valid_until, fact, fact_at, conditions, country, hint"
    ),
}
"""What is filled of each table, in the order of `rows`."""
TABLES = tuple(COLUMNS)


def rows(first: int, last: int, sealed: str, key: Callable[[str], str], blob: str) -> dict[str, str]:
    """Return by table the SELECT that makes its rows: some said stop, and not all was carried over."""
    each = f"generate_series({first}, {last}) AS s(i)"
    me, sub = key("i"), key("i + 700000000")
    out = "(i % 100 = 0 OR i % 80 = 0 OR i % 60 = 0)"
    at = f"({MILLISECONDS}::bigint - (i % 700) * {DAY}::bigint)"
    known = f"{each} WHERE i % 3 = 0"
    return {
        "crm_record": f"""SELECT 'Contacts', i::text, {out}::int::smallint, {at},
            CASE WHEN {out} THEN 'Manual' END, NULL::bigint,
            CASE i % 3 WHEN 0 THEN 'DE' WHEN 1 THEN 'US' ELSE 'unknown' END,
            CASE WHEN i % 200 = 0 THEN '' ELSE 'newsletter,' END, 1, NULL, NULL::bigint, 0::smallint
            FROM {each}""",
        "crm_address": f"SELECT 'Contacts', i::text, {me}, {sealed} FROM {each}",
        "contact": f"""SELECT {me}, {sealed}, CASE WHEN i % 120 = 0 THEN 'refused' ELSE 'granted' END,
            {at}, NULL, 1 FROM {each} WHERE i % 150 <> 0""",
        "member": f"""SELECT 'newsletter', {me}, CASE WHEN i % 40 = 0 OR i % 60 = 0 THEN 'unsub'
            WHEN i % 90 = 0 THEN 'bounce' ELSE 'active' END, {at}, NULL, 1 FROM {each} WHERE i % 150 <> 0""",
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """One size on one store: the fastest seconds of each, the naive loop's people a second, MB of memory."""

    store: str
    people: int
    odd: int
    whole: float
    join: float
    theirs: float
    naive: float
    memory: int
    their_memory: int

    def row(self) -> str:
        """Return the line of the table."""
        rate, theirs = self.people / self.whole, self.people / self.theirs
        return (
            f"{self.store:<10} {self.people:>9,} {self.odd:>8,} {self.whole:>7.2f} {rate:>9,.0f} "
            f"{self.memory:>5} {self.join:>7.2f} {self.theirs:>7.2f} {theirs:>9,.0f} {self.their_memory:>6} "
            f"{self.naive:>7,.0f} {rate / theirs:>6.2f} {self.theirs / self.join:>6.2f} "
            f"{rate / self.naive:>6,.0f}"
        )


HEAD = (
    f"{'store':<10} {'people':>9} {'disagree':>8} {'diff s':>7} {'rows/s':>9} {'MB':>5} {'join s':>7} "
    f"{'DuckDB':>7} {'rows/s':>9} {'its MB':>6} {'naive/s':>7} {'ratio':>6} {'join':>6} {'naive':>6}"
)
"""ratio: of DuckDB's rate, by the whole diff and by its join alone; naive: times the naive loop's rate."""


def main(url: str, sizes: list[int], on_sqlite: int) -> None:
    """Measure each size, the rows growing from one to the next, then SQLite; print table and growth."""
    print(HEAD, flush=True)
    found = measure_all(url, sizes)
    if on_sqlite:
        with tempfile.TemporaryDirectory() as folder:
            measure_all(f"sqlite:///{folder}/ledger.db", [on_sqlite])
    if len(found) > 1:
        mine, theirs = [(one.people, one.whole) for one in found], [(one.people, one.theirs) for one in found]
        print(
            f"growth, by the fastest rounds: seconds of the diff ~ people^{exponent(mine):.2f}, "
            f"of DuckDB ~ people^{exponent(theirs):.2f}"
        )


def measure_all(url: str, sizes: list[int]) -> list[Measured]:
    """Measure the sizes on one store, and print each as soon as it is there."""
    migrate(url)
    policy, found, before = running.policies(), [], 0
    with closing(Database(url)) as database, running.start(database) as intake:
        sealed = intake.vault.seal_address("somebody@example.com").hex()
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as columnar:
            columnar.submit(begin, sealed).result()
            for people in sorted(sizes):
                columnar.submit(grow_columnar, before + 1, people).result()
                if database.dialect == "sqlite":
                    columnar.submit(copy_columnar, url, before).result()
                else:
                    grow(database, before + 1, people, sealed)
                before = people
                found.append(measure(database, columnar, people, policy, intake.vault))
                print(found[-1].row(), flush=True)
    return found


def grow(database: Database, first: int, last: int, sealed: str) -> None:
    """Put the rows of these people into the mirrors and the projections of PostgreSQL, and nothing else."""
    literal = f"'\\x{sealed}'::bytea"
    made = rows(first, last, literal, lambda i: f"sha256(({i})::text::bytea)", "bytea")
    for table in TABLES:
        with database.begin() as tx:
            _fill(tx, table, f"INSERT INTO {_into(table)} {made[table].replace('%', '%%')}")
    with database.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as plain:
        for table in TABLES:
            plain.exec_driver_sql(f"VACUUM ANALYZE {table}")


def _fill(tx: Connection, table: str, insert: str) -> None:
    """Fill a table while it has no index: each is made at the end, by one sort."""
    tx.exec_driver_sql("SET LOCAL maintenance_work_mem = '512MB'")
    keys = tx.exec_driver_sql(
        "SELECT conname, pg_get_constraintdef(oid) FROM pg_constraint "
        f"WHERE conrelid = '{table}'::regclass AND contype IN ('p', 'u')"
    ).all()
    for name, _ in keys:
        tx.exec_driver_sql(f"ALTER TABLE {table} DROP CONSTRAINT {name}")
    others = tx.exec_driver_sql(
        "SELECT indexrelid::regclass, pg_get_indexdef(indexrelid) FROM pg_index "
        f"WHERE indrelid = '{table}'::regclass"
    ).all()
    for name, _ in others:
        tx.exec_driver_sql(f"DROP INDEX {name}")
    tx.exec_driver_sql(insert)
    for name, definition in keys:
        tx.exec_driver_sql(f"ALTER TABLE {table} ADD CONSTRAINT {name} {definition}")
    for _, definition in others:
        tx.exec_driver_sql(definition)


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
            self.made.execute(f"INSERT INTO {_into(table)} {query}")

    def compare(self, policy: PolicySet) -> int:
        """Run the service's own statement, and fetch what it finds in parts; return how many rows."""
        made = disagreement.select_all(policy, NOW)
        query = str(made.compile(dialect=postgresql.dialect(), compile_kwargs={"literal_binds": True}))
        self.made.execute(query.replace("%%", "%"))
        return sum(len(part) for part in iter(lambda: self.made.fetchmany(diff.CHUNK), []))


_HERE: list[Columnar] = []
"""The columnar database of this process, which is another than the one whose memory is measured."""


def begin(sealed: str) -> None:
    """Make the columnar database of this process."""
    _HERE[:] = [Columnar(sealed)]


def grow_columnar(first: int, last: int) -> None:
    """Add the rows of these people."""
    _HERE[0].grow(first, last)


def copy_columnar(url: str, before: int) -> None:
    """Put the rows into SQLite, from this process, so that loading is not in the memory that is measured."""
    assert before == 0, "SQLite is filled once"
    with closing(Database(url)) as database:
        for table in TABLES:
            found = _HERE[0].made.execute(f"SELECT {COLUMNS[table]} FROM {table}")
            marks = ", ".join("?" * len(found.description))
            with database.begin() as tx:
                for part in iter(partial(found.fetchmany, diff.CHUNK), []):
                    tx.exec_driver_sql(f"INSERT INTO {_into(table)} VALUES ({marks})", part)


def compare_columnar(policy: PolicySet) -> tuple[float, int]:
    """Compare in this process's columnar database; return the seconds, and the most memory so far in MB."""
    return _timed(lambda: _HERE[0].compare(policy)), _peak()


def measure(
    database: Database, columnar: ProcessPoolExecutor, people: int, policy: PolicySet, vault: Vault
) -> Measured:
    """Return what the diff, DuckDB and the naive loop took, in turn."""
    whole, joined, theirs, memory = [], [], [], 0
    _forget_peak()
    for _ in range(2 if people >= LARGE else ROUNDS):
        joined.append(_timed(lambda: _join(database, policy)))
        taken, memory = columnar.submit(compare_columnar, policy).result()
        theirs.append(taken)
        run_id = _run(database)
        whole.append(_timed(lambda: _compare(database, policy, vault, run_id)))  # noqa: B023  # called at once
    mine = _peak()
    with database.read() as tx:
        return Measured(
            store=database.dialect,
            people=people,
            odd=tx.scalar(select(func.count()).select_from(drift)) or 0,
            whole=min(whole),
            join=min(joined),
            theirs=min(theirs),
            naive=SAMPLE / _timed(lambda: loop(tx, people)),
            memory=mine,
            their_memory=memory,
        )


def _join(database: Database, policy: PolicySet) -> int:
    with database.begin() as tx:
        return sum(
            map(len, slices.partitions(tx, partial(disagreement.select_all, policy, NOW, frozenset())))
        )


def _run(database: Database) -> int:
    """Return a new run, with nothing left of the one before."""
    with database.begin() as tx:
        tx.execute(delete(drift))
        made = run.insert().values(kind="reconcile", state="observing", started_at=NOW, summary="{}")
        return tx.execute(made).inserted_primary_key[0]


def _compare(database: Database, policy: PolicySet, vault: Vault, run_id: int) -> None:
    with database.begin() as tx:
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


def _into(table: str) -> str:
    return f"{table} ({COLUMNS[table]})"


def _forget_peak() -> None:
    """Let the most memory of this process count from now on: loading the tables is not the diff."""
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")


def _peak() -> int:
    """Return the most memory that this process held, in MB."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM:")) // 1024


def _timed(step: Callable[[], Any]) -> float:
    started = time.perf_counter()
    step()
    return time.perf_counter() - started


if __name__ == "__main__":
    asked = argparse.ArgumentParser(prog="python -m tests.bench.diff")
    asked.add_argument("sizes", nargs="+", type=int)
    asked.add_argument("--sqlite", type=int, default=0, help="people to compare on SQLite as well")
    given = asked.parse_args()
    main(os.environ["CONSENT_DATABASE_URL"], given.sizes, given.sqlite)
