"""The `consent-ledger` command.

Exit codes: 0 done or good, 1 bad (evidence that does not verify, a run that refused to write),
2 incomplete evidence or wrong usage, 3 refused, 4 unavailable, 5 misconfigured, 6 tampered.
"""

import sys

import click

from service import __version__
from service.cli import ask, demo, operate, people, reconcile
from service.errors import Misconfigured, Refused, ServiceError, Tampered, Unavailable

EXIT_CODES: tuple[tuple[type[ServiceError], int], ...] = (
    (Refused, 3),
    (Unavailable, 4),
    (Misconfigured, 5),
    (Tampered, 6),
)


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__)
def group() -> None:
    """Prove who agreed to what, and keep Zoho CRM and Campaigns honest against it."""


for command in (
    demo.demo,
    operate.serve,
    operate.worker,
    operate.migrate,
    operate.simulate,
    reconcile.reconcile,
    reconcile.report,
    ask.history,
    ask.bundle,
    ask.verify,
    people.user,
    people.key,
):
    group.add_command(command)


def main() -> None:
    """Run the command line; errors of ours become one clear line and an exit code."""
    try:
        group(prog_name="consent-ledger")
    except ServiceError as error:
        click.echo(f"{error.title}: {error}", err=True)
        sys.exit(next((code for kind, code in EXIT_CODES if isinstance(error, kind)), 1))
