"""One tile of entries, checked on any core: form, signatures, hashes, the order of times.

Pure and self-contained: a `Piece` goes in, a `Found` comes out, and both travel between processes. Most
entries are plain lines with one signature and take a short way here; whatever is unusual takes the way
of `entry.check`, which decides.
"""

import binascii
import re
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Any, Final, TypeAlias

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from service.errors import Malformed, Tampered
from service.ledger.completeness import KEY_CATEGORIES
from service.ledger.cosignature import read_vkey
from service.ledger.entry import MAX_ENTRY_BYTES, VERSION, decode, format_time
from service.ledger.index import read_line
from service.ledger.merkle import HASH_BYTES, leaf_hash
from service.ledger.note import ED25519, Verifier, decode_base64, open_note, split_note
from service.ledger.tiles import WIDTH

RECORD: Final = struct.Struct(">Q32s32s")
"""What the lists are made of: index, leaf hash and subject of an entry; or index, dk and dv of an opening."""
DISORDER: Final = timedelta(seconds=30)
"""How much earlier than its neighbour an entry may have been received (tlog.md 3.3)."""
ROTATED: Final = b'"cat":"key.rotated"'
KEYED: Final = (ROTATED, b'"cat":"log.genesis"')
"""What stands in every entry that names keys, since a line can be written in one way only."""

_PLAIN = re.compile(
    rb"(\{[^\x00-\x1f]*\}\n)\n\xe2\x80\x94 ([^\x00-\x20+]+) ([A-Za-z0-9+/]{91}=)\n"
)  # one line, an empty one, one Ed25519 signature line
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", re.ASCII)
_TEXTS = frozenset({"cat", "at", "occ", "id", "sub", "pc", "src"})
_CATEGORY = re.compile(r"[a-z0-9_.]+")
_DECODE = msgspec.json.Decoder(dict[str, Any]).decode
_ENCODE = msgspec.json.Encoder(order="sorted").encode

