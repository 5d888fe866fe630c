"""A long log: how fast it grows, how large it is, what a history, an export and a verification cost."""

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Final

from sqlalchemy import text

from service import app, settings
from service.cli.bench.clock import Spent, spent
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

Say = Callable[[str], None]
ARRAY: Final = 1000
EVENTS_OF_ONE: Final = 20
PERSON: Final = "the-one@example.org"
ASKED: Final = 50  # histories in one round
_MILLION: Final = 1_000_000


def measure_log(folder: Path, entries: int, rounds: int, progress: Progress, say: Say) -> None:
    """Build a log of this many entries on SQLite, and tell what it took and what questions cost."""
    chosen = settings.load(
        database_url=f"sqlite:///{folder / 'long.db'}",
        state_dir=folder / "long",
        fence_file=folder / "long" / "fence",
    )
    with app.running(chosen) as parts:
        _arrays(parts, rounds, say)
        _fill(parts, entries, progress)
        _histories(parts, rounds, say)
        _sizes(parts, say)
    with app.running(chosen) as parts, spent() as took:
        done = export_log(parts, folder / "export", lambda _count, _total: None)
    say(f"export: {_per_million(took, done.size)}")
    _verify(parts.keys.log.vkey, folder / "export", done.size, rounds, say)


def _arrays(parts: app.Parts, rounds: int, say: Say) -> None:
    """Tell how fast arrays are recorded: of new people, and of people who are known."""
    fresh = [[_claim(f"array-{turn}-{n}@example.com", turn) for n in range(ARRAY)] for turn in range(rounds)]
    known = [[replace(claim, key=f"again {claim.key}") for claim in claims] for claims in fresh]
    for name, batches in (("new people", fresh), ("known people", known)):
        taken = []
        for claims in batches:
            with spent() as took:
                parts.intake.record(claims)
            taken.append(took)
        rate, core = (
            ARRAY / median(times) for times in ([t.wall_s for t in taken], [t.cpu_s for t in taken])
        )
        say(
            f"arrays of {ARRAY}, {name}: {rate:,.0f} events/s; "
            f"{1e6 / core:.0f} us of CPU each, {core:,.0f}/s and core"
        )


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
    walls, cpus, length = [], [], 0
    for _ in range(rounds):
        times = []
        for _ in range(ASKED):
            with spent() as took, parts.db.read() as tx:
                found = history(parts.intake, tx, PERSON, at=app.now(), as_of=None)
            times.append(took)
            length = len(found.records)
        walls.append(median(took.wall_s for took in times) * 1000)
        cpus.append(sum(took.cpu_s for took in times) / ASKED * 1000)
    size = _size(parts)
    say(
        f"history of {length} entries with proofs in a log of {size:,}: "
        f"{median(walls):.1f} ms, {median(cpus):.1f} ms of CPU"
    )


def _sizes(parts: app.Parts, say: Say) -> None:
    """Tell how large the database is per event: what was signed and sealed, and what stands beside it."""
    before = _measured(parts.db)
    _say_size("a new person (two entries)", before, say)
    for turn in range(5):
        parts.intake.record([_claim(f"array-0-{n}@example.com", -turn - 1) for n in range(ARRAY)])
    grown = (after - earlier for after, earlier in zip(_measured(parts.db), before, strict=True))
    _say_size("a known person (one entry)", tuple(grown), say)


def _say_size(whose: str, sizes: tuple[int, ...], say: Say) -> None:
    total, events, signed, sealed = sizes
    say(
        f"bytes of SQLite per event of {whose}: {total / events:,.0f} = {signed / events:,.0f} signed "
        f"+ {sealed / events:,.0f} sealed + {(total - signed - sealed) / events:,.0f} beside"
    )


def _measured(db: Database) -> tuple[int, ...]:
    """Return bytes in the file, events, bytes that were signed, bytes that were sealed."""
    with db.read() as tx:
        pages, bytes_each = (
            tx.exec_driver_sql(f"PRAGMA {name}").scalar_one() for name in ("page_count", "page_size")
        )
        asked = (
            "SELECT count(*) FROM payload",
            "SELECT sum(length(entry)) FROM leaf",
            "SELECT sum(length(sealed)) FROM payload",
        )
        return pages * bytes_each, *(tx.execute(text(one)).scalar_one() for one in asked)


def _verify(vkey: str, folder: Path, size: int, rounds: int, say: Say) -> None:
    """Tell how fast the export is verified, on one core and on all, in turn."""
    taken: dict[int, list[Spent]] = {processes: [] for processes in sorted({1, os.cpu_count() or 1})}
    for _ in range(rounds):
        for processes, found in taken.items():
            with spent() as took, cores(processes) as submit:
                verdict = judge(
                    FolderSource(folder), Beliefs(log_vkey=vkey), submit, lambda _done, _total: None
                )
            found.append(took)
            assert verdict.state.value == "good", "the log was written a moment ago"
    for processes, found in taken.items():
        took = Spent(median(one.wall_s for one in found), median(one.cpu_s for one in found))
        say(
            f"verify on {processes} core(s): {size / took.wall_s:,.0f} entries/s, "
            f"{size / took.cpu_s:,.0f} entries/s and core; {_per_million(took, size)}"
        )


def _per_million(took: Spent, size: int) -> str:
    part = _MILLION / size
    return f"{took.wall_s * part:,.0f} s, {took.cpu_s * part:,.0f} s of CPU per million entries"


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
