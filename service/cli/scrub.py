"""The command that looks at every stored row again: scrub."""

import json
import time
from collections.abc import Iterator
from contextlib import suppress

import click
from sqlalchemy.exc import DBAPIError

from service import policy, settings
from service.cli import show
from service.db import Database, require_current
from service.intake.erasures import ErasureList
from service.intake.scrub import beside_the_log, of_the_log
from service.ledger.fence import Fence
from service.ledger.scrub import Damage, Progress, scrub
from service.settings import Settings
from service.vault.keys import open_keys


@click.command("scrub", short_help="Look at every stored row again; exits 0 clean, 1 damaged.")
@click.option("--log-only", is_flag=True, help="Leave out events, payloads and persons.")
@click.option("--json", "as_json", is_flag=True, help="Print the findings as JSON.")
@click.pass_context
def command(ctx: click.Context, *, log_only: bool, as_json: bool) -> None:
    """Look at every stored row again and name each that is not as it was written.

    Hashes are made again from entries, nodes from hashes, the head from nodes; payloads are opened; events,
    standings and the index are held against the entries. Reads only, beside running services.
    """
    chosen = settings.load()
    show.log_from(chosen.log_level)
    began = time.monotonic()
    with show.steps(show.console(), quiet=as_json) as progress:
        found = list(inspect(chosen, progress, log_only=log_only))
    took_s = round(time.monotonic() - began, 1)
    if as_json:
        told = [{"where": one.where, "what": one.what} for one in found]
        click.echo(json.dumps({"damage": told, "seconds": took_s}, indent=2))
    else:
        for one in found:
            click.echo(str(one))
        click.echo(f"{len(found)} damaged places in {took_s} s" if found else f"clean, in {took_s} s")
    if found:
        click.echo("record nothing more, and restore a backup on which scrub finds nothing", err=True)
    ctx.exit(int(bool(found)))


def inspect(chosen: Settings, progress: Progress, *, log_only: bool = False) -> Iterator[Damage]:
    """Yield everything that is damaged in the database that the settings name; writes nothing."""
    keys = open_keys(chosen)
    parts = [*of_the_log(keys, Fence(chosen.fence_path, *keys.log_verifiers))]
    if not log_only:
        listed = ErasureList(chosen.erasures_path).read().persons
        parts += beside_the_log(keys, policy.load(chosen.policies_dir), listed)
    db = Database(chosen.database_url)
    try:
        with suppress(DBAPIError):  # a damaged file, which the first part names
            require_current(db)
        yield from scrub(db, parts, progress)
    finally:
        db.close()
