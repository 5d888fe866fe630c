"""Measure what reading a whole organisation and stopping what drifted costs: calls, credits, time, memory.

    python -m tests.bench.zoho [5000 50000 1000000] [--database URL]

Prints one table in Markdown, both products apart. Each size has a simulator in a process of its own, and a
client in another whose memory is measured. The simulated clock is moved instead of waiting for the windows
of Campaigns; these waits are told apart. A database that is given must be migrated and empty, and serves one
size.
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
from dataclasses import dataclass, field, replace
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
REPAIRED = (("first reading", False), ("read, and stop what drifted", True), ("read again", False))
READ = (("first reading", False), ("read again", False))
USERS = 10
PROFESSIONAL = next(one for one in EDITIONS if one.name == "professional").allowance(USERS)
COLUMNS = (
    ("contacts", "contacts"),
    ("run", "run"),
    ("stopped", "stopped"),
    ("CRM calls", "crm_calls"),
    ("CRM s", "crm_s"),
    ("credits estimated", "estimated"),
    ("booked", "booked"),
    ("charged", "charged"),
    ("of a Professional day", "share"),
    ("Campaigns calls estimated", "campaigns_estimated"),
    ("booked", "campaigns_calls"),
    ("Campaigns s", "campaigns_s"),
    ("its windows' waits", "waited"),
    ("run s", "run_s"),
    ("peak MB", "memory_mb"),
)
LEGEND = """
Seconds are of this machine against the simulator: until CRM was read, until Campaigns was read (both are
read side by side, on the same cores), and of the whole run with comparing, recording, writing and reading
back. The windows' waits are what Campaigns' limits (450 calls of each kind in five minutes) add to that in
reality. Credits are CRM's; Campaigns has none. A day is that of a Professional edition with ten users:
55,000 credits."""


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


@dataclass
class Stopwatch:
    """When each product was read to its end, as the run tells of its steps."""

    began: float = field(default_factory=time.monotonic)
    until: dict[str, float] = field(default_factory=dict)

    def __call__(self, step: str, _done: int, _of: int) -> None:
        if step == "read crm":
            self.until["crm"] = time.monotonic() - self.began
        elif step.startswith(("read permission", "read list", "read outcomes")):
            self.until["campaigns"] = time.monotonic() - self.began


def main(sizes: Sequence[int], database: str | None) -> None:
    print("| " + " | ".join(title for title, _ in COLUMNS) + " |")
    print("|" + "---|" * len(COLUMNS), flush=True)
    for contacts in sizes:
        with tempfile.TemporaryDirectory(prefix="zoho-bench-") as folder, simulator(contacts) as url:
            store = database or f"sqlite:///{Path(folder) / 'ledger.db'}"
            command = [sys.executable, "-m", "tests.bench.zoho", "--client", url, store, str(contacts)]
            done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
        for line in done.stdout.splitlines():
            row = json.loads(line)
            print("| " + " | ".join(str(row[key]) for _, key in COLUMNS) + " |", flush=True)
    print(LEGEND)


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
    before, ahead, watch = charged(clock), clock.ahead, Stopwatch()
    done = reconcile(replace(context, progress=watch), applying=applying)
    seconds, after = time.monotonic() - watch.began, charged(clock)
    if done.changes is not None and (done.changes.stopped or done.changes.failed):
        print(f"{done.changes}", file=sys.stderr)
    waited_min = round((clock.ahead - ahead).total_seconds() / 60)
    row = {
        "contacts": f"{contacts:,}",
        "run": name,
        "stopped": f"{sum(done.applied.values()):,}",
        "crm_calls": f"{done.calls.get('crm', 0):,}",
        "crm_s": f"{watch.until.get('crm', 0.0):.1f}",
        "estimated": "-" if expected is None else f"{expected.credits:,}",
        "booked": f"{done.credits:,}",
        "charged": f"{after - before:,}",
        "share": f"{done.credits / PROFESSIONAL:.2%}",
        "campaigns_estimated": "-" if expected is None else f"{expected.calls['campaigns']:,}",
        "campaigns_calls": f"{done.calls.get('campaigns', 0):,}",
        "campaigns_s": f"{watch.until.get('campaigns', 0.0):.1f}",
        "waited": f"{waited_min} min" if waited_min else "none",
        "run_s": f"{seconds:.1f}",
        "memory_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
    }
    print(json.dumps(row), flush=True)


def charged(clock: Moving) -> int:
    return clock.client.get("/_control/meter").json()["credits"]


if __name__ == "__main__":
    if sys.argv[1:2] == ["--client"]:
        client(sys.argv[2], sys.argv[3], int(sys.argv[4]))
    else:
        parser = argparse.ArgumentParser(description=__doc__)
        parser.add_argument("sizes", nargs="*", type=int, default=SIZES)
        parser.add_argument("--database")
        chosen = parser.parse_args()
        main(chosen.sizes or SIZES, chosen.database)
