"""The `consent-ledger` command.

Exit codes: 0 done or good, 1 bad (evidence that does not verify, a run that refused to write),
2 incomplete evidence or wrong usage, 3 refused, 4 unavailable, 5 misconfigured, 6 tampered.
"""

import importlib
import sys

import click

from service import __version__
from service.errors import Misconfigured, Refused, ServiceError, Tampered, Unavailable

EXIT_CODES: tuple[tuple[type[ServiceError], int], ...] = (
    (Refused, 3),
    (Unavailable, 4),
    (Misconfigured, 5),
    (Tampered, 6),
)

COMMANDS = {
    "demo": "demo:demo",
    "connect": "connect:command",
    "doctor": "doctor:command",
    "serve": "operate:serve",
    "worker": "operate:worker",
    "migrate": "operate:migrate",
    "simulate": "operate:simulate",
    "reconcile": "reconcile:reconcile",
    "plan": "plans:plan",
    "canaries": "canaries:canaries",
    "report": "reconcile:report",
    "audit": "audit:audit",
    "harm": "audit:harm",
    "mapping": "audit:mapping",
    "push": "audit:push",
    "policy": "policy:policy",
    "import": "importing:command",
    "suppression": "suppressing:suppression",
    "history": "ask:history",
    "bundle": "ask:bundle",
    "whois": "ask:whois",
    "verify": "verify:verify",
    "export": "export:export",
    "scrub": "scrub:command",
    "correct": "correcting:correct",
    "erase": "forget:erase",
    "rekey-directory": "forget:rekey",
    "verify-erasure": "forget:verify_erasure",
    "log": "forget:log",
    "user": "people:user",
    "key": "people:key",
    "bench": "bench:bench",
}
"""Each command and where it lives; it is imported when it is called, so that `verify` needs no database."""


class Commands(click.Group):
    """The commands in the order in which a newcomer needs them, imported one at a time."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002  # click's own signature
        """Return the names of all commands."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002  # as above
        """Return one command, or None if there is none of this name."""
        if cmd_name not in COMMANDS:
            return None
        module, _, name = COMMANDS[cmd_name].partition(":")
        command = getattr(importlib.import_module(f"service.cli.{module}"), name)
        assert isinstance(command, click.Command), f"{cmd_name} is not a command"
        return command


@click.command(
    cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100}
)
@click.version_option(__version__)
def group() -> None:
    """Prove who agreed to what, and keep Zoho CRM and Campaigns honest against it."""


def main() -> None:
    """Run the command line; errors of ours become one clear line and an exit code."""
    try:
        group(prog_name="consent-ledger")
    except ServiceError as error:
        click.echo(f"{error.title}: {error}", err=True)
        sys.exit(exit_code(error))


def exit_code(error: ServiceError) -> int:
    """Return what the command ends with after this error."""
    return next((code for kind, code in EXIT_CODES if isinstance(error, kind)), 1)
