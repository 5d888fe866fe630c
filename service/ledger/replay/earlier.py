"""What the log signed earlier and somebody kept: checkpoints, receipts, bundles, the nightly mail.

Pure. Each must be a part of the log as it is now: its root is that of the log at its size, and its entries
stand where it says. Nothing of it is believed before `Earlier.notes` have been opened with the log's keys.
"""

import email
import email.policy
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from service.errors import Tampered
from service.ledger import archive, members
from service.ledger.merkle import EMPTY, leaf_hash
from service.ledger.note import Verifies, split_note
from service.ledger.proof import Checkpoint, decode_proof, open_checkpoint, require_inclusion

_PROOF: Final = b"c2sp.org/tlog-proof@"
_ZIP: Final = b"PK"
_MAIL: Final = re.compile(rb"\s*[A-Za-z-]+: ")  # a header; no origin has a space in it


@dataclass(frozen=True, slots=True, kw_only=True)
class Earlier:
    """One file that was kept: its checkpoints as notes, and leaf hashes by the index that it gives them."""

    name: str
    notes: tuple[bytes, ...]
    leaves: Mapping[int, bytes] = field(default_factory=dict)


def read(name: str, data: bytes) -> Earlier:
    """Return what a file shows, by its form alone; `Tampered` if it is none of the four kinds."""
    try:
        if data.startswith(_ZIP):
            return _of_bundle(name, data)
        if data.startswith(_PROOF):
            return _of_receipt(name, data)
        if _MAIL.match(data):
            return Earlier(name=name, notes=_of_mail(data))
        parse(data)
        return Earlier(name=name, notes=(data,))
    except Tampered as error:
        raise Tampered(f"{name}: {error}") from None


def sizes(earlier: Sequence[Earlier]) -> set[int]:
    """Return the sizes that are stated, not yet believed: where the log's root must be taken."""
    return {parse(note).size for one in earlier for note in one.notes}


def open_notes(one: Earlier, keys: Sequence[Verifies], origin: str) -> list[Checkpoint]:
    """Return the checkpoints that the log signed then; `Tampered` if it did not, or if another log did."""
    found = []
    for note in one.notes:
        try:
            then = open_checkpoint(note, keys)
        except Tampered as error:
            raise Tampered(f"{one.name}: {error}") from None
        if then.origin != origin:
            raise Tampered(f"{one.name} is about another log, {then.origin}")
        found.append(then)
    return found


def require_root(name: str, then: Checkpoint, roots: Mapping[int, bytes]) -> bool:
    """Return whether it could be compared: `roots` has none for sizes that are out of reach.

    Raises `Tampered` if the log has another root at that size than it signed.
    """
    root = EMPTY if then.size == 0 else roots.get(then.size)
    if root is not None and root != then.root:
        raise Tampered(
            f"{name}: the log signed another history of its first {then.size} entries; "
            "it was rewritten since, or shows different people different logs"
        )
    return root is not None


def _of_bundle(name: str, data: bytes) -> Earlier:
    files = archive.unpack(data)
    note = files.get(members.CHECKPOINT)
    if note is None:
        raise Tampered("the bundle has no checkpoint")
    head, leaves = parse(note), {}
    for index in members.entry_indexes(files):
        receipt = decode_proof(files[members.entry_name(index)])
        require_inclusion(receipt, head)
        leaves[receipt.index] = leaf_hash(receipt.entry)
    return Earlier(name=name, notes=(note,), leaves=leaves)


def _of_receipt(name: str, data: bytes) -> Earlier:
    receipt = decode_proof(data)
    require_inclusion(receipt, parse(receipt.checkpoint_note))
    leaves = {receipt.index: leaf_hash(receipt.entry)}
    return Earlier(name=name, notes=(receipt.checkpoint_note,), leaves=leaves)


def _of_mail(data: bytes) -> tuple[bytes, ...]:
    """Return the checkpoints that are attached to a mail, as they were attached."""
    letter = email.message_from_bytes(data, policy=email.policy.default)
    found = []
    for part in letter.walk():
        if (part.get_filename() or "").startswith("checkpoint"):
            content = part.get_payload(decode=True)
            found.append(content if isinstance(content, bytes) else b"")
    if not found:
        raise Tampered("no checkpoint is attached to this mail")
    for note in found:
        parse(note)
    return tuple(found)


def parse(note: bytes) -> Checkpoint:
    """Return the checkpoint in a note, which is not yet believed; `Tampered` if it is none."""
    return Checkpoint.parse(split_note(note)[0])
