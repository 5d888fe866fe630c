"""How long a withdrawal takes to be at both products, at a steady rate, against the simulator over HTTP.

    python -m tests.bench.withdrawals --rate 50 --seconds 300 --contacts 20000 [--url postgresql+psycopg://...]
        [--outage 3600] [--single [--lifted]] [--no-watch]

Vendor, ledger, poster and worker share the machine. The vendor's call windows are in force, and many at once
go through the workflow of the mapping. `--single` stops each by calls of their own: then Campaigns' windows
allow a withdrawal or two a second (the last lines say so), unless `--lifted` lifts them on both sides.
`--outage` is how many seconds both products answer 503 to everything, from the first withdrawal on.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path

import httpx
import msgspec
from sqlalchemy import func, select

from service import db as database
from service.consent import Category
from service.db import Database, task
from service.jobs import Worker
from service.policy import PolicySet, Workflow
from service.reconciler.context import Context
from service.reconciler.enforce import carry_out
from service.reconciler.port import Member
from service.reconciler.run import reconcile
from service.reconciler.seeking import Seeking
from service.reconciler.watch import Watch
from service.settings import Settings
from service.zoho.mapping import connect
from service.zoho.quota import CAMPAIGNS_DEFAULT
from service.zoho.simulator import names
from tests.running import start, withdrawal

LIFTED = {"campaigns.window_factor": 100_000, "crm.credits_per_day": 100_000_000}


def main() -> None:
    """Run once and print the figures."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rate", type=float, default=50.0, help="withdrawals a second")
    parser.add_argument("--seconds", type=float, default=300.0, help="for so long")
    parser.add_argument("--contacts", type=int, default=20_000, help="people in the simulated organisation")
    parser.add_argument("--url", help="an empty PostgreSQL database; default: SQLite in a temporary folder")
    parser.add_argument("--outage", type=float, default=0.0, help="seconds for which both products are down")
    parser.add_argument("--single", action="store_true", help="without the workflow: everybody one by one")
    parser.add_argument("--no-watch", action="store_true", help="without the watch beside it")
    parser.add_argument("--lifted", action="store_true", help="without Campaigns' call windows")
    told = parser.parse_args()
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="withdrawals-"))
        url = told.url or f"sqlite:///{Path(folder) / 'ledger.db'}"
        database.migrate(url)
        with simulator(told.contacts) as vendor:
            if told.lifted:
                httpx.post(f"{vendor}/_control/switches", json=LIFTED).raise_for_status()
            measure(url, vendor, told)
    vendors_s = resource.getrusage(resource.RUSAGE_CHILDREN)
    print(
        f"the simulated vendor, filling and all, took {vendors_s.ru_utime + vendors_s.ru_stime:.1f} s of CPU"
    )


