"""`consent-ledger correct`: undo what an operator recorded about the wrong person; nothing is deleted."""

import sys

import click

from service import app, settings
from service.errors import Forbidden
from service.intake import correcting
from service.intake.correcting import NEEDED, Person
from service.intake.corrections import Correction, waiting
from service.vault import address as addresses
from service.vault.pseudonym import by_subject
from service.web.auth import check_password, role_of

_ACCOUNT = click.option("--as", "account", required=True, help="Your account; its password is asked for.")


@click.group(short_help="Undo what was recorded about the wrong person; nothing is deleted.")
def correct() -> None:
    """Correct an entry: it stays in the log, says so, and does not count any more.

    To withdraw is a person's own word, to erase forgets them (`consent-ledger erase`); this is neither.
    """


@correct.command("propose")
@click.argument("email")
@click.option("--entry", type=int, required=True, help="The entry at fault, as `history` numbers it.")
@click.option("--reason", required=True, help="What went wrong; it is recorded.")
@_ACCOUNT
def propose(email: str, entry: int, reason: str, account: str) -> None:
    """Say that an entry about EMAIL is wrong.

    What stops mail counts at once; where mail may flow again, two approvers have to agree first.
    """
    password = _password()
    with app.running(settings.load()) as parts:
        who = _person(parts, account, password)
        address = addresses.parse(email)
        found = correcting.propose(parts.intake, who, address, entry, reason, now=app.now())
    click.echo(words(found))


@correct.command("approve")
@click.argument("proposal", type=int)
@_ACCOUNT
def approve(proposal: int, account: str) -> None:
    """Agree to the correction that entry PROPOSAL proposed."""
    password = _password()
    with app.running(settings.load()) as parts:
        who = _person(parts, account, password)
        found = correcting.approve(parts.intake, who, proposal, now=app.now())
    click.echo(words(found))


@correct.command("list")
def list_waiting() -> None:
    """List the corrections that wait for somebody to agree; people under pseudonyms."""
    with app.running(settings.load()) as parts, parts.db.read() as tx:
        found = waiting(parts.intake, tx)
    for one in found:
        click.echo(f"{by_subject(one.subject)}  {words(one)}")
        click.echo(f"  {one.proposed_by}, {one.proposed_at:%Y-%m-%d %H:%M} UTC: {one.reason}")
    if not found:
        click.echo("no correction waits for anybody")


def words(one: Correction) -> str:
    """Return where a correction stands, in a line."""
    if one.made is not None:
        agreed = f", agreed to by {', '.join(one.approved_by)}" if one.approved_by else ""
        return f"corrected: entry {one.corrects} does not count since entry {one.made}{agreed}"
    so_far = ", ".join(one.approved_by) or "nobody yet"
    return (
        f"proposed by entry {one.proposal}: entry {one.corrects} would not count any more; "
        f"agreed to by {so_far} ({len(one.approved_by)} of {NEEDED})"
    )


def _password() -> str:
    if sys.stdin.isatty():
        told: str = click.prompt("Password", hide_input=True)
        return told
    return sys.stdin.readline().rstrip("\n")


def _person(parts: app.Parts, account: str, password: str) -> Person:
    name = check_password(parts.db, account, password, app.now())
    role = role_of(parts.db, name)
    if role is None:
        raise Forbidden("this account has no role any more")
    return Person(account=name, role=role, via="terminal")
