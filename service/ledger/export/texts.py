"""What stands beside the log in an export: whom to believe, which keys there are, how it is all written."""

from collections.abc import Sequence
from dataclasses import replace
from importlib import resources

from service.ledger import standalone
from service.ledger.cosignature import read_vkey
from service.ledger.quorum import LogPolicy, Party, encode


def beside(
    *, log: str, log_pq: str, ingest: Sequence[str], url: str, witnesses: LogPolicy | None = None
) -> dict[str, bytes]:
    """Return the files by name; keys are given as `vkey`s, `url` is where the log is served."""
    return {
        "policy.txt": policy(log, url, witnesses or LogPolicy()),
        "keys.txt": keys(log, log_pq, ingest),
        "SPEC.md": resources.files(__package__).joinpath("SPEC.md").read_bytes(),
        "verify.py": standalone.source(),
    }


def policy(log: str, url: str, witnesses: LogPolicy) -> bytes:
    """Return the policy (c2sp.org/tlog-policy) that believes this log, and witnesses as the operator does."""
    key = read_vkey(log)
    party = Party(name=key.name, vkey=log, key=key, url=url)
    return (
        b"# Whom to believe about this log (c2sp.org/tlog-policy).\n"
        b"# A file that came with the log proves nothing about the log: compare the keys with those that\n"
        b"# you were given in another way.\n"
    ) + encode(replace(witnesses, logs=(party,)))


def keys(log: str, log_pq: str, ingest: Sequence[str]) -> bytes:
    """Return every public key of the log, one a line: what it signs, and the key."""
    lines = [
        "# Public keys of this log, one a line: what the key signs, then the key itself.",
        "# Compare the keys of checkpoints with those that you were given in another way; the keys of",
        "# entries are named by entry 0 (log.genesis) and by entries key.rotated, which the log vouches for.",
        f"checkpoint {log}",
        f"checkpoint {log_pq}",
        *(f"entry {key}" for key in ingest),
    ]
    return ("\n".join(lines) + "\n").encode()
