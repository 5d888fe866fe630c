"""Fixed keys, the foreign vectors, a small log and its bundle, for the tests of what is signed."""

import base64
import json
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

from service.ledger import bundle, entry, index, merkle, proof
from service.ledger.canonical import Json
from service.ledger.completeness import Completeness
from service.ledger.note import Signer, Verifier
from service.ledger.register import Register

FOLDER = Path(__file__).parent.parent / "vectors"
VECTORS: dict[str, Any] = json.loads((FOLDER / "tlog.json").read_text())
"""Vectors made and checked by other implementations; the keys in it are test keys."""

ORIGIN = "ledger.example/test-1"
WHEN = datetime(2026, 3, 1, 9, 15, tzinfo=UTC)
LOG = Signer(ORIGIN, bytes([1]) * 32)
INGEST = Signer(f"{ORIGIN}/ingest-1", bytes([2]) * 32)
SALT = bytes([3]) * 32
DIRECTORY_KEY = bytes(32)
SUBJECT = bytes(range(32))
DIRECTORY = entry.DirectoryOpening(r=bytes(range(32, 64)), subject=SUBJECT)
FIELDS: dict[str, Json] = {
    "address": "Ana@Example.org",
    "ip": "192.0.2.7",
    "notice": "Ich möchte Post \U0001f642",
    "count": 3,
}
"""A payload as a form gives it: plain text, text beyond ASCII and beyond the BMP, a number."""


def signer(name: str) -> Signer:
    """An Ed25519 key of the vectors."""
    key = VECTORS["keys"][name]
    return Signer(key["name"], bytes.fromhex(key["seed"]))


def verifier(name: str) -> Verifier:
    return Verifier.from_vkey(VECTORS["keys"][name]["vkey_text"])


def flipped(data: bytes) -> Iterator[bytes]:
    """The data once for each of its bytes, with that byte changed; the same changes in every run."""
    draw = random.Random(1)  # noqa: S311 -- repeatable, not secret
    for position in range(len(data)):
        changed = bytearray(data)
        changed[position] ^= draw.randint(1, 255)
        yield bytes(changed)


@dataclass
class Tree:
    """What a database would store of a log: leaf hashes, and the roots of full subtrees of 256**level."""

    stored: dict[tuple[int, int], bytes] = field(default_factory=dict)
    edge: merkle.Edge = field(default_factory=merkle.Edge)
    reads: int = 0

    def add(self, leaf: bytes) -> None:
        self.stored[0, self.edge.size] = leaf
        for level, place, node in self.edge.add(leaf):
            self.stored[level, place] = node

    def read(self, coordinates: Sequence[tuple[int, int]]) -> list[bytes]:
        self.reads += 1
        return [self.stored[coordinate] for coordinate in coordinates]


def grow(entries: Sequence[bytes]) -> Tree:
    tree = Tree()
    for data in entries:
        tree.add(merkle.leaf_hash(data))
    return tree


@cache
def sequential(size: int) -> Tree:
    """The tree over 'leaf 0', 'leaf 1' ... of the vectors."""
    return grow([b"leaf %d" % index for index in range(size)])


def genesis_entry() -> bytes:
    dkc = base64.b64encode(index.commit_key(DIRECTORY_KEY)).decode()
    keys: dict[str, Json] = {"log": LOG.vkey, "ingest": [INGEST.vkey], "dkc": dkc}
    return entry.encode(entry.Entry(category="log.genesis", at=WHEN, extra=keys), INGEST)


def opened_entry() -> bytes:
    dk = entry.directory_key_value(DIRECTORY_KEY, "ana@example.org", 1)
    dv = entry.directory_value(DIRECTORY.r, DIRECTORY.subject)
    row = {"dk": base64.b64encode(dk).decode(), "dv": base64.b64encode(dv).decode()}
    return entry.encode(entry.Entry(category="subject.opened", at=WHEN, extra=row), INGEST)


def event(fields: Mapping[str, Json] = FIELDS, subject: bytes = SUBJECT) -> entry.Entry:
    return entry.Entry(
        category="consent.granted",
        at=WHEN,
        occurred_at=WHEN,
        id="019552a0-0000-7000-8000-000000000001",
        subject=subject,
        commitment=entry.commit(fields, SALT),
        source="web-form",
        source_number=1,
    )


def event_entry(fields: Mapping[str, Json] = FIELDS, subject: bytes = SUBJECT, key: Signer = INGEST) -> bytes:
    return entry.encode(event(fields, subject), key)


def show(*names: str, fields: Mapping[str, Json] = FIELDS) -> entry.Disclosure:
    return entry.disclose(entry.Opening(event_salt=SALT, fields=fields), names)


def assemble(
    entries: Mapping[int, bytes], disclosures: Mapping[int, Any], *, size: int = 7, **changes: Any
) -> bundle.Bundle:
    """A bundle of these entries from a log of `size` whose other entries are filler."""
    tree = grow([entries.get(index, b"filler %d" % index) for index in range(size)])
    note = proof.sign_checkpoint(proof.Checkpoint(ORIGIN, size, tree.edge.root()), LOG)
    items = tuple(
        bundle.Item(
            index=index,
            entry=data,
            proof=tuple(merkle.inclusion_proof(index, size, tree.read)),
            disclosure=disclosures.get(index),
        )
        for index, data in entries.items()
    )
    asked = {"address": "ana@example.org", "asked_at": WHEN, "history": b'{"events":1}'}
    return bundle.Bundle(**{**asked, "origin": ORIGIN, "checkpoint_note": note, "items": items, **changes})


def small(genesis: bytes | None = None) -> bundle.Bundle:
    """Genesis, one person opened, one consent with two of its four fields shown, in a log of seven."""
    entries = {0: genesis or genesis_entry(), 2: opened_entry(), 5: event_entry()}
    return assemble(entries, {2: DIRECTORY, 5: show("address", "notice")})


def complete(genesis: bytes | None = None) -> bundle.Bundle:
    """Genesis, one person opened, one consent, the epoch over them, and one entry about nobody after it."""
    covered = [genesis or genesis_entry(), opened_entry(), event_entry()]
    register, edge = Register(), merkle.Edge()
    for data in covered:
        register.add(data)
        edge.add(merkle.leaf_hash(data))
    stated = register.commitment(index.commit_key(DIRECTORY_KEY)).extra()
    epoch = entry.encode(entry.Entry(category="index.epoch", at=WHEN, extra=stated), INGEST)
    after = entry.encode(entry.Entry(category="access", at=WHEN, source="auditor:x"), INGEST)
    first, second = (entry.directory_key_value(DIRECTORY_KEY, "ana@example.org", n) for n in (1, 2))
    shown = Completeness(
        epoch=3,
        edge=edge.to_bytes(),
        versions=(_row(register, index.DIRECTORY, first),),
        next_version=_gap(register, second),
        subjects=(_row(register, index.SUBJECTS, SUBJECT),),
        tail=(epoch, after),
        directory_key=DIRECTORY_KEY,
    )
    log = dict(enumerate([*covered, epoch, after]))
    opened = {1: DIRECTORY, 2: show("address", "notice")}
    whole = assemble(log, opened, size=5, completeness=shown)
    return replace(whole, items=whole.items[:4])


def _row(register: Register, kind: bytes, key: bytes) -> index.Shown:
    found = register.show(kind, key)
    assert isinstance(found, index.Shown)
    return found


def _gap(register: Register, key: bytes) -> index.Absent:
    found = register.show(index.DIRECTORY, key)
    assert isinstance(found, index.Absent)
    return found
