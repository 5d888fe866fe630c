"""Importing a file, as `consent-ledger import` does, on one process and on several."""

import json
import os
import secrets
import subprocess
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from statistics import median
from typing import Final

from service.cli.bench.clock import spent
from service.cli.bench.targets import prepared

LINES: Final = 10_000
FEW: Final = 10
Make = Callable[[str], AbstractContextManager[str]]


def measure_imports(folder: Path, stores: dict[str, Make], *, rounds: int) -> str:
    """Return what importing gives on one process and on one per core, what starting them takes left out."""
    files = {count: folder / f"{count}.ndjson" for count in (FEW, LINES)}
    for count, file in files.items():
        file.write_text("".join(map(_line, range(count))), encoding="utf-8")
    lines = [f"import of {LINES:<10,} {'events/s':>8} {'CPU us':>8} {'per s and core':>15}"]
    counts = sorted({1, os.cpu_count() or 1})
    found: dict[str, list[tuple[float, float]]] = {}
    for turn in range(rounds):
        for store, make in stores.items():
            for processes in counts:
                few, many = (
                    _import(folder, make, f"import{turn}x{processes}x{count}", file, processes)
                    for count, file in files.items()
                )
                rest = many[0] - few[0], many[1] - few[1]
                found.setdefault(f"{store} x{processes}", []).append(rest)
    for name, taken in found.items():
        wall, cpu = (median(one[part] for one in taken) / (LINES - FEW) for part in (0, 1))
        lines.append(f"{name:20} {1 / wall:>8,.0f} {cpu * 1e6:>8.0f} {1 / cpu:>15,.0f}")
    return "\n".join(lines) + "\n"


def _import(folder: Path, make: Make, name: str, file: Path, processes: int) -> tuple[float, float]:
    """Import a file into a new database; return seconds by the clock and of processors."""
    command = [sys.executable, "-m", "service", "import", str(file), "--yes", "--processes", str(processes)]
    with make(name) as url:
        told = {**os.environ, **prepared(folder / secrets.token_hex(8), url)}
        with spent() as took:
            subprocess.run(command, env=told, check=True, capture_output=True)  # noqa: S603  # our own program
    return took.wall_s, took.cpu_s


def _line(number: int) -> str:
    told = {
        "kind": "grant",
        "email": f"imported-{number}@example.com",
        "purpose": "marketing",
        "occurred_at": "2024-05-01T09:00:00+02:00",
        "import_batch": "bench",
    }
    return json.dumps(told) + "\n"
