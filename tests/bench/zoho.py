"""Measure what reading a whole organisation and stopping what drifted costs: calls, credits, time, memory.

    python -m tests.bench.zoho [5000 50000 ...] [--database URL]

Each size has a simulator in a process of its own, and a client in another whose memory is measured. The
simulated clock is moved instead of waiting for the windows of Campaigns; what that skips is told apart.
A database that is given must be migrated and empty, and serves one size.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx

from service.db import Database, migrate
from service.reconciler.context import Context
from service.reconciler.run import reconcile
from service.settings import Settings
from service.zoho import estimate
from service.zoho.licence import EDITIONS
from service.zoho.mapping import Zoho, connect
from service.zoho.pace import Pace
from service.zoho.shared import SharedQuota
from service.zoho.simulator import names
from tests.running import start

SIZES = (5_000, 50_000)
LARGEST_REPAIRED = 200_000
"""In larger organisations nobody is stopped: one in twenty drifted, and Campaigns takes them one by one."""
REPAIRED = (("read and stop", True), ("read again", False))
READ = (("read", False), ("read again", False))
USERS = 10
PROFESSIONAL = next(one for one in EDITIONS if one.name == "professional").allowance(USERS)
COLUMNS = (
    ("contacts", "contacts"),
    ("run", "run"),
    ("stopped", "stopped"),
    ("CRM calls", "crm"),
    ("Campaigns calls", "campaigns"),
    ("credits", "credits"),
    ("estimated", "estimated"),
    ("charged", "charged"),
    ("% of Professional", "share"),
    ("seconds", "seconds"),
    ("skipped waits, min", "waited_min"),
    ("memory, MB", "memory_mb"),
    ("transactions of the budget", "blocks"),
)


@dataclass
class Moving:
    """The organisation's clock, moved where a client would wait."""

    client: httpx.Client
    ahead: timedelta = timedelta(0)

    def __post_init__(self) -> None:
        self.mutex = threading.Lock()

    def now(self) -> datetime:
        return datetime.now(UTC) + self.ahead

    def sleep(self, seconds: float) -> None:
        if seconds < 1:
            time.sleep(seconds)
            return
        before = self.ahead
        with self.mutex:
            if self.ahead == before:  # nobody else moved it meanwhile
                self.client.post("/_control/clock", json={"advance_s": seconds}).raise_for_status()
                self.ahead += timedelta(seconds=seconds)


def main(sizes: Sequence[int], database: str | None) -> None:
    print(" | ".join(title for title, _ in COLUMNS), flush=True)
    for contacts in sizes:
        with tempfile.TemporaryDirectory(prefix="zoho-bench-") as folder, simulator(contacts) as url:
            store = database or f"sqlite:///{Path(folder) / 'ledger.db'}"
            command = [sys.executable, "-m", "tests.bench.zoho", "--client", url, store, str(contacts)]
            done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
        for line in done.stdout.splitlines():
            row = json.loads(line)
            print(" | ".join(str(row[key]) for _, key in COLUMNS), flush=True)


@contextmanager
def simulator(contacts: int) -> Iterator[str]:
    command = [sys.executable, "-m", "service", "simulate", "--port", "0", "--contacts", str(contacts)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        yield json.loads(process.stdout.readline())["url"]
    finally:
        process.terminate()
        process.wait()


def client(url: str, store: str, contacts: int) -> None:
    migrate(store)
    settings = Settings(
        zoho_accounts_url=url,
        zoho_crm_url=url,
        zoho_campaigns_url=url,
        zoho_client_id=names.CLIENT_ID,
        zoho_client_secret=names.CLIENT_SECRET,
        zoho_refresh_token=names.REFRESH_TOKEN,
    )
    with closing(Database(store)) as db, httpx.Client(base_url=url, timeout=120) as control:
        clock = Moving(control)
        quota = SharedQuota(db, clock=clock.now)
        pace = Pace(clock=clock.now, sleep=clock.sleep, patience_s=7_200, spare=0.2, who="bench")
        with (
            start(db, now=clock.now) as intake,
            connect(settings, intake.policy, pace=pace, quota=quota) as zoho,
        ):
            context = Context(
                db=db,
                intake=intake,
                policy=intake.policy,
                crm=zoho.crm,
                campaigns=zoho.campaigns,
                now=clock.now,
            )
            quota.learn(zoho.transports["crm"])
            runs = READ if contacts > LARGEST_REPAIRED else REPAIRED
            for name, applying in runs:
                measure(name, context, zoho, clock, contacts=contacts, applying=applying)


def measure(name: str, context: Context, zoho: Zoho, clock: Moving, *, contacts: int, applying: bool) -> None:
    expected = estimate.of_next(context, zoho.quota, applying=applying)
    before, ahead, began = charged(clock), clock.ahead, time.monotonic()
    done = reconcile(context, applying=applying)
    seconds, after = time.monotonic() - began, charged(clock)
    if done.changes is not None and (done.changes.stopped or done.changes.failed):
        print(f"{done.changes}", file=sys.stderr)
    print(
        json.dumps(
            {
                "contacts": contacts,
                "run": name,
                "stopped": sum(done.applied.values()),
                "crm": done.calls.get("crm", 0),
                "campaigns": done.calls.get("campaigns", 0),
                "credits": done.credits,
                "estimated": "-" if expected is None else expected.credits,
                "charged": after - before,
                "share": f"{done.credits / PROFESSIONAL:.2%}",
                "seconds": round(seconds, 1),
                "waited_min": round((clock.ahead - ahead).total_seconds() / 60),
                "memory_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
                "blocks": blocks(context.db),
            }
        ),
        flush=True,
    )


def charged(clock: Moving) -> int:
    return clock.client.get("/_control/meter").json()["credits"]


def blocks(db: Database) -> int:
    with db.read() as tx:
        return tx.exec_driver_sql("SELECT count(*) FROM quota_block").scalar_one()


if __name__ == "__main__":
    if sys.argv[1:2] == ["--client"]:
        client(sys.argv[2], sys.argv[3], int(sys.argv[4]))
    else:
        parser = argparse.ArgumentParser(description=__doc__)
        parser.add_argument("sizes", nargs="*", type=int, default=SIZES)
        parser.add_argument("--database")
        chosen = parser.parse_args()
        main(chosen.sizes or SIZES, chosen.database)
