"""How far the reading of both products reaches: calls, credits, seconds and memory, by size of organisation.

The organisation is planted in a file and served by a process of its own; each reading runs in another one,
which tells its own peak of memory. Run as a program, this module is such a reading.
"""

import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import click
from rich.table import Table

from service import app, settings
from service.cli import show
from service.cli.bench.targets import prepared, simulated_zoho
from service.reconciler import mirror, runs
from service.reconciler.context import Context
from service.reconciler.observe import observe_campaigns, observe_crm
from service.zoho import listings
from service.zoho.quota import CAMPAIGNS_DEFAULT
from service.zoho.simulator import names
from service.zoho.simulator.app import planted

SIZES: Final = (5_000, 50_000, 1_000_000)
READINGS: Final = {
    "crm": "CRM, everything",
    "again": "CRM, what changed since",
    "campaigns": "Campaigns, everything",
}


def measure_reach(folder: Path, sizes: Sequence[int], step: show.Progress) -> Table:
    """Return the table of what reading organisations of these sizes takes."""
    table = Table("contacts", "read", "calls", "credits", "seconds", "peak MB of the client")
    for size in sizes:
        file = folder / f"organisation-{size}.db"
        step(f"planting {size} contacts", 0, 0)
        planted(size, 1, file=str(file)).db.close()
        environment = prepared(folder / f"ledger-{size}", f"sqlite:///{folder / f'ledger-{size}.db'}")
        with simulated_zoho(file) as zoho:
            environment |= _organisation(zoho.port)
            for kind, name in READINGS.items():
                step(f"reading {size} contacts: {name}", 0, 0)
                table.add_row(f"{size:,}", name, *_cells(kind, size, environment))
        file.unlink()
    return table


def _cells(kind: str, size: int, environment: dict[str, str]) -> tuple[str, str, str, str]:
    if kind == "campaigns" and listings.calls(size) > CAMPAIGNS_DEFAULT[0].calls:
        calls = 2 * listings.calls(size)  # the list, and the segments of its people
        minutes = listings.calls(size) * CAMPAIGNS_DEFAULT[0].seconds / CAMPAIGNS_DEFAULT[0].calls / 60
        return f"about {calls:,}", "0", f"{minutes:.0f} minutes, by Campaigns' windows", "not measured"
    command = [sys.executable, "-m", "service.cli.bench.reach", kind]
    done = subprocess.run(command, env=os.environ | environment, check=True, capture_output=True)  # noqa: S603  # our own
    told: dict[str, Any] = json.loads(done.stdout)
    return f"{told['calls']:,}", f"{told['credits']:,}", f"{told['seconds']:.1f}", f"{told['peak_mb']:.0f}"


def _organisation(port: int) -> dict[str, str]:
    url = f"http://127.0.0.1:{port}"
    return {
        "CONSENT_ZOHO_ACCOUNTS_URL": url,
        "CONSENT_ZOHO_CRM_URL": url,
        "CONSENT_ZOHO_CAMPAIGNS_URL": url,
        "CONSENT_ZOHO_CLIENT_ID": names.CLIENT_ID,
        "CONSENT_ZOHO_CLIENT_SECRET": names.CLIENT_SECRET,
        "CONSENT_ZOHO_REFRESH_TOKEN": names.REFRESH_TOKEN,
    }


def _reading(kind: str) -> dict[str, float]:
    """Read one product as the nightly run does, and return what that took."""
    with app.running(settings.load()) as parts, parts.zoho() as zoho:
        started = time.monotonic()
        _observe(parts.context(zoho), kind)
        return {
            "calls": zoho.meter.total,
            "credits": zoho.meter.credits,
            "seconds": time.monotonic() - started,
            "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        }


def _observe(context: Context, kind: str) -> None:
    at = context.now()
    with context.db.begin() as tx:
        run_id = runs.begin(tx, at)
    if kind == "campaigns":
        observe_campaigns(context, run_id, at, None)
        return
    observe_crm(context, run_id)
    with context.db.begin() as tx:
        mirror.drop_unseen(tx, run_id)
        runs.advance(tx, run_id, "planned")


if __name__ == "__main__":
    click.echo(json.dumps(_reading(sys.argv[1])))
