"""`consent-ledger bench`: what this machine does, as ratios of figures taken side by side."""

import os
import tempfile
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack, nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

import click

from service.cli import show
from service.cli.bench.asking import ARRAY, measure_log
from service.cli.bench.posting import BARE, NAIVE, measure_arrays, measure_posts
from service.cli.bench.reach import SIZES, measure_reach
from service.cli.bench.taking_over import measure_imports
from service.cli.bench.targets import Target, bare_handler, naive_design, our_service, own_database

CONNECTIONS: Final = (1, 16, 64, 256)


@click.command(short_help="Measure this machine: posts, imports, histories, exports, verification.")
@click.option(
    "--postgresql",
    metavar="URL",
    help="Measure PostgreSQL too, in databases made beside this one and dropped again.",
)
@click.option("--entries", default=1_000_000, show_default=True, help="Length of the log that is asked.")
@click.option("--rounds", default=5, show_default=True, help="How often each is measured; medians are shown.")
@click.option("--seconds", default=3.0, show_default=True, help="Length of one measurement of posts.")
@click.option("--connections", default=CONNECTIONS, multiple=True, show_default=True, help="Posts at once.")
@click.option(
    "--only", type=click.Choice(["posts", "imports", "log", "zoho"]), help="Measure one part alone."
)
@click.option("--contacts", default=SIZES, multiple=True, show_default=True, help="Organisations to read.")
def bench(
    *,
    postgresql: str | None,
    entries: int,
    rounds: int,
    seconds: float,
    connections: tuple[int, ...],
    only: str | None,
    contacts: tuple[int, ...],
) -> None:
    """Measure the service beside a bare handler and a naive design, a long log, and simulated organisations.

    Server, load and database share the machine, so rates say less than ratios: those were taken in turn.
    """
    out = show.console()
    plan = Plan(connections=connections, rounds=rounds, seconds=seconds)
    with tempfile.TemporaryDirectory(prefix="consent-bench-") as name, show.steps(out) as progress:
        folder = Path(name)
        if only in (None, "posts"):
            _posts(folder, postgresql, plan, progress)
        if only in (None, "imports"):
            _imports(folder, postgresql, plan, progress)
        if only in (None, "log"):
            measure_log(folder, entries, rounds, progress, click.echo)
        if only in (None, "zoho"):
            out.print(measure_reach(folder, contacts, progress))


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Over how many connections, how often and how long posts are measured."""

    connections: tuple[int, ...]
    rounds: int
    seconds: float


def _posts(folder: Path, postgresql: str | None, plan: Plan, step: show.Progress) -> None:
    with ExitStack() as stack:
        ours: dict[str, Target] = {}
        naive: dict[str, Target] = {}
        for store, make in _stores(folder, postgresql).items():
            for processes in sorted({1, os.cpu_count() or 1}):
                name = f"{store} x{processes}"
                url = stack.enter_context(make(f"ours{processes}"))
                ours[name] = stack.enter_context(our_service(folder / name, url, processes))
            url = stack.enter_context(make("naive"))
            naive[NAIVE + store] = stack.enter_context(naive_design(folder / f"naive {store}", url))
        targets = {BARE: stack.enter_context(bare_handler()), **ours, **naive}
        for number in plan.connections:
            step(f"posting over {number} connections", 0, 0)
            click.echo(measure_posts(targets, number, rounds=plan.rounds, seconds=plan.seconds))
        step(f"posting arrays of {ARRAY}", 0, 0)
        click.echo(measure_arrays(ours, ARRAY, rounds=plan.rounds, seconds=plan.seconds))


def _imports(folder: Path, postgresql: str | None, plan: Plan, step: show.Progress) -> None:
    step("importing files", 0, 0)
    click.echo(measure_imports(folder, _stores(folder, postgresql), rounds=plan.rounds))


def _stores(folder: Path, postgresql: str | None) -> dict[str, Callable[[str], AbstractContextManager[str]]]:
    """Return how to make a database in each kind of store."""
    stores: dict[str, Callable[[str], AbstractContextManager[str]]] = {
        "SQLite": lambda name: nullcontext(f"sqlite:///{folder / name}.db")
    }
    if postgresql:
        stores["PostgreSQL"] = partial(own_database, postgresql)
    return stores
