"""The command that an auditor runs far away: no database, no network, no key but the log's public one."""

import sys
from pathlib import Path

import click

from service.errors import Malformed
from service.ledger.verify import verify_bundle
from service.settings import load


@click.command(short_help="Check a bundle offline; exits 0 good, 1 bad, 2 incomplete.")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--key", "key", help="The log's public key, or a file of it (default: this folder's).")
def verify(file: Path, key: str | None) -> None:
    """Check a bundle with nothing but the log's public key; exits 0 good, 1 bad, 2 incomplete."""
    verdict = verify_bundle(file.read_bytes(), _log_key(key))
    click.echo(verdict.report(), nl=False)
    sys.exit(verdict.exit_code)


def _log_key(key: str | None) -> str:
    """Return the verifier key that was named, or that of the log in this working folder."""
    if key is not None and "+" in key and not Path(key).exists():
        return key
    path = Path(key) if key is not None else load().log_key_path
    if not path.exists():
        raise Malformed(
            "no public key of the log is here; give it with --key (the operator has it: key show)"
        )
    return path.read_text().strip()
