"""How long a withdrawal takes to be at both products, at a steady rate, against the simulator over HTTP.

    python -m tests.bench.withdrawals --rate 50 --seconds 300 --contacts 20000 [--url postgresql+psycopg://...]
        [--outage 3600] [--workers 2] [--source form] [--single [--lifted]] [--no-watch]

Vendor, ledger, poster and worker share the machine. The vendor's call windows are in force, and many at once
go through the workflow of the mapping. `--single` stops each by calls of their own: then Campaigns' windows
allow a withdrawal or two a second (the last lines say so), unless `--lifted` lifts them on both sides.
`--outage` is how many seconds' withdrawals have piled up, from countries with deadlines of their own, while
both products answered 503 to everything; they do so until half a minute after the last one was handed in.
`--source` is the way on which people leave (`all`: a sixth of them on each); without it they go straight
to the ledger.
"""

import argparse
import json
import logging
import os
import random
import resource
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import msgspec
import structlog

from service import db as database
from service.consent import Category
from service.db import Database
from service.intake import Intake
from service.jobs import Worker
from service.policy import PolicySet, Workflow
from service.reconciler.context import Context
from service.reconciler.enforce import carry_out
from service.reconciler.heeding import Heed
from service.reconciler.port import Member
from service.reconciler.run import reconcile
from service.reconciler.seeking import Seeking
from service.reconciler.watch import Watch
from service.settings import Settings
from service.zoho.mapping import Zoho, connect
from service.zoho.simulator import names
from tests.bench.sources import SOURCES, Sources, leaving
from tests.bench.verdicts import delays, limits, order, wait
from tests.running import start, withdrawal

COUNTRIES = ("US", "DE", "CA", "AU", "GB")
"""Their rules allow different times."""
AT_ONCE = 500
"""Withdrawals in one batch of the ledger."""
TO_SEE_S = 30.0
"""How long the products stay down after the last was handed in, so that the workers meet it."""
POSTERS = 8
"""People who leave at the same moment."""
LIFTED = {"campaigns.window_factor": 100_000, "crm.credits_per_day": 100_000_000}


@dataclass(frozen=True, slots=True, kw_only=True)
class Bench:
    """What is measured: the parts of the service, the vendor, what was asked for."""

    context: Context
    zoho: Zoho
    vendor: str
    told: argparse.Namespace

    def worker(self, name: str, watch: Watch | None) -> Worker:
        """Return a worker that carries out, proves, heeds hints, and watches where there is a watch."""
        context, workflow = self.context, self.context.policy.zoho.campaigns.workflow
        others = None if watch is None else watch.shown
        worker = Worker(
            db=context.db,
            carry_out=lambda: carry_out(context, worker=name).total,
            nightly={},
            hour=0,
            now=now,
            name=name,
            prove=None
            if workflow is None and watch is None
            else Seeking(context=context, worker=name, others=others).look,
            look=None if watch is None else watch.look,
            heed=Heed(
                context=context, watch=Watch(context=context), worker=name, sought=watch is not None
            ).turn,
        )
        context.intake.ring_for_tasks(worker.tasks.ring)
        return worker


