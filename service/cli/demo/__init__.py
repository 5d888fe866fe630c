"""`consent-ledger demo`: the whole product once, on an embedded SQLite and a simulated Zoho.

`stage.py` starts what it stands on, `acts.py` plays it, this module tells it.
"""

import contextlib
import json
import signal
import time
from pathlib import Path
from threading import Event

import click
from rich.console import Console

from service import app
from service.cli import show
from service.cli.demo.acts import AUDITOR, Acts, Told
from service.cli.demo.stage import Stage, password, stage
from service.web import auth

FOLDER = Path(".consent") / "demo"


@click.command(short_help="Watch the whole product work once.")
@click.option(
    "--contacts", default=5000, show_default=True, type=click.IntRange(min=200), help="How many people."
)
@click.option("--port", default=0, help="Port of the service; by default a free one.")
@click.option("--once", is_flag=True, help="Stop at the end instead of staying up for a browser.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object; implies no other output.")
def demo(contacts: int, port: int, *, once: bool, as_json: bool) -> None:
    """Watch the whole product work once; needs no Zoho, no database, no network."""
    began = time.monotonic()
    out = show.console(quiet=as_json)
    folder = FOLDER / f"{app.now():%Y%m%d-%H%M%S-%f}"
    out.print(
        f"A simulated Zoho with {contacts:,} people, a ledger, and legal's mail. Everything is in {folder}"
    )
    with stage(folder, contacts=contacts, port=port) as here, app.running(here.settings) as parts:
        with show.steps(out, quiet=as_json) as progress:
            acts = Acts(here, parts, out, progress)
            told = acts.play()
        told.seconds = round(time.monotonic() - began, 1)
        if as_json:
            click.echo(json.dumps(told.as_data()))
        _farewell(out, told)
        if not once:
            secret = password()
            auth.create_account(parts.db, AUDITOR, secret, "auditor")
            _stay(out, here, acts.visitor, secret)


def _farewell(out: Console, told: Told) -> None:
    out.rule()
    out.print(
        f"{told.seconds} s, {told.api_calls:,} API calls, {told.crm_credits:,} CRM credits, "
        f"{told.ledger_size:,} ledger entries; "
        f"bundle {'verified' if told.bundle_verified else 'DID NOT VERIFY'}"
    )


def _stay(out: Console, here: Stage, visitor: str, secret: str) -> None:
    """Keep everything running and say where to look, until Ctrl-C."""
    out.print("\nOpen in a browser:")
    out.print(f"  {here.service_url}/                  for auditors: log in as {AUDITOR} with {secret}")
    out.print(f"                                          and look up {visitor}")
    out.print(f"  {here.service_url}/forms/newsletter   the form, as a visitor sees it")
    out.print(f"  {here.service_url}/openapi.json       the API")
    out.print(f"  {here.zoho_url}/_control/truth        what was planted in the simulated Zoho")
    out.print("\nCtrl-C ends it all.")
    done = Event()
    signal.signal(signal.SIGTERM, lambda _signal, _frame: done.set())
    with contextlib.suppress(KeyboardInterrupt):
        done.wait()