@contextmanager
def simulator(contacts: int) -> Iterator[str]:
    """Serve the vendor from a process of its own."""
    command = [sys.executable, "-m", "service", "simulate", "--port", "0", "--contacts", str(contacts)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:  # our own program
        assert process.stdout is not None
        try:
            yield json.loads(process.stdout.readline())["url"]
        finally:
            process.terminate()


def measure(url: str, vendor: str, told: argparse.Namespace) -> None:
    """Fill the mirrors, post withdrawals at the rate, wait until all are proved, print."""
    with ExitStack() as stack:
        _measure(url, vendor, told, stack)


def _measure(url: str, vendor: str, told: argparse.Namespace, stack: ExitStack) -> None:
    settings = Settings(
        zoho_accounts_url=vendor,
        zoho_crm_url=vendor,
        zoho_campaigns_url=vendor,
        zoho_client_id="1000.SIMULATOR",
        zoho_client_secret="simulator-secret",
        zoho_refresh_token="1000.simulator.refresh",
    )
    made = Database(url)
    stack.callback(made.close)
    intake = stack.enter_context(start(made))
    policy = intake.policy if told.single else with_workflow(intake.policy)
    lifted = {"campaigns_window": ()} if told.lifted else {}
    zoho = stack.enter_context(connect(settings, policy, **lifted))
    context = Context(db=made, intake=intake, policy=policy, crm=zoho.crm, campaigns=zoho.campaigns, now=now)
    began = time.monotonic()
    reconcile(context, applying=not told.no_watch)  # the watch begins where a run recorded the history
    print(f"mirrors of {told.contacts} filled in {time.monotonic() - began:.1f} s", flush=True)
    lists = intake.policy.zoho.campaigns.lists
    people = [m.address for m in zoho.campaigns.members(lists[0].name, Member.ACTIVE)]
    wanted = int(told.rate * told.seconds)
    assert len(people) >= wanted, f"only {len(people)} people are there; give more --contacts"
    before = dict(zoho.meter.calls), zoho.meter.credits
    watch = None if told.no_watch else Watch(context=context)
    with working(context, watch), outage(vendor, told.outage) as ends:
        began, cpu_s = time.monotonic(), time.process_time()
        post(intake, people[:wanted], told.rate)
        posted_s = time.monotonic() - began
        ends.wait()
        back_s = time.monotonic() - began
        wait(made, patience_s=600)
        total_s = time.monotonic() - began
    report(made, wanted, posted_s, total_s)
    if told.outage:
        drained(made, back_s, total_s)
    cpu_ms = 1000 * (time.process_time() - cpu_s) / wanted
    load = ", ".join(f"{one:.1f}" for one in os.getloadavg())
    print(
        f"CPU {cpu_ms:.1f} ms a withdrawal here (poster, ledger, worker); {os.cpu_count()} cores, load {load}"
    )
    calls = {name: n - before[0].get(name, 0) for name, n in zoho.meter.calls.items()}
    print(f"calls {calls}, credits {zoho.meter.credits - before[1]}")
    limits(len(lists))


def with_workflow(policy: PolicySet) -> PolicySet:
    """Return the rules with the workflow that the simulated organisation has."""
    workflow = Workflow(key=names.STOP_WORKFLOW, trigger_key=names.STOP_TRIGGER)
    campaigns = msgspec.structs.replace(policy.zoho.campaigns, workflow=workflow)
    return msgspec.structs.replace(policy, zoho=msgspec.structs.replace(policy.zoho, campaigns=campaigns))


@contextmanager
def outage(vendor: str, seconds: float) -> Iterator[threading.Event]:
    """Let both products answer 503 for so long, and yield what is set when they are back."""
    ended = threading.Event()
    if not seconds:
        ended.set()
        yield ended
        return

    def chaos(rate: float) -> None:
        profile = {"rate": rate, "ways": ["html_503"]}
        httpx.post(f"{vendor}/_control/chaos", json=profile).raise_for_status()

    def end() -> None:
        chaos(0.0)
        ended.set()

    chaos(1.0)
    timer = threading.Timer(seconds, end)
    timer.start()
    try:
        yield ended
    finally:
        timer.cancel()


def now() -> datetime:
    """Return the time."""
    return datetime.now(UTC)


@contextmanager
def working(context: Context, watch: Watch | None) -> Iterator[None]:
    """Carry out what comes, as the service does."""
    stop, workflow = threading.Event(), context.policy.zoho.campaigns.workflow
    others = (lambda _: None) if watch is None else watch.shown
    worker = Worker(
        db=context.db,
        carry_out=lambda: carry_out(context, worker="bench").total,
        nightly={},
        hour=0,
        now=now,
        name="bench",
        prove=None if workflow is None else Seeking(context=context, worker="bench", others=others).look,
        look=None if watch is None else watch.look,
    )
    context.intake.ring_for_tasks(worker.tasks.ring)
    thread = threading.Thread(target=worker.run, args=(stop,))
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def post(intake, people: list[str], rate: float) -> None:
    """Hand withdrawals in at the rate, whatever becomes of them."""
    began, told = time.monotonic(), []
    for place, address in enumerate(people):
        time.sleep(max(0.0, began + place / rate - time.monotonic()))
        told.append(intake.submit(withdrawal(address, received_at=now(), category=Category.WITHDRAWN)))
    for future in told:
        future.result(30)


def wait(made: Database, *, patience_s: float) -> None:
    """Return when nothing is open any more, or after a while in which nothing ends."""
    deadline, before = time.monotonic() + patience_s, -1
    while time.monotonic() < deadline:
        with made.read() as tx:
            left = tx.scalar(select(func.count()).select_from(task).where(task.c.state == "open"))
        if not left:
            return
        if left != before:
            print(f"  {left} wait", flush=True)
        before = left
        time.sleep(1)


def report(made: Database, wanted: int, posted_s: float, total_s: float) -> None:
    """Print how long it took from the receipt to the stop in both products, and to its proof."""
    with made.read() as tx:
        rows = tx.execute(
            select(task.c.received_at, task.c.stopped_at, task.c.proved_at).where(task.c.state == "done")
        ).all()
    print(
        f"{wanted} withdrawals in {posted_s:.1f} s, all but {wanted - len(rows)} done after {total_s:.1f} s"
    )
    for name in ("stopped_at", "proved_at"):
        took = sorted((getattr(row, name) - row.received_at).total_seconds() for row in rows)
        if took:
            shown = "  ".join(
                f"p{q} {took[min(len(took) - 1, len(took) * q // 100)]:.2f}" for q in (50, 95, 99)
            )
            print(f"{name:10}  {shown}  slowest {took[-1]:.2f} s")


def drained(made: Database, back_s: float, total_s: float) -> None:
    """Print how long the backlog took once the products were back, and how well it went by deadline."""
    with made.read() as tx:
        rows = tx.execute(
            select(task.c.due_at).where(task.c.state == "done").order_by(task.c.campaigns_at, task.c.due_at)
        ).all()
    late = sum(1 for before, after in pairwise(rows) if after.due_at < before.due_at)
    print(
        f"the products were back after {back_s:.0f} s, the backlog was gone {total_s - back_s:.1f} s later; "
        f"{late} of {len(rows)} came behind a later deadline"
    )


def limits(lists: int) -> None:
    """Print what the vendor's own windows leave."""
    window = CAMPAIGNS_DEFAULT[0]
    print(
        f"Campaigns' window of {window.calls} calls in {window.seconds} s per endpoint allows "
        f"{window.calls / window.seconds:.2f} withdrawals a second where they are read back from the "
        f"lists, half of it where each is asked about ({lists} list to leave)"
    )


if __name__ == "__main__":
    main()
