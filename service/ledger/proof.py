"""Checkpoints and receipts: what the log signs about itself, and the file that proves one entry.

Pure. A checkpoint (c2sp.org/tlog-checkpoint v1.0.0) is a signed note that names the log, its size and
its root. A receipt is a c2sp.org/tlog-proof file with the entry in its `extra` line: somebody who
knows the log's public key needs nothing else to check it.
"""

import base64
import re
from binascii import b2a_base64
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from service.errors import Tampered
from service.ledger.merkle import HASH_BYTES, leaf_hash, verify_inclusion
from service.ledger.note import Signs, Verifies, decode_base64, open_note

MAX_PROOF_HASHES: Final = 63  # a tree of 2**63 entries

_PROOF_HEADER = b"c2sp.org/tlog-proof@v1"
_DECIMAL = re.compile(rb"0|[1-9][0-9]{0,18}")


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """The log `origin` has `size` entries, and this is their root."""

    origin: str
    size: int
    root: bytes

    def text(self) -> bytes:
        """Return the three lines that are signed."""
        return f"{self.origin}\n{self.size}\n{base64.b64encode(self.root).decode()}\n".encode()

    @classmethod
    def parse(cls, text: bytes) -> "Checkpoint":
        """Return the checkpoint in a verified note text; extension lines are passed over.

        Raises `Tampered` if it is not one.
        """
        origin, _, rest = text.partition(b"\n")
        size, _, rest = rest.partition(b"\n")
        encoded, end, extensions = rest.partition(b"\n")
        if not origin or not end or extensions.startswith(b"\n") or b"\n\n" in extensions:
            raise Tampered("a checkpoint has at least three lines, none of them empty")
        root = decode_base64(encoded)
        if len(root) != HASH_BYTES:
            raise Tampered(f"the root in a checkpoint has {len(root)} bytes; it must have {HASH_BYTES}")
        return cls(origin.decode(), _parse_decimal(size, "the tree size"), root)


@dataclass(frozen=True, slots=True)
class Receipt:
    """What proves that the log holds an entry: where it stands, and the way to a signed root."""

    index: int
    entry: bytes
    proof: tuple[bytes, ...]
    checkpoint_note: bytes


@dataclass(frozen=True, slots=True)
class Verified:
    """A receipt whose proof holds, with the checkpoint that it leads to."""

    receipt: Receipt
    checkpoint: Checkpoint


def sign_checkpoint(checkpoint: Checkpoint, signer: Signs) -> bytes:
    """Return the checkpoint as a signed note; the key's name must be the log's origin."""
    assert signer.name == checkpoint.origin, "a log signs checkpoints with the key that bears its name"
    return signer.sign(checkpoint.text())


def open_checkpoint(note: bytes, verifiers: Sequence[Verifies]) -> Checkpoint:
    """Return the checkpoint in a note that the log itself signed.

    Cosignatures by other known keys are checked, but do not stand in for the log's own. Raises
    `Tampered` if the note, a signature or the checkpoint is wrong.
    """
    opened = open_note(note, verifiers)
    checkpoint = Checkpoint.parse(opened.text)
    if checkpoint.origin not in opened.verified:
        raise Tampered(f"a checkpoint of {checkpoint.origin} is not signed by that log itself")
    return checkpoint


def encode_proof(receipt: Receipt) -> bytes:
    """Return the receipt as a tlog-proof file (`.tlog-proof`)."""
    lines = [
        _PROOF_HEADER,
        b"extra " + base64.b64encode(receipt.entry),
        b"index %d" % receipt.index,
        *map(_encoded, receipt.proof),
        b"",
    ]
    return b"\n".join(lines) + b"\n" + receipt.checkpoint_note


def decode_proof(data: bytes) -> Receipt:
    """Return the receipt in a tlog-proof file, checking its form alone; `Tampered` if that is wrong.

    The file must carry the entry in its `extra` line, as ours do.
    """
    head, gap, note = data.partition(b"\n\n")
    header, extra, index, *nodes = [*head.split(b"\n"), b"", b""]
    if not gap or header != _PROOF_HEADER:
        raise Tampered("this is not a tlog-proof file of version 1")
    if not extra.startswith(b"extra ") or not index.startswith(b"index "):
        raise Tampered("a tlog-proof file of this ledger has a line with the entry, then one with its index")
    proof = tuple(decode_base64(node) for node in nodes[:-2])
    if len(proof) > MAX_PROOF_HASHES or any(len(node) != HASH_BYTES for node in proof):
        raise Tampered(f"an inclusion proof is at most {MAX_PROOF_HASHES} hashes of {HASH_BYTES} bytes")
    entry = decode_base64(extra.removeprefix(b"extra "))
    return Receipt(_parse_decimal(index.removeprefix(b"index "), "the index"), entry, proof, note)


def verify_receipt(data: bytes, verifiers: Sequence[Verifies]) -> Verified:
    """Return the receipt in a tlog-proof file together with the checkpoint that proves it.

    Checks the log's signature and the way from the entry's bytes to the signed root. The entry's own
    signature is another question: `entry.check`. Raises `Tampered` if anything is wrong.
    """
    receipt = decode_proof(data)
    checkpoint = open_checkpoint(receipt.checkpoint_note, verifiers)
    require_inclusion(receipt, checkpoint)
    return Verified(receipt, checkpoint)


def require_inclusion(receipt: Receipt, checkpoint: Checkpoint) -> None:
    """Raise `Tampered` unless the receipt's proof leads to the root of this (verified) checkpoint."""
    leaf = leaf_hash(receipt.entry)
    if not verify_inclusion(receipt.index, checkpoint.size, leaf, receipt.proof, checkpoint.root):
        raise Tampered(
            f"the proof does not show entry {receipt.index} among the {checkpoint.size} of "
            f"{checkpoint.origin}; the entry, its index or the proof was changed"
        )


@lru_cache(maxsize=2048)  # receipts of one batch share most hashes
def _encoded(node: bytes) -> bytes:
    return b2a_base64(node, newline=False)


def _parse_decimal(text: bytes, what: str) -> int:
    if not _DECIMAL.fullmatch(text) or int(text) >= 1 << 63:
        raise Tampered(f"{what} is not a plain decimal number below 2**63")
    return int(text)
