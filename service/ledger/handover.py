"""Follow a log's key from one to the next, and a log to its successor.

Pure. A `key.rotated` entry is signed by the old key, which vouches, and by the new one, which shows that
it is there. So a verifier who was given the first key years ago reads a checkpoint that only the third
one signed. A log that continues another one begins with that one's final checkpoint.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from service.errors import Malformed, Tampered
from service.ledger.entry import decode
from service.ledger.note import Verifier, decode_base64, split_note
from service.ledger.proof import Checkpoint, open_checkpoint

CATEGORY: Final = "key.rotated"
GENESIS: Final = "log.genesis"


def follow(trusted: Sequence[Verifier], entries: Iterable[bytes]) -> list[Verifier]:
    """Return the trusted keys of a log and all that they vouch for, in the order in which they took over.

    `entries` are in the order of the log; those that hand nothing over are passed by. Raises `Tampered`
    for a handover that one of its two keys did not sign.
    """
    keys = list(trusted)
    for data in entries:
        entry = decode(data)
        vkey = entry.extra.get("log")
        if entry.category != CATEGORY or not isinstance(vkey, str):
            continue
        taking = _read(vkey)
        if taking in keys:
            continue
        if any(_claims(data, key) for key in keys):
            _require_both(data, keys, taking)
            keys.append(taking)
    return keys


def final_checkpoint(genesis: bytes, before: Sequence[Verifier]) -> Checkpoint:
    """Return the checkpoint of the log that this first entry continues, signed by that log's keys `before`.

    Whoever trusts the new log's tree knows by it where the old one ended. Raises `Tampered` if the entry
    holds none, or one that the old log did not sign.
    """
    entry = decode(genesis)
    note = entry.extra.get("before")
    if entry.category != GENESIS or not isinstance(note, str):
        raise Tampered("this entry does not begin a log that continues another one")
    return open_checkpoint(decode_base64(note), before)


def lost_checkpoint(genesis: bytes, before: Sequence[Verifier]) -> Checkpoint | None:
    """Return the checkpoint that the log before had signed and that was lost with its newest database.

    None where nothing was lost, or only an unsigned size is known. Raises `Tampered` for one that the old
    log's keys `before` did not sign.
    """
    lost = decode(genesis).extra.get("lost")
    note = lost.get("checkpoint") if isinstance(lost, Mapping) else None
    return open_checkpoint(decode_base64(note), before) if isinstance(note, str) else None


def _require_both(data: bytes, keys: Sequence[Verifier], taking: Verifier) -> None:
    if not any(_signed(data, key) for key in keys) or not _signed(data, taking):
        raise Tampered("a key of this log was handed over without the signatures of both keys")
    if taking.name not in {key.name for key in keys}:
        raise Tampered("a log's key was handed over to another log")


def _read(vkey: str) -> Verifier:
    try:
        return Verifier.from_vkey(vkey)
    except Malformed as error:
        raise Tampered(f"a handover names a key that is none: {error}") from None


def _claims(data: bytes, key: Verifier) -> bool:
    return any((line.name, line.key_id) == (key.name, key.key_id) for line in split_note(data)[1])


def _signed(data: bytes, key: Verifier) -> bool:
    text, lines = split_note(data)
    return any(
        (line.name, line.key_id) == (key.name, key.key_id) and key.verify(text, line.signature)
        for line in lines
    )
