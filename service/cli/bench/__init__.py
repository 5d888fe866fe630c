"""`consent-ledger bench`: what this machine does, as ratios of figures taken side by side."""

import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import Final

import click

from service.cli import show
from service.cli.bench.asking import measure_log
from service.cli.bench.posting import Target, measure_posts, naive_design, our_service, uvicorn_app

CONNECTIONS: Final = (1, 16, 64, 256)


@click.command(short_help="Measure this machine: posts, imports, histories, exports, verification.")
@click.option(
    "--postgresql", metavar="URL", help="An empty PostgreSQL database to be measured beside SQLite."
)
@click.option("--entries", default=1_000_000, show_default=True, help="Length of the log that is asked.")
@click.option("--rounds", default=5, show_default=True, help="How often each is measured; medians are shown.")
@click.option("--seconds", default=3.0, show_default=True, help="Length of one measurement of posts.")
@click.option("--only", type=click.Choice(["posts", "log"]), help="Measure one half alone.")
def bench(*, postgresql: str | None, entries: int, rounds: int, seconds: float, only: str | None) -> None:
    """Measure the service beside a bare handler and a naive design, then a long log, in temporary folders.

    Server, load and database share the machine, so rates say less than ratios: those were taken in turn.
    """
    out = show.console()
    with tempfile.TemporaryDirectory(prefix="consent-bench-") as name, show.steps(out) as progress:
        folder = Path(name)
        if only != "log":
            _posts(folder, postgresql, rounds, seconds, progress)
        if only != "posts":
            measure_log(folder, entries, rounds, progress, click.echo)


def _posts(folder: Path, postgresql: str | None, rounds: int, seconds: float, step: show.Progress) -> None:
    stores = {"SQLite": f"sqlite:///{folder / 'ledger.db'}"}
    if postgresql:
        stores["PostgreSQL"] = postgresql
    with ExitStack() as stack:
        targets: dict[str, Target] = {
            "bare ASGI": stack.enter_context(uvicorn_app("service.cli.bench.posting:bare", {}))
        }
        for name, url in stores.items():
            targets[name] = stack.enter_context(our_service(folder / name, url))
        naive = f"sqlite:///{folder / 'naive.db'}"
        targets["naive, SQLite"] = stack.enter_context(naive_design(folder / "naive", naive))
        for connections in CONNECTIONS:
            step(f"posting over {connections} connections", 0, 0)
            click.echo(measure_posts(targets, connections, rounds=rounds, seconds=seconds))
