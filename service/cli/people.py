"""Commands for who may use the service: accounts of people, keys of programs, the service's own keys."""

import sys

import click

from service import app, settings
from service.cli import show
from service.intake import rotation
from service.vault.keys import create_keys
from service.web import auth


@click.group()
def user() -> None:
    """Accounts of people who log in."""


@user.command("add")
@click.argument("name")
@click.option("--role", type=click.Choice(sorted(auth.ROLES)), default="auditor", show_default=True)
def add_user(name: str, role: str) -> None:
    """Create an account; the password is read from a prompt, or from standard input."""
    if sys.stdin.isatty():
        password = click.prompt("Password", hide_input=True, confirmation_prompt=True)
    else:
        password = sys.stdin.readline().rstrip("\n")
    with app.running(settings.load()) as parts:
        auth.create_account(parts.db, name, password, role, at=app.now())
    click.echo(f"{name} may log in as {role}")


@click.group(short_help="Keys of programs, and the service's own keys.")
def key() -> None:
    """Keys of programs that use the API, and the service's own keys."""


@key.command("init")
def init_keys() -> None:
    """Create the key-encryption key and the keys file where they are missing; existing ones stay."""
    chosen = settings.load()
    create_keys(chosen)
    click.echo(f"keys are in {chosen.keys_path}, opened by {chosen.kek_path}; keep a copy of both, apart")


@key.command("show")
def show_key() -> None:
    """Print the log's public key, which is all that a verifier needs; give it out by another way."""
    with app.running(settings.load()) as parts:
        click.echo(parts.intake.keys.log.vkey)


@key.command("add")
@click.argument("name")
@click.option("--scope", "scopes", multiple=True, required=True, type=click.Choice(sorted(auth.SCOPES)))
def add_key(name: str, scopes: tuple[str, ...]) -> None:
    """Create an API key and print it once; only its hash is kept."""
    with app.running(settings.load()) as parts:
        click.echo(auth.create_key(parts.db, name, scopes, at=app.now()))


@key.group("rotate")
def rotate() -> None:
    """Change one of the service's own keys; an entry says so, and old proofs keep verifying."""


@rotate.command("log")
@click.option("--end-overlap", is_flag=True, help="Drop the former key, once every verifier has the new one.")
def rotate_log(*, end_overlap: bool) -> None:
    """Give the log a new key; until --end-overlap, checkpoints carry the signatures of both."""
    with app.running(settings.load()) as parts:
        parts.attest()
        change = rotation.end_overlap if end_overlap else rotation.rotate_log
        index = change(parts.intake)
        vkey = parts.intake.keys.log.vkey
    click.echo(f"entry {index} says so; the log's public key is now\n{vkey}")


@rotate.command("ingest")
def rotate_ingest() -> None:
    """Give entries a new signing key."""
    with app.running(settings.load()) as parts:
        parts.attest()
        index = rotation.rotate_ingest(parts.intake)
        name = parts.intake.keys.ingest.name
    click.echo(f"entry {index} says so; entries are signed by {name} from now on")


@rotate.command("kek")
@click.option("--forget-former", is_flag=True, help="Destroy former keys; older backups become useless.")
def rotate_kek(*, forget_former: bool) -> None:
    """Wrap all persons' keys under a new key-encryption key; can be given again if it was cut off."""
    out = show.console()
    with app.running(settings.load()) as parts, show.steps(out) as progress:
        if forget_former:
            click.echo(f"{rotation.forget_keks(parts.intake)} former keys are destroyed")
            return
        count = rotation.rotate_kek(parts.intake, progress)
    click.echo(f"{count} persons' keys were wrapped again; keep new copies of both key files")


@key.command("revoke")
@click.argument("identity")
def revoke_key(identity: str) -> None:
    """Revoke an API key for good; IDENTITY is the part of the key between the underscores."""
    with app.running(settings.load()) as parts:
        auth.revoke_key(parts.db, identity, at=app.now())
    click.echo(f"the key {identity} is revoked")
