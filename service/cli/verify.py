"""The command that an auditor runs far away: no database, no network, no key but the log's public one."""

import base64
import binascii
import sys
from pathlib import Path

import click

from service.errors import Malformed
from service.ledger.verify import verify_bundle
from service.settings import load

KEY_BYTES = 32


@click.command(short_help="Check a bundle offline; exits 0 good, 1 bad, 2 incomplete.")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--key", "key", help="The log's public key, or a file of it (default: this folder's).")
@click.option(
    "--directory-key",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="A file with the directory key (base64), if you hold it: the address leads nowhere else.",
)
def verify(file: Path, key: str | None, directory_key: Path | None) -> None:
    """Check a bundle with nothing but the log's public key; exits 0 good, 1 bad, 2 incomplete."""
    held = None if directory_key is None else _directory_key(directory_key)
    verdict = verify_bundle(file.read_bytes(), _log_key(key), held)
    click.echo(verdict.report(), nl=False)
    sys.exit(verdict.exit_code)


def _directory_key(path: Path) -> bytes:
    """Return the 32 bytes of a directory key from a file that holds them in base64."""
    try:
        held = base64.b64decode(path.read_bytes().strip(), validate=True)
    except binascii.Error:
        held = b""
    if len(held) != KEY_BYTES:
        raise Malformed(f"{path} must hold the 32 bytes of the directory key in base64; copy it again, whole")
    return held


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