def main() -> None:
    """Run once and print the figures."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rate", type=float, default=50.0, help="withdrawals a second")
    parser.add_argument("--seconds", type=float, default=300.0, help="for so long")
    parser.add_argument("--contacts", type=int, default=20_000, help="people in the simulated organisation")
    parser.add_argument("--url", help="an empty PostgreSQL database; default: SQLite in a temporary folder")
    parser.add_argument("--outage", type=float, default=0.0, help="seconds for which both products were down")
    parser.add_argument("--workers", type=int, default=1, help="workers beside each other")
    parser.add_argument("--source", choices=(*SOURCES, "all"), default="ledger", help="how people leave")
    parser.add_argument("--single", action="store_true", help="without the workflow: everybody one by one")
    parser.add_argument("--no-watch", action="store_true", help="without the watch beside it")
    parser.add_argument("--lifted", action="store_true", help="without Campaigns' call windows")
    told = parser.parse_args()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
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
    wanted = int(told.rate * (told.outage or told.seconds))
    random.Random(1).shuffle(people)  # noqa: S311  # nobody's secret: who leaves is in no order
    assert len(people) >= wanted, f"only {len(people)} people are there; give more --contacts"
    before = dict(zoho.meter.calls), zoho.meter.credits
    bench = Bench(context=context, zoho=zoho, vendor=vendor, told=told)
    began, cpu_s = time.monotonic(), time.process_time()
    if told.outage:
        after_an_outage(bench, people[:wanted])
    else:
        steadily(bench, people[:wanted], stack)
    print(f"{wanted} withdrawals, all over after {time.monotonic() - began:.1f} s", flush=True)
    cpu_ms = 1000 * (time.process_time() - cpu_s) / wanted
    load = ", ".join(f"{one:.1f}" for one in os.getloadavg())
    print(
        f"CPU {cpu_ms:.1f} ms a withdrawal here (poster, ledger, worker); {os.cpu_count()} cores, load {load}"
    )
    calls = {name: n - before[0].get(name, 0) for name, n in zoho.meter.calls.items()}
    print(f"calls {calls}, credits {zoho.meter.credits - before[1]}")


def with_workflow(policy: PolicySet) -> PolicySet:
    """Return the rules with the workflow that the simulated organisation has."""
    workflow = Workflow(key=names.STOP_WORKFLOW, trigger_key=names.STOP_TRIGGER)
    campaigns = msgspec.structs.replace(policy.zoho.campaigns, workflow=workflow)
    return msgspec.structs.replace(policy, zoho=msgspec.structs.replace(policy.zoho, campaigns=campaigns))


@contextmanager
def down(vendor: str) -> Iterator[None]:
    """Let both products answer 503 meanwhile."""

    def chaos(rate: float) -> None:
        profile = {"rate": rate, "ways": ["html_503"]}
        httpx.post(f"{vendor}/_control/chaos", json=profile).raise_for_status()

    chaos(1.0)
    try:
        yield
    finally:
        chaos(0.0)


def now() -> datetime:
    """Return the time."""
    return datetime.now(UTC)


def after_an_outage(bench: Bench, people: Sequence[str]) -> None:
    """Hand in what piled up while both products were down, let them come back, print how it drains."""
    told, intake, made = bench.told, bench.context.intake, bench.context.db
    workers = [bench.worker(f"bench-{number}", None) for number in range(told.workers)]
    with running(workers):
        with down(bench.vendor):
            hand_in(intake, people, now() - timedelta(seconds=told.outage), told.outage / len(people))
            print(f"{len(people)} wait, of {told.outage:.0f} s in which both products were down", flush=True)
            time.sleep(TO_SEE_S)
        back = time.monotonic()
        wait(made, len(people), patience_s=1_500)
    took_s = time.monotonic() - back
    print(f"the backlog was gone and proved {took_s:.1f} s after the products came back", flush=True)
    order(made, workers=told.workers)
    limits(bench.vendor)


def hand_in(intake: Intake, people: Sequence[str], began: datetime, apart_s: float) -> None:
    """Record withdrawals as received one after the other since then."""
    for first in range(0, len(people), AT_ONCE):
        intake.record(
            [
                withdrawal(
                    address,
                    received_at=began + timedelta(seconds=place * apart_s),
                    category=Category.WITHDRAWN,
                    country=COUNTRIES[place % len(COUNTRIES)],
                )
                for place, address in enumerate(people[first : first + AT_ONCE], first)
            ]
        )


def steadily(bench: Bench, people: Sequence[str], stack: ExitStack) -> None:
    """Let people leave at the rate, on the ways asked for, and print how long each way takes."""
    told, intake, made = bench.told, bench.context.intake, bench.context.db
    ways = SOURCES[1:] if told.source == "all" else (told.source,)
    by_way = {way: list(people[number :: len(ways)]) for number, way in enumerate(ways)}
    parts = Sources(
        intake=intake,
        zoho=bench.zoho,
        vendor=bench.vendor,
        folder=Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="lines-"))),
        http=stack.enter_context(httpx.Client(timeout=30)),
    )
    leave = {way: stack.enter_context(leaving(way, parts, by_way[way])) for way in ways}
    wait(made, 0, patience_s=600)
    watch = None if told.no_watch else Watch(context=bench.context)
    workers = [bench.worker(f"bench-{number}", None if number else watch) for number in range(told.workers)]
    left_at: dict[bytes, datetime] = {}
    way_of = {intake.vault.address_index(a): way for way, those in by_way.items() for a in those}

    def go(address: str) -> None:
        index = intake.vault.address_index(address)
        left_at[index] = now()
        leave[way_of[index]](address)

    with running(workers):
        at_a_rate(go, people, told.rate)
        wait(made, len(people), patience_s=600)
    delays(made, left_at, way_of.__getitem__)
    limits(bench.vendor)


def at_a_rate(go: Callable[[str], None], people: Sequence[str], rate: float) -> None:
    """Call `go` for each at the rate, whatever becomes of the one before."""
    began = time.monotonic()
    with ThreadPoolExecutor(max_workers=POSTERS) as threads:
        sent = []
        for place, address in enumerate(people):
            time.sleep(max(0.0, began + place / rate - time.monotonic()))
            sent.append(threads.submit(go, address))
        for one in sent:
            one.result()


@contextmanager
def running(workers: Sequence[Worker]) -> Iterator[None]:
    """Let workers work meanwhile."""
    stop = threading.Event()
    threads = [threading.Thread(target=worker.run, args=(stop,)) for worker in workers]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        stop.set()
        for thread in threads:
            thread.join()


if __name__ == "__main__":
    main()
