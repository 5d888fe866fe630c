"""A log of some hundred entries as an export has it, made without a database: persons, epochs, a new key."""

import base64
import random
from collections.abc import Iterable, Sequence
from datetime import timedelta
from functools import cache

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from service.ledger import entry, proof
from service.ledger.canonical import Json
from service.ledger.cosignature import Cosigner
from service.ledger.export.texts import beside
from service.ledger.index import commit_key
from service.ledger.note import COSIGNATURE, Joint, Signer, derive_key_id, format_key
from service.ledger.register import Register
from service.ledger.tiles import encode_entries, entry_tiles, hash_tile, tiles
from tests.ledger.evidence import DIRECTORY_KEY, INGEST, LOG, ORIGIN, WHEN, grow

LOG_PQ = Cosigner(ORIGIN, bytes([4]) * 32)
SECOND = Signer(f"{ORIGIN}/ingest-2", bytes([5]) * 32)
NEXT = Signer(ORIGIN, bytes([11]) * 32)
STRANGER = Signer(f"{ORIGIN}/ingest-9", bytes([9]) * 32)
WITNESS_KEY = Ed25519PrivateKey.from_private_bytes(bytes([6]) * 32)
WITNESS = "witness.example"
SIZE = 700  # two full tiles and a partial one
ROTATED = 400  # the index from which on the second key signs
EPOCHS = (300, 600)


def witness_vkey() -> str:
    public = WITNESS_KEY.public_key().public_bytes_raw()
    return format_key(WITNESS, derive_key_id(WITNESS, COSIGNATURE, public), COSIGNATURE, public)


def cosign(note: bytes, at_s: int = 1772356600) -> bytes:
    """A checkpoint with the witness's line added."""
    text = note.rpartition(b"\n\n")[0] + b"\n"
    public = WITNESS_KEY.public_key().public_bytes_raw()
    signature = WITNESS_KEY.sign(b"cosignature/v1\ntime %d\n" % at_s + text)
    told = derive_key_id(WITNESS, COSIGNATURE, public) + at_s.to_bytes(8, "big") + signature
    return note + f"— {WITNESS} ".encode() + base64.b64encode(told) + b"\n"


def checkpoint(
    entries: Sequence[bytes], *, size: int | None = None, root: bytes | None = None, log: Signer = LOG
) -> bytes:
    """The published checkpoint over these entries, with both of the log's lines; size and root may lie."""
    found = grow(entries).edge
    head = proof.Checkpoint(ORIGIN, found.size if size is None else size, root or found.root())
    return proof.sign_checkpoint(head, log) + LOG_PQ.cosign(head, 1772356600)


def genesis(**extra: Json) -> bytes:
    told: dict[str, Json] = {
        "origin": ORIGIN,
        "log": LOG.vkey,
        "log_pq": LOG_PQ.vkey,
        "ingest": [INGEST.vkey],
        "dkc": base64.b64encode(commit_key(DIRECTORY_KEY)).decode(),
        **extra,
    }
    return entry.encode(entry.Entry(category="log.genesis", at=WHEN, extra=told), INGEST)


def event(
    index: int, subject: bytes, key: Signer, *, late_s: int = 0, category: str = "bounce.soft"
) -> bytes:
    at = WHEN + timedelta(seconds=index - late_s)
    made = entry.Entry(
        category=category, at=at, occurred_at=at, subject=subject, commitment=bytes([7]) * 32, source="form:x"
    )
    return entry.encode(made, key)


def opened(index: int, person: int, key: Signer) -> bytes:
    dk = entry.directory_key_value(DIRECTORY_KEY, f"person-{person}@example.org", 1)
    dv = entry.directory_value(bytes(32), subject_of(person))
    row: dict[str, Json] = {"dk": base64.b64encode(dk).decode(), "dv": base64.b64encode(dv).decode()}
    made = entry.Entry(category="subject.opened", at=WHEN + timedelta(seconds=index), extra=row)
    return entry.encode(made, key)


def epoch(before: Iterable[bytes], index: int, key: Signer, **changes: Json) -> bytes:
    register = Register()
    for data in before:
        register.add(data)
    stated = {**register.commitment(commit_key(DIRECTORY_KEY)).extra(), **changes}
    made = entry.Entry(category="index.epoch", at=WHEN + timedelta(seconds=index), extra=stated)
    return entry.encode(made, key)


def rotated(index: int) -> bytes:
    made = entry.Entry(
        category="key.rotated", at=WHEN + timedelta(seconds=index), extra={"ingest": [SECOND.vkey]}
    )
    return entry.encode(made, INGEST)


def handover(index: int, *signers: Signer, to: Signer = NEXT) -> bytes:
    """The entry by which the log's key is handed over, signed by all whom it needs, or by fewer."""
    at = WHEN + timedelta(seconds=index)
    made = entry.Entry(category="key.rotated", at=at, extra={"log": to.vkey})
    return entry.encode(made, Joint(*signers))


def subject_of(person: int) -> bytes:
    return random.Random(person).randbytes(32)  # noqa: S311 -- repeatable, not secret


@cache
def entries(size: int = SIZE) -> tuple[bytes, ...]:
    """A whole log: every fourth entry opens somebody, an epoch that lags two entries behind, a new key."""
    made = [genesis()]
    for index in range(1, size):
        key = SECOND if index > ROTATED else INGEST
        if index in EPOCHS:
            made.append(epoch(made[:-2], index, key))
        elif index == ROTATED:
            made.append(rotated(index))
        elif index % 4 == 1:
            made.append(opened(index, index // 4, key))
        else:
            made.append(event(index, subject_of(index // 4 - index % 3), key))
    return tuple(made)


def export(log: Sequence[bytes], *, note: bytes | None = None, size: int | None = None) -> dict[str, bytes]:
    """The files of an export of these entries; `size` is that of the tiles, not of the checkpoint."""
    tree = grow(log)
    size = tree.edge.size if size is None else size
    files = {"checkpoint": checkpoint(log) if note is None else note}
    for tile in tiles(size):
        files[tile.path] = hash_tile(tile, tree.read)
    for tile in entry_tiles(size):
        files[tile.path] = encode_entries(log[tile.first : tile.first + tile.width])
    keys = [INGEST.vkey, *([SECOND.vkey] if rotated(ROTATED) in log else [])]
    files |= beside(log=LOG.vkey, log_pq=LOG_PQ.vkey, ingest=keys, url="https://ledger.example/log")
    return files
