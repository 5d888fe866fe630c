"""What a log and its witnesses say to each other (c2sp.org/tlog-witness, c2sp.org/tlog-cosignature).

Pure: bytes in, bytes out. A witness remembers the largest tree of a log that it saw and signs only what
continues it; so one honest witness is enough to make a rewritten log visible.

Mirrored pairs: `encode_request`/`decode_request`, `encode_size`/`decode_size`.
"""

import base64
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Final

from service.errors import Malformed, Tampered
from service.ledger.cosignature import MLDSA44, read_vkey
from service.ledger.merkle import HASH_BYTES
from service.ledger.note import COSIGNATURE, SignatureLine, Verifies, decode_base64, parse_key, split_note
from service.ledger.proof import MAX_PROOF_HASHES

SIZE_TYPE: Final = "text/x.tlog.size"
"""The media type of a 409 answer, which says how large the tree is that the witness knows."""
AHEAD: Final = timedelta(minutes=5)
"""How far a witness's clock may run ahead of ours before its times are worth nothing to us."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_LATEST = (1 << 63) - 1  # seconds since 1970 (tlog-cosignature)
_DECIMAL = re.compile(rb"0|[1-9][0-9]{0,18}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Addition:
    """A request to cosign: the size that the witness may know, the way from there, the checkpoint."""

    old: int
    proof: tuple[bytes, ...]
    note: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Cosignature:
    """A witness's line under a checkpoint, checked, and the time that it states; `line` ends in a newline."""

    key: str
    at: datetime
    line: bytes


def encode_request(addition: Addition) -> bytes:
    """Return the body of `POST <prefix>/add-checkpoint`."""
    lines = [b"old %d" % addition.old, *map(base64.b64encode, addition.proof), b""]
    return b"\n".join(lines) + b"\n" + addition.note


def decode_request(body: bytes) -> Addition:
    """Return what a body asks for, checking its form alone; `Malformed` if that is wrong."""
    head, gap, note = body.partition(b"\n\n")
    first, *hashes = head.split(b"\n")
    if not gap or not first.startswith(b"old "):
        raise Malformed("an add-checkpoint request begins with `old <size>` and has an empty line")
    try:
        proof = tuple(map(decode_base64, hashes))
    except Tampered:
        raise Malformed("a hash of the consistency proof is not canonical base64") from None
    if len(proof) > MAX_PROOF_HASHES or any(len(node) != HASH_BYTES for node in proof):
        raise Malformed(f"a consistency proof is at most {MAX_PROOF_HASHES} hashes of {HASH_BYTES} bytes")
    return Addition(old=_decimal(first.removeprefix(b"old ")), proof=proof, note=note)


def encode_size(size: int) -> bytes:
    """Return the body of a 409 answer."""
    return b"%d\n" % size


def decode_size(body: bytes) -> int:
    """Return the size in the body of a 409 answer; `Malformed` if it holds none."""
    if not body.endswith(b"\n"):
        raise Malformed("the witness did not say which size it knows")
    return _decimal(body[:-1])


def accept(note: bytes, answer: bytes, key: Verifies, *, now: datetime) -> Cosignature:
    """Return the cosignature in a witness's answer to `note`.

    Lines by other keys are passed over. Raises `Tampered` if the witness's own line is missing, does not
    fit the checkpoint, or states a time that has not come yet.
    """
    text, _ = split_note(note)
    _, lines = split_note(b"-\n\n" + answer)
    found = _of(lines, key)
    if not found:
        raise Tampered(f"the answer of witness {key.name} holds no signature by its key")
    checked = [_check(text, line, key) for line in found][-1]
    if checked.at > now + AHEAD:
        raise Tampered(f"the witness {key.name} signed with a time that has not come yet")
    return checked


def cosignatures(note: bytes, keys: Iterable[Verifies]) -> tuple[Cosignature, ...]:
    """Return the cosignatures by these keys that a checkpoint carries.

    Raises `Tampered` if a line by one of the keys does not fit, whatever the other lines say.
    """
    text, lines = split_note(note)
    return tuple(_check(text, line, key) for key in keys for line in _of(lines, key))


def read_witness_key(vkey: str) -> Verifies:
    """Return the verifier for a witness's public key: types 4 and 6; `Malformed` for any other."""
    if parse_key(vkey)[2] not in (COSIGNATURE, MLDSA44):
        raise Malformed("a witness signs with a key of type 4 or 6; this is a key of another type")
    return read_vkey(vkey)


def identity(key: Verifies) -> str:
    """Return what tells a key from all others: its name and the hexadecimal key id."""
    return f"{key.name}+{key.key_id.hex()}"


def monitoring_path(origin: str) -> str:
    """Return where, below its prefix, a witness shows the latest checkpoint that it cosigned."""
    return f"{sha256(origin.encode()).hexdigest()}/checkpoint"


def _of(lines: Sequence[SignatureLine], key: Verifies) -> list[SignatureLine]:
    return [line for line in lines if (line.name, line.key_id) == (key.name, key.key_id)]


def _check(text: bytes, line: SignatureLine, key: Verifies) -> Cosignature:
    at_s = int.from_bytes(line.signature[:8], "big")
    if not 0 < at_s <= _LATEST or not key.verify(text, line.signature):
        raise Tampered(f"the cosignature by {key.name} does not fit the checkpoint")
    try:
        at = _EPOCH + timedelta(seconds=at_s)
    except OverflowError:
        raise Tampered(f"the cosignature by {key.name} states a time beyond all calendars") from None
    encoded = base64.b64encode(line.key_id + line.signature)
    return Cosignature(key=identity(key), at=at, line=f"— {line.name} ".encode() + encoded + b"\n")


def _decimal(text: bytes) -> int:
    if not _DECIMAL.fullmatch(text) or int(text) >= 1 << 63:
        raise Malformed("a tree size is a plain decimal number below 2**63")
    return int(text)
