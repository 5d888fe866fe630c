"""Commands for who may use the service: accounts of people, keys of programs, the service's own keys."""

import sys

import click

from service import app, settings
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
        click.echo(parts.keys.log.vkey)


@key.command("add")
@click.argument("name")
@click.option("--scope", "scopes", multiple=True, required=True, type=click.Choice(sorted(auth.SCOPES)))
def add_key(name: str, scopes: tuple[str, ...]) -> None:
    """Create an API key and print it once; only its hash is kept."""
    with app.running(settings.load()) as parts:
        click.echo(auth.create_key(parts.db, name, scopes, at=app.now()))


@key.command("revoke")
@click.argument("identity")
def revoke_key(identity: str) -> None:
    """Revoke an API key for good; IDENTITY is the part of the key between the underscores."""
    with app.running(settings.load()) as parts:
        auth.revoke_key(parts.db, identity, at=app.now())
    click.echo(f"the key {identity} is revoked")
