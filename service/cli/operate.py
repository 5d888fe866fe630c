"""Commands that run the service: serve, worker, migrate, simulate."""

import gc
import signal
import socket
import threading
from contextlib import ExitStack
from types import FrameType

import click
import uvicorn

from service import app, settings
from service import db as database
from service.cli import cost, estimating, show
from service.cli.companions import companions, leave_with_parent
from service.cli.fencing import REMEDY, exposed
from service.errors import Misconfigured
from service.settings import Settings
from service.zoho import simulator
from service.zoho.centres import CENTRES


@click.command()
@click.option("--host", help="Address to listen on (default: CONSENT_HOST).")
@click.option("--port", type=int, help="Port to listen on (default: CONSENT_PORT).")
@click.option(
    "--processes", default=1, show_default=True, type=click.IntRange(1, 64), help="Processes that answer."
)
@click.option("--companion", is_flag=True, hidden=True, help="Serve beside the process that started this.")
def serve(host: str | None, port: int | None, *, processes: int, companion: bool) -> None:
    """Serve the forms, the API, the pages and the published log."""
    chosen = settings.load()
    told = {"host": host or chosen.host, "port": chosen.port if port is None else port}
    chosen = chosen.model_copy(update=told)
    show.log_from(chosen.log_level)
    signal.signal(signal.SIGTERM, _leave)
    with app.running(chosen) as parts, ExitStack() as stack:
        _tell_trouble(parts)
        shared = companion or processes > 1
        if shared and not companion:
            _listen(chosen.host, chosen.port, shared=False).close()  # another service would share it unseen
        listener = _listen(chosen.host, chosen.port, shared=shared)
        at = ("--host", chosen.host, "--port", str(listener.getsockname()[1]))
        if companion:
            leave_with_parent()
        else:
            _tell_exposed(parts)
            stack.enter_context(parts.publisher())
            stack.enter_context(parts.anchors())
            stack.enter_context(companions(processes - 1, *at))
        config = uvicorn.Config(
            parts.site(),
            http="httptools",
            loop="uvloop",
            lifespan="on",
            log_config=None,
            access_log=False,  # an access log would hold tokens and addresses of clients
            server_header=False,
            proxy_headers=bool(chosen.trusted_proxies),
            forwarded_allow_ips=chosen.trusted_proxies or None,
            timeout_keep_alive=30,
            timeout_graceful_shutdown=10,
        )
        gc.freeze()  # what is there by now stays; without it every full collection walks through all of it
        if not companion:
            click.echo(f"listening on http://{chosen.host}:{listener.getsockname()[1]}", err=True)
        uvicorn.Server(config).run(sockets=[listener])
        listener.close()


def _leave(_signal: int, _frame: FrameType | None) -> None:
    """End in good order: uvicorn raises the signal again once it has answered everybody."""
    raise SystemExit(0)


def _listen(host: str, port: int, *, shared: bool) -> socket.socket:
    """Return a socket that listens; `Misconfigured` where somebody else does already.

    A shared one is one of several at the same address, to which the kernel hands out connections in turn.
    """
    try:
        return socket.create_server((host, port), backlog=1024, reuse_port=shared)
    except OSError as error:
        raise Misconfigured(
            f"{host}:{port} cannot be listened on ({error.strerror}); choose another port with --port"
        ) from None


@click.command(short_help="Carry withdrawals to Zoho; run the nightly jobs.")
@click.option("--nightly/--no-nightly", default=True, help="Whether this worker takes turns at nightly jobs.")
@click.option("--watch/--no-watch", default=True, help="Whether this worker looks at Zoho every few seconds.")
@click.option("--estimate", "estimated", is_flag=True, help="Ask Zoho nothing; print what a day would cost.")
def worker(*, nightly: bool, watch: bool, estimated: bool) -> None:
    """Carry withdrawals to Zoho within seconds, and run the nightly jobs."""
    chosen = settings.load()
    show.log_from(chosen.log_level)
    if estimated:
        _tell_day(chosen, nightly=nightly, watch=watch)
        return
    stop = threading.Event()

    def end(_signal: int, _frame: FrameType | None) -> None:
        stop.set()

    signal.signal(signal.SIGTERM, end)
    signal.signal(signal.SIGINT, end)
    with app.running(chosen) as parts:
        _tell_trouble(parts)
        app.work(parts, stop, nightly=nightly, watch=watch)


def _tell_day(chosen: Settings, *, nightly: bool, watch: bool) -> None:
    """Print what a day costs on which nothing happens in either product, and what the last 24 hours cost."""
    with app.running(chosen) as parts, parts.zoho() as zoho:
        if watch:
            click.echo("watching for a day, " + cost.tell(estimating.of_watching(parts), zoho))
        night = estimating.of_night(parts, zoho) if nightly else None
        if night is not None:
            click.echo("nightly jobs, " + cost.tell(night, zoho))
        elif nightly:
            click.echo("nightly jobs: nothing was read yet, so that nobody knows how many people there are")
        click.echo(cost.by_errand(zoho))


def _tell_trouble(parts: app.Parts) -> None:
    """Say on the terminal that the ledger is read-only, and why."""
    if parts.intake.trouble is not None:
        click.secho(parts.intake.trouble, fg="red", err=True)


def _tell_exposed(parts: app.Parts) -> None:
    """Say on the terminal that the fence is restored together with the database, if so."""
    if (why := exposed(parts.settings, parts.attestation)) is not None:
        click.secho(f"{why}; {REMEDY}", fg="yellow", err=True)


@click.command()
def migrate() -> None:
    """Bring the database to the newest schema; safe to run twice."""
    chosen = settings.load()
    database.migrate(chosen.database_url)
    click.echo("the database has the newest schema")


@click.command(short_help="Answer as Zoho does, with a known truth.")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", default=8090, show_default=True, help="Port to listen on; 0 picks a free one.")
@click.option("--contacts", default=5000, show_default=True, help="How many people the organisation has.")
@click.option("--seed", default=1, show_default=True, help="The same seed plants the same organisation.")
@click.option("--file", help="Keep the organisation in this file, and go on with it if it is there.")
@click.option(
    "--centre",
    "centres",
    multiple=True,
    type=click.Choice(list(CENTRES)),
    help="Let this data centre answer on a port of its own too; may be given several times.",
)
def simulate(
    *, host: str, port: int, contacts: int, seed: int, file: str | None, centres: tuple[str, ...]
) -> None:
    """Answer as Zoho does: a messy organisation over real HTTP, with a known truth."""
    simulator.serve(host, port, contacts, seed, file=file, centres=centres)
