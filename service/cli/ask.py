"""Commands that answer an auditor: history and bundle. Each look-up is recorded before it is answered."""

import getpass
import json
import os
import tempfile
from datetime import UTC, datetime
from pathlib import Path

import click

from service import app, settings
from service.app import Parts
from service.errors import Malformed, NotFound, ServiceError
from service.intake.access import look_up, stated
from service.reports.evidence import bundle as make_bundle
from service.reports.history import as_text, to_json
from service.reports.history import history as read_history
from service.reports.pseudonyms import resolve
from service.vault import address as addresses


def purpose(_context: click.Context, _option: click.Parameter, told: str | None) -> str | None:
    """Return why it is asked, judged before anything is opened; raises `Malformed` where it says nothing."""
    return None if told is None else stated(told)


reason_option = click.option(
    "--purpose", "reason", required=True, callback=purpose, help="Why you ask; it is recorded in the ledger."
)
as_of_option = click.option("--as-of", "as_of", help="A moment with its offset: 2026-05-01T00:00:00+02:00.")


@click.command(short_help="Print everything the ledger knows about EMAIL.")
@click.argument("email")
@reason_option
@as_of_option
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of text.")
def history(email: str, reason: str, as_of: str | None, *, as_json: bool) -> None:
    """Print everything the ledger knows about EMAIL, oldest first, with the standing and its reasons."""
    moment = _moment(as_of)
    with app.running(settings.load()) as parts:
        address = addresses.parse(email)
        record_look_up(parts, address, reason, "history")
        with parts.db.read() as tx:
            found = read_history(parts.intake, tx, address, at=app.now(), as_of=moment)
    click.echo(json.dumps(to_json(found), indent=2) if as_json else as_text(found))


@click.command(short_help="Write everything about EMAIL as one zip.")
@click.argument("email")
@click.option(
    "-o", "--output", type=click.Path(dir_okay=False, path_type=Path), required=True, help="The zip."
)
@reason_option
@as_of_option
@click.option(
    "--disclose-directory-key",
    "disclose_key",
    is_flag=True,
    help="Add the directory key, with which its holder can test any address: for auditors under contract.",
)
@click.option("--with-staff", is_flag=True, help="Open names and words of staff: for auditors only.")
def bundle(
    email: str, output: Path, reason: str, as_of: str | None, *, disclose_key: bool, with_staff: bool
) -> None:
    """Write everything about EMAIL as one zip that verifies by itself.

    Names of staff, what they wrote and other people's addresses stay closed in it.
    """
    moment = _moment(as_of)
    if not output.absolute().parent.is_dir():
        raise Malformed(
            f"there is no folder {output.absolute().parent}; make it, or choose another for --output"
        )
    with app.running(settings.load()) as parts:
        address = addresses.parse(email)
        record_look_up(parts, address, reason, "bundle with staff" if with_staff else "bundle")
        opened = {"disclose_key": disclose_key, "with_staff": with_staff}
        data = make_bundle(parts.intake, address, at=app.now(), as_of=moment, **opened)
        key = parts.keys.log.vkey
    write_private(output, data)
    click.echo(f"{output}: {len(data)} bytes; verify it anywhere with")
    click.echo(f"  consent-ledger verify {output} --key {key}")


@click.command(short_help="Say who stands behind a PSEUDONYM (p-... or s-...) of the mail, a plan or a page.")
@click.argument("pseudonym")
@reason_option
def whois(pseudonym: str, reason: str) -> None:
    """Say who stands behind a PSEUDONYM; the look-up is recorded before the answer."""
    with app.running(settings.load()) as parts:
        with parts.db.read() as tx:
            found = resolve(tx, parts.intake.vault, pseudonym)
        for address in found:
            record_look_up(parts, address, reason, "pseudonym")
    if not found:
        raise NotFound("nobody stands behind it any more: they were erased, or left both products")
    for address in found:
        click.echo(address)


def record_look_up(
    parts: Parts, address: str, reason: str, asked_for: str, *, actor: str | None = None
) -> None:
    """Write the question into the ledger; without that there is no answer."""
    with parts.db.read() as tx:
        claim = look_up(
            parts.intake.vault,
            tx,
            address=address,
            actor=actor or f"cli.{getpass.getuser()}",
            reason=reason,
            asked_for=asked_for,
            at=app.now(),
        )
    for outcome in parts.intake.record([claim]):
        if isinstance(outcome, ServiceError):
            raise outcome


def _moment(text: str | None) -> datetime | None:
    if text is None:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        moment = None
    if moment is None or moment.utcoffset() is None:
        raise Malformed("--as-of takes a moment with its offset: 2026-05-01T00:00:00+02:00", field="as_of")
    if moment > app.now():
        raise Malformed("this moment has not come yet; ask as of a moment that has passed", field="as_of")
    return moment.astimezone(UTC)


def write_private(path: Path, data: bytes) -> None:
    """Write a file for its owner alone, whole or not at all."""
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    with os.fdopen(handle, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    Path(temporary).replace(path)
