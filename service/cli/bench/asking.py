"""A long log: how fast it grows, how large it is, what a history, an export and a verification cost."""

import os
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Final

from sqlalchemy import text

from service import app, settings
from service.cli.bench.load import BODY
from service.cli.cores import cores
from service.cli.export import export_log
from service.cli.reading import FolderSource
from service.cli.show import Progress
from service.consent import Category
from service.db import Database
from service.intake import Claim
from service.ledger.replay.judge import Beliefs, judge
from service.reports.history import history
from service.settings import Settings

Say = Callable[[str], None]
ARRAY: Final = 1000
EVENTS_OF_ONE: Final = 20
PERSON: Final = "the-one@example.org"
ASKED: Final = 50  # histories in one round
_MILLION: Final = 1_000_000


def measure_log(folder: Path, entries: int, rounds: int, progress: Progress, say: Say) -> None:
    """Build a log of this many entries on SQLite, and tell what it took and what questions cost."""
    chosen = settings.load(database_url=f"sqlite:///{folder / 'long.db'}", state_dir=folder / "long")
    with app.running(chosen) as parts:
        _arrays(parts, rounds, say)
        _fill(parts, entries, progress)
        _histories(parts, rounds, say)
    _sizes(chosen, say)
    with app.running(chosen) as parts, _timed() as took:
        done = export_log(parts, folder / "export", lambda _count, _total: None)
    say(f"export: {took() / done.size * _MILLION:,.0f} s per million entries")
    _verify(parts.keys.log.vkey, folder / "export", done.size, say)


def _arrays(parts: app.Parts, rounds: int, say: Say) -> None:
    """Tell how fast arrays are recorded: of new people, and of people who are known."""
    fresh = [[_claim(f"array-{turn}-{n}@example.com", turn) for n in range(ARRAY)] for turn in range(rounds)]
    known = [
        [replace(claim, key=f"again-{turn}-{claim.key}") for claim in fresh[0]] for turn in range(rounds)
    ]
    for name, batches in (("new people", fresh), ("known people", known)):
        rates, costs = [], []
        for claims in batches:
            cpu = time.process_time()
            with _timed() as took:
                parts.intake.record(claims)
            rates.append(len(claims) / took())
            costs.append((time.process_time() - cpu) / len(claims) * 1e6)
        say(f"arrays of {ARRAY}, {name}: {median(rates):,.0f} events/s, {median(costs):.0f} us of CPU each")


def _fill(parts: app.Parts, entries: int, progress: Progress) -> None:
    """Record people until the log is long enough, and one person's events evenly among them."""
    turn, size = 0, 0
    told = 0
    while size < entries:
        claims = [_claim(f"fill-{turn}-{n}@example.com", turn) for n in range(ARRAY)]
        if told * entries < size * EVENTS_OF_ONE:
            claims.append(_claim(PERSON, told))
            told += 1
        parts.intake.record(claims)
        turn, size = turn + 1, _size(parts)
        progress("growing the log", size, entries)
    missing = [_claim(PERSON, number) for number in range(told, EVENTS_OF_ONE)]
    parts.intake.record(missing)


def _histories(parts: app.Parts, rounds: int, say: Say) -> None:
    """Tell what the history of one person costs, every entry with its proof checked again."""
    medians, length = [], 0
    for _ in range(rounds):
        times = []
        for _ in range(ASKED):
            with _timed() as took, parts.db.read() as tx:
                found = history(parts.intake, tx, PERSON, at=app.now(), as_of=None)
            times.append(took() * 1000)
            length = len(found.records)
        medians.append(median(times))
    size = _size(parts)
    say(f"history of {length} entries with proofs in a log of {size:,}: {median(medians):.1f} ms")


def _sizes(chosen: Settings, say: Say) -> None:
    """Tell how large the database is, per event: what was signed and sealed, and what stands beside it."""
    with closing(Database(chosen.database_url)) as db, db.read() as tx:
        pages = (
            tx.exec_driver_sql("PRAGMA page_count").scalar_one()
            * tx.exec_driver_sql("PRAGMA page_size").scalar_one()
        )
        events = tx.execute(text("SELECT count(*) FROM payload")).scalar_one()
        signed = tx.execute(text("SELECT sum(length(entry)) FROM leaf")).scalar_one()
        sealed = tx.execute(text("SELECT sum(length(sealed)) FROM payload")).scalar_one()
    beside = (pages - signed - sealed) / events
    say(
        f"bytes of SQLite per event of a new person (two entries): {pages / events:,.0f} = "
        f"{signed / events:,.0f} signed + {sealed / events:,.0f} sealed + {beside:,.0f} beside"
    )


def _verify(vkey: str, folder: Path, size: int, say: Say) -> None:
    """Tell how fast the export is verified, on one core and on all."""
    for processes in sorted({1, os.cpu_count() or 1}):
        with cores(processes) as submit, _timed() as took:
            verdict = judge(FolderSource(folder), Beliefs(log_vkey=vkey), submit, lambda _done, _total: None)
        say(
            f"verify on {processes} core(s): {size / took():,.0f} entries/s, "
            f"{took() / size * _MILLION:,.0f} s per million ({verdict.state.value})"
        )


def _claim(address: str, number: int) -> Claim:
    return Claim(
        category=Category.GRANTED,
        source="bench",
        key=f"{address} {number}",
        received_at=app.now(),
        address=address,
        purpose="marketing",
        evidence=BODY["evidence"],
    )


def _size(parts: app.Parts) -> int:
    with parts.db.read() as tx:
        return parts.intake.store.size(tx)


@contextmanager
def _timed() -> Iterator[Callable[[], float]]:
    """Yield what tells the seconds that the block took, once it has ended."""
    began, ended = time.perf_counter(), list[float]()
    yield lambda: ended[0] - began
    ended.append(time.perf_counter())
