"""The two sorted lists that an `index.epoch` entry commits to, so that nothing can be left out.

Pure (tlog.md 3.9 c). One list has a row for each subject that any entry is about, the other a row for
each entry that opened a subject in the directory. Both are sorted by key, hold no key twice and are
hashed as RFC 6962 trees; so one path shows that a row is there, and two neighbouring rows show that
none is in between. Whoever holds the entries builds the same lists: `register.Register` does.

    subject leaf   = "idx1" || sub || u64 count || MTH over (u64 index || leaf hash) of that subject's entries
    directory leaf = "dir1" || dk || dv || u64 index of the entry that opened it
    dkc            = SHA-256("dirkey1" || directory key)
"""

import base64
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, Final

import msgspec

from service.errors import Tampered
from service.ledger import merkle
from service.ledger.canonical import Json
from service.ledger.merkle import EMPTY, HASH_BYTES, Read, leaf_hash
from service.ledger.note import decode_base64

SUBJECTS: Final = b"idx1"
DIRECTORY: Final = b"dir1"
ROW_BYTES: Final = 76  # of both kinds: 4 + 32 + 8 + 32, and 4 + 32 + 32 + 8

_KEY = slice(4, 36)  # sub, or dk
_MOST = 1 << 53  # rows; an integer beyond it cannot be signed


@dataclass(frozen=True, slots=True, kw_only=True)
class Commitment:
    """What an `index.epoch` entry says: both lists over the first `covered` entries, by size and root.

    `key_commitment` is dkc: without it a second directory key could "prove" that an address was never known.
    """

    covered: int
    subjects: int
    subject_root: bytes
    openings: int
    directory_root: bytes
    key_commitment: bytes

    def extra(self) -> dict[str, Json]:
        """Return the fields of the signed line."""
        return {
            "n": self.covered,
            "ss": self.subjects,
            "sr": _base64(self.subject_root),
            "ds": self.openings,
            "dr": _base64(self.directory_root),
            "dkc": _base64(self.key_commitment),
        }

    @classmethod
    def parse(cls, extra: Mapping[str, Any]) -> "Commitment":
        """Return the commitment in the fields of an entry; `Tampered` if it is none."""
        roots = [decode_base64(str(extra.get(name, ""))) for name in ("sr", "dr", "dkc")]
        counts = [extra.get(name) for name in ("n", "ss", "ds")]
        if any(len(root) != HASH_BYTES for root in roots) or not all(_is_count(count) for count in counts):
            raise Tampered("an index epoch states three counts and three hashes, and this entry does not")
        return cls(
            covered=int(counts[0] or 0),
            subjects=int(counts[1] or 0),
            subject_root=roots[0],
            openings=int(counts[2] or 0),
            directory_root=roots[1],
            key_commitment=roots[2],
        )

    def listing(self, kind: bytes) -> tuple[int, bytes]:
        """Return size and root of one of the two lists."""
        if kind == SUBJECTS:
            return self.subjects, self.subject_root
        return self.openings, self.directory_root


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """A row of a list at its position, with its way to the list's root."""

    row: bytes
    position: int
    path: tuple[bytes, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Absent:
    """The neighbours between which a key would stand; None at an end of the list."""

    left: Shown | None
    right: Shown | None


def commit_key(directory_key: bytes) -> bytes:
    """Return dkc, which binds every claim about an address to one directory key."""
    return sha256(b"dirkey1" + directory_key).digest()


def event_leaf(index: int, entry_hash: bytes) -> bytes:
    """Return one entry's hash as a leaf of its subject's own small tree."""
    return leaf_hash(index.to_bytes(8, "big") + entry_hash)


def subject_row(subject: bytes, count: int, root: bytes) -> bytes:
    """Return the row of a subject with this many entries, whose hashes have this root."""
    return SUBJECTS + subject + count.to_bytes(8, "big") + root


def directory_row(dk: bytes, dv: bytes, opened: int) -> bytes:
    """Return the row of the entry at index `opened`, which opened a subject."""
    return DIRECTORY + dk + dv + opened.to_bytes(8, "big")


def key_of(row: bytes) -> bytes:
    """Return what a row is sorted by: sub or dk."""
    return row[_KEY]


def opening_of(row: bytes) -> tuple[bytes, bytes, int]:
    """Return dk, dv and the index of the opening entry in a row of the directory."""
    return row[_KEY], row[36:68], int.from_bytes(row[68:], "big")


class _Line(msgspec.Struct):
    """The fields of a signed line that the lists are made of."""

    sub: bytes | None = None
    dk: bytes | None = None
    dv: bytes | None = None


_DECODER = msgspec.json.Decoder(_Line)


def read_line(entry: bytes) -> tuple[bytes | None, tuple[bytes, bytes] | None]:
    """Return the subject that an entry is about, and the (dk, dv) that it opens; None where it has none.

    For entries that the tree vouches for. Raises `Tampered` if the line cannot be read.
    """
    try:
        line = _DECODER.decode(entry.partition(b"\n")[0])
    except msgspec.MsgspecError:
        raise Tampered("an entry's line cannot be read") from None
    opened = None if line.dk is None or line.dv is None else (line.dk, line.dv)
    if any(len(value) != HASH_BYTES for value in (line.sub or bytes(HASH_BYTES), *(opened or ()))):
        raise Tampered("an entry names a subject or a directory row that has not 32 bytes")
    return line.sub, opened


def show(key: bytes, position: int, size: int, row_at: Callable[[int], bytes], read: Read) -> Shown | Absent:
    """Return what shows that a sorted list of `size` rows has a key or not.

    `position` counts the rows with a smaller key; `read` gives stored hashes of the list's tree.
    """
    around = [at for at in (position - 1, position) if 0 <= at < size]
    paths = merkle.inclusion_proofs(around, size, read)
    shown = {at: Shown(row=row_at(at), position=at, path=tuple(paths[at])) for at in around}
    here = shown.get(position)
    if here is not None and key_of(here.row) == key:
        return here
    return Absent(left=shown.get(position - 1), right=here)


def require_shown(shown: Shown, kind: bytes, commitment: Commitment) -> None:
    """Raise `Tampered` unless the list that was committed to has this row at this position."""
    size, root = commitment.listing(kind)
    if len(shown.row) != ROW_BYTES or not shown.row.startswith(kind):
        raise Tampered("a row of the index has another form than its list")
    if not merkle.verify_inclusion(shown.position, size, leaf_hash(shown.row), shown.path, root):
        raise Tampered("a row of the index is not in the list that the epoch committed to")


def require_absent(key: bytes, absent: Absent, kind: bytes, commitment: Commitment) -> None:
    """Raise `Tampered` unless the two rows are neighbours in the list and the key lies between them."""
    size, root = commitment.listing(kind)
    left, right = absent.left, absent.right
    for neighbour in filter(None, (left, right)):
        require_shown(neighbour, kind, commitment)
    first = 0 if left is None else left.position + 1
    if first != (size if right is None else right.position):
        raise Tampered("two rows of the index are not neighbours, so another one could be between them")
    if size == 0 and root != EMPTY:
        raise Tampered("a list without rows has the root of the empty tree, and this one has not")
    if (left and key_of(left.row) >= key) or (right and key_of(right.row) <= key):
        raise Tampered("the rows that are shown do not enclose the key that is said to be absent")


def _is_count(value: object) -> bool:
    return type(value) is int and 0 <= value < _MOST


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()
