"""What others, and the log's second key, say about its checkpoint; and the texts that stand beside the log.

Pure. A line by a key that is known must hold. Which keys are known: those of the log, from its own
entries; those of witnesses, from the policy that the auditor brings or, failing that, the folder has.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from service.errors import Malformed, Tampered
from service.ledger import quorum, timestamp
from service.ledger.cosignature import read_vkey
from service.ledger.note import Verifies, format_key, split_note
from service.ledger.replay.piece import Named
from service.ledger.replay.source import Source
from service.ledger.witness import cosignatures

CHECKPOINT: Final = "checkpoint"
POLICY: Final = "policy.txt"
KEYS: Final = "keys.txt"
STAMPS: Final = "tsr"

_KEY_LINE = re.compile(r"(checkpoint|entry) (\S+)")
_STAMP = re.compile(rf"{STAMPS}/(.+)\.tsr")


@dataclass(frozen=True, slots=True, kw_only=True)
class Stamped:
    """A time stamp from the folder: the checkpoint that it is about, the reply, the certificates with it."""

    name: str
    note: bytes
    reply: bytes
    chain: bytes


def signed_by(note: bytes, keys: Sequence[Verifies]) -> bool:
    """Return whether a note has a line that says that it is by one of the keys; it may not hold."""
    known = {(key.name, key.key_id) for key in keys}
    return any((line.name, line.key_id) in known for line in split_note(note)[1])


def read_policy(name: str, text: bytes, logs: Sequence[Verifies]) -> quorum.LogPolicy:
    """Return the policy; `Tampered` if it cannot be read, or believes other logs than this one.

    `logs` are all keys that this log had; empty where that is not known, since entries are missing.
    """
    try:
        policy = quorum.decode(text)
    except Malformed as error:
        raise Tampered(f"{name}: {error}") from None
    believed = {(one.key.name, one.key.key_id) for one in policy.logs}
    if logs and believed and not believed & {(log.name, log.key_id) for log in logs}:
        raise Tampered(f"{name}: it believes another key than the one that this log was checked with")
    return policy


def cosigned(note: bytes, policy: quorum.LogPolicy) -> list[str]:
    """Return the names of the policy's witnesses who cosigned; `Tampered` if a witness's line fails."""
    return [party.name for party in policy.witnesses if cosignatures(note, [party.key])]


def has_second_line(note: bytes, named: Named) -> bool:
    """Return whether the log's ML-DSA-44 key signed too, where it has one; `Tampered` if a line fails."""
    lines = [bool(cosignatures(note, [read_vkey(vkey)])) for vkey in named.log_pq]
    return any(lines) or not lines


def require_keys(text: bytes, log_vkeys: Sequence[str], named: Named) -> int:
    """Return how many keys `keys.txt` lists; `Tampered` if the log did not name one of them."""
    known = {
        "checkpoint": {*log_vkeys, *named.log, *named.log_pq},
        "entry": {format_key(key.name, key.key_id, key.kind, key.public) for key in named.ingest},
    }
    count = 0
    for line in text.decode("utf-8", "replace").splitlines():
        if not line or line.startswith("#"):
            continue
        match = _KEY_LINE.fullmatch(line)
        if match is None or match[2] not in known[match[1]]:
            raise Tampered(f"{KEYS}: it lists a key that this log did not name: {line[:80]!r}")
        count += 1
    return count


def read_stamps(source: Source) -> tuple[list[Stamped], list[str]]:
    """Return the time stamps of a folder, and the names of files that belong to one and are missing."""
    stamps, missing = [], []
    for path in source.paths(STAMPS):
        match = _STAMP.fullmatch(path)
        if match is None:
            continue
        names = [f"{STAMPS}/{match[1]}{ending}" for ending in (".checkpoint", ".tsr", ".pem")]
        note, reply, chain = map(source.read, names)
        if note is None or reply is None or chain is None:
            missing += [name for name in names if source.read(name) is None]
        else:
            stamps.append(Stamped(name=path, note=note, reply=reply, chain=chain))
    return stamps, missing


def require_stamp(stamp: Stamped, roots: bytes | None) -> timestamp.Stamp:
    """Return what a time stamp says; `Tampered` if it does not hold.

    `roots` is PEM of the authorities that the auditor believes; without it the certificates that came
    with the stamp are taken, which shows that the stamp is whole, not that its authority is honest.
    """
    try:
        return timestamp.verify(stamp.reply, stamp.note, _trust(stamp.chain, roots))
    except (Tampered, Malformed) as error:
        raise Tampered(f"{stamp.name}: {error}") from None


def _trust(chain: bytes, roots: bytes | None) -> timestamp.Trust:
    if roots is None:
        return timestamp.read_trust(chain)
    believed = timestamp.read_trust(roots)
    between = timestamp.read_trust(chain).intermediates
    return timestamp.Trust(roots=believed.roots, intermediates=believed.intermediates + between)