_Line: TypeAlias = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Named:
    """Keys that the log itself names: those of entries, and all that ever signed checkpoints."""

    ingest: tuple[Verifier, ...] = ()
    log: tuple[str, ...] = ()
    log_pq: tuple[str, ...] = ()

    def joined(self, other: "Named") -> "Named":
        """Return both, each key once."""
        return Named(
            ingest=tuple(dict.fromkeys(self.ingest + other.ingest)),
            log=tuple(dict.fromkeys(self.log + other.log)),
            log_pq=tuple(dict.fromkeys(self.log_pq + other.log_pq)),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """A tile to check: its entries and its hashes as they came, None where a file is missing.

    `keys` are the keys known before it, None where entry 0 is missing. With a `gap` before it, an entry by
    an unknown key proves nothing.
    """

    origin: str
    index: int
    width: int
    entries: bytes | None
    entries_path: str
    hashes: bytes | None
    hashes_path: str
    keys: tuple[Verifier, ...] | None
    gap: bool = False


@dataclass(slots=True, kw_only=True)
class Found:
    """What a tile holds; `wrong` is the first thing that contradicts, with its place, and ends the check.

    `events` and `openings` are `RECORD`s, `epochs` entries by index, `directory` the commitments to directory
    keys by the index that states them. `times` are those of the first and the last entry.
    """

    leaves: list[bytes] = field(default_factory=list)
    times: tuple[str, str] | None = None
    events: bytes = b""
    openings: bytes = b""
    epochs: list[tuple[int, bytes]] = field(default_factory=list)
    directory: list[tuple[int, bytes]] = field(default_factory=list)
    named: Named = field(default_factory=Named)
    checked: int = 0
    signatures: int = 0
    wrong: str | None = None


def check(piece: Piece) -> Found:
    """Return what the tile holds; never raises for what is in the files."""
    found = Found()
    try:
        hashes = _hashes(piece)
        if piece.entries is None:
            found.leaves = hashes or []
        else:
            _Pass(piece, found).run(piece.entries, hashes)
    except Tampered as error:  # travels as text to the process that judges
        found.wrong = str(error)
    return found


def names_keys(entries: bytes | None) -> bool:
    """Return whether the keys for later tiles may be in this one."""
    return entries is not None and any(mark in entries for mark in KEYED)


def require_order(before: str, after: str) -> None:
    """Raise `Tampered` if an entry was received more than 30 s before its left neighbour."""
    if after < before and datetime.fromisoformat(before) - datetime.fromisoformat(after) > DISORDER:
        raise Tampered(f"it was received at {after}, more than 30 s before its left neighbour at {before}")


def read_named(line: Mapping[str, Any], origin: str) -> Named:
    """Return the keys that a `log.genesis` or `key.rotated` entry names; `Tampered` if one is none."""
    ingest = line.get("ingest", [])
    try:
        keys = tuple(Verifier.from_vkey(str(key)) for key in (ingest if isinstance(ingest, list) else []))
        log, log_pq = (tuple(_texts(line.get(name))) for name in ("log", "log_pq"))
        others = [read_vkey(key) for key in (*log, *log_pq)]
    except Malformed as error:
        raise Tampered(f"it names a key that is none: {error}") from None
    if not all(key.name.startswith(origin + "/") and key.kind == ED25519 for key in keys):
        raise Tampered(f"it names a key for entries that is not one of {origin}")
    if not all(key.name == origin for key in others):
        raise Tampered(f"it names a key for checkpoints that is not one of {origin}")
    return Named(ingest=keys, log=log, log_pq=log_pq)


def _hashes(piece: Piece) -> list[bytes] | None:
    """Return the hashes of the level-0 tile; `Tampered` if its length is wrong."""
    if piece.hashes is None:
        return None
    if len(piece.hashes) != piece.width * HASH_BYTES:
        raise Tampered(
            f"{piece.hashes_path}, byte {min(len(piece.hashes), piece.width * HASH_BYTES)}: the file has "
            f"{len(piece.hashes)} bytes; {piece.width} hashes have {piece.width * HASH_BYTES}"
        )
    return [piece.hashes[at : at + HASH_BYTES] for at in range(0, len(piece.hashes), HASH_BYTES)]


class _Pass:
    """One pass over the entries of a tile, in order."""

    def __init__(self, piece: Piece, found: Found) -> None:
        self._piece = piece
        self._found = found
        self._keys = None if piece.keys is None else list(piece.keys)
        self._events: list[bytes] = []
        self._openings: list[bytes] = []

    def run(self, data: bytes, hashes: list[bytes] | None) -> None:
        position = 0
        for offset in range(self._piece.width):
            index = self._piece.index * WIDTH + offset
            place = f"{self._piece.entries_path}, byte {position} (entry {index})"
            try:
                end = _end(data, position)
                entry = data[position + 2 : end]
                leaf = leaf_hash(entry)
                self._take(index, entry)
                self._note(index, entry, leaf)
            except Tampered as error:
                raise Tampered(f"{place}: {error}") from None
            if hashes is not None and hashes[offset] != leaf:
                raise Tampered(
                    f"{self._piece.hashes_path}, byte {offset * HASH_BYTES} (entry {index}): the hash is not "
                    f"that of the entry at {self._piece.entries_path}, byte {position}"
                )
            position = end
        if position != len(data):
            raise Tampered(
                f"{self._piece.entries_path}, byte {position}: {len(data) - position} bytes follow "
                "the last entry of the tile"
            )
        self._found.events, self._found.openings = b"".join(self._events), b"".join(self._openings)

    def _take(self, index: int, entry: bytes) -> None:
        """Check one entry by itself, and its time against the one before it."""
        line = self._line(index, entry)
        category, at = line["cat"], line["at"]
        if (index == 0) != (category == "log.genesis"):
            raise Tampered("log.genesis stands at index 0 and nowhere else")
        if category in {"log.genesis", "key.rotated"}:
            self._learn(line, category)
        if category in KEY_CATEGORIES and isinstance(line.get("dkc"), str):
            self._found.directory.append((index, decode_base64(line["dkc"])))
        if category == "index.epoch":
            self._found.epochs.append((index, entry))
        first, before = self._found.times or (at, at)
        require_order(before, at)
        self._found.times = (first, at)
        self._found.checked += 1

    def _line(self, index: int, entry: bytes) -> _Line:
        """Return the line of an entry whose signature holds, or could not be checked for want of keys."""
        keys = self._keys
        if index == 0:  # entry 0 is signed by a key that it names itself: the root vouches for it
            keys = list(read_named(decode(entry).extra, self._piece.origin).ingest)
        if keys is not None and (plain := _plain(entry)) is not None:
            line, text, name, signature = plain
            for key in keys:
                if key.key_id == signature[:4] and key.name.encode() == name:
                    _require_signature(key, signature[4:], text)
                    self._found.signatures += 1
                    return line
        return self._line_slowly(entry, keys)

    def _line_slowly(self, entry: bytes, keys: list[Verifier] | None) -> _Line:
        decode(entry)  # decides whether this is a line that the ledger writes
        known = {(key.name, key.key_id) for key in keys or ()}
        strange = not any((line.name, line.key_id) in known for line in split_note(entry)[1])
        if keys is not None and not (strange and self._piece.gap):
            open_note(entry, keys)
            self._found.signatures += 1
        line: _Line = _DECODE(entry.partition(b"\n")[0])
        return line

    def _learn(self, line: _Line, category: str) -> None:
        named = read_named(line, self._piece.origin)
        if category == "log.genesis" and line.get("origin", self._piece.origin) != self._piece.origin:
            raise Tampered(f"this log began as {line['origin']}, not as {self._piece.origin}")
        self._found.named = self._found.named.joined(named)
        if self._keys is not None or category == "log.genesis":
            self._keys = [*(self._keys or ()), *named.ingest]

    def _note(self, index: int, entry: bytes, leaf: bytes) -> None:
        self._found.leaves.append(leaf)
        subject, opened = read_line(entry)
        if subject is not None:
            self._events.append(RECORD.pack(index, leaf, subject))
        if opened is not None:
            self._openings.append(RECORD.pack(index, *opened))


def _end(data: bytes, position: int) -> int:
    """Return where the entry that begins at `position` ends; `Tampered` if the file ends before."""
    start = position + 2
    end = start + int.from_bytes(data[position:start], "big")
    if start > len(data) or end > len(data):
        raise Tampered("the file ends in the middle of this entry, or before it")
    return end


def _plain(entry: bytes) -> tuple[_Line, bytes, bytes, bytes] | None:
    """Return line, signed text, key name, and key id with signature of a plain entry; None for all others."""
    match = _PLAIN.fullmatch(entry)
    if match is None or len(entry) > MAX_ENTRY_BYTES:
        return None
    text, name, encoded = match.groups()
    try:
        line = _DECODE(text)
        signature = binascii.a2b_base64(encoded, strict_mode=True)
        plain = _is_plain(line) and _ENCODE(line) + b"\n" == text
    except (ValueError, Tampered):
        return None
    if not plain or binascii.b2a_base64(signature, newline=False) != encoded:
        return None
    return line, text, name, signature


def _is_plain(line: dict[str, Any]) -> bool:
    """Return whether `entry.decode` surely accepts a line that is written canonically; strict in doubt."""
    version = line.get("v")
    return (
        type(version) is int
        and version == VERSION
        and line.keys() - _TEXTS == {"v"}
        and all(type(value) is str for name, value in line.items() if name != "v")
        and _CATEGORY.fullmatch(line.get("cat", "")) is not None
        and all(_is_time(line[name]) for name in ("at", "occ") if name in line)
        and all(len(decode_base64(line[name])) == HASH_BYTES for name in ("sub", "pc") if name in line)
        and "at" in line
    )


def _is_time(text: str) -> bool:
    """Return whether a text is a time as it is signed; `ValueError` for a day that there never was."""
    return _TIME.fullmatch(text) is not None and format_time(datetime.fromisoformat(text)) == text


_Check: TypeAlias = Callable[[bytes, bytes], None]


def _require_signature(key: Verifier, signature: bytes, text: bytes) -> None:
    try:
        _verify(key.public)(signature, text)
    except InvalidSignature:
        raise Tampered(
            f"the signature by {key.name} does not fit the text; one of them was changed"
        ) from None


@lru_cache(maxsize=1024)
def _verify(public: bytes) -> _Check:
    return Ed25519PublicKey.from_public_bytes(public).verify


def _texts(value: object) -> list[str]:
    return [value] if isinstance(value, str) else []
