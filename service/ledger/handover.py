"""Follow a log's key from one to the next: a `key.rotated` entry that both of them signed.

Pure. The old key vouches for the new one, the new one shows that somebody has it. So a verifier who was
given the first key years ago reads a checkpoint that only the third one signed.
"""

from collections.abc import Iterable, Sequence
from typing import Final

from service.errors import Malformed, Tampered
from service.ledger.entry import decode
from service.ledger.note import Verifier, split_note

CATEGORY: Final = "key.rotated"


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
