"""The signed line of the ledger, and the salted commitments that stand in it for personal data.

Pure. An entry is one line of restricted RFC 8785 JSON as a signed note. Its bytes are stored, hashed
and proven as they are and never written again: `decode` accepts only what `encode` would have written.

    salt_f = HMAC-SHA-256(event_salt, "field:" || f)
    c_f    = base64(HMAC-SHA-256(salt_f, JCS(value_f)))
    pc     = SHA-256(JCS({f: c_f, ...}))

So one field of a payload can be disclosed while the others stay closed, and destroying the salts
closes all of them for good.
"""

import hmac
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from hashlib import sha256
from typing import Any, Final

import msgspec

from service.errors import Malformed, Tampered, TooLarge
from service.ledger.canonical import Json, canonical, canonical_object, require_profile
from service.ledger.mac import Mac, mac
from service.ledger.note import Signs, Verifier, decode_base64, open_note, split_note

VERSION: Final = 1
MAX_ENTRY_BYTES: Final = 65_535  # the length field of an entry bundle (c2sp.org/tlog-tiles) has 16 bits

_RESERVED = frozenset({"v", "cat", "at", "occ", "id", "sub", "pc", "src", "srcn"})
_CATEGORY = re.compile(r"[a-z0-9_.]+")
_RANDOM_BYTES = 32  # subjects, salts, openings: what cannot be guessed


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One thing that happened, as the ledger signs it; nothing in it tells who the person is.

    `at` is our time and `occurred_at` the source's, both UTC and written to the millisecond. `subject`
    is a person's 32 random bytes, `commitment` the 32 bytes of `commit`. `source_number` is the
    source's own dense counter, when it counts. `extra` holds what a category of the log itself adds,
    such as dk and dv of `subject.opened`.
    """

    category: str
    at: datetime
    occurred_at: datetime | None = None
    id: str | None = None
    subject: bytes | None = None
    commitment: bytes | None = None
    source: str | None = None
    source_number: int | None = None
    extra: Mapping[str, Json] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for moment in (self.at, self.occurred_at):
            if moment is not None and moment.tzinfo is not UTC and moment.utcoffset() != timedelta(0):
                raise ValueError("the times of an entry are in UTC and say so")
        for value in (self.subject, self.commitment):
            if value is not None and len(value) != _RANDOM_BYTES:
                raise ValueError("subject and commitment have 32 bytes")
        if not _is_category(self.category):
            raise ValueError("a category is lower-case letters, digits, dots and underscores")
        if self.source_number is not None and (self.source is None or self.source_number < 0):
            raise ValueError("a source's counter needs the source and is not negative")
        if self.extra and (taken := _RESERVED & self.extra.keys()):
            raise ValueError(f"extra may not use the entry's own fields {sorted(taken)}")


def encode(entry: Entry, signer: Signs) -> bytes:
    """Return the entry's bytes: one line of canonical JSON, signed. Times are cut to the millisecond.

    Raises `Malformed` if `extra` leaves the JSON profile and `TooLarge` beyond 65,535 bytes.
    """
    data = signer.sign(_line(entry))
    if len(data) > MAX_ENTRY_BYTES:
        raise TooLarge(
            f"an entry of {len(data)} bytes is over the limit of {MAX_ENTRY_BYTES}; "
            "put what is long into the payload, which is sealed beside the entry"
        )
    return data


def decode(data: bytes) -> Entry:
    """Return the entry in these bytes, without checking its signature.

    For bytes that the ledger's tree already vouches for. Raises `Tampered` unless `encode` would have
    written exactly this line.
    """
    return _decode_line(_require_size(data), split_note(data)[0])


def check(data: bytes, verifiers: Sequence[Verifier]) -> Entry:
    """Return the entry in these bytes if one of the keys signed it; `Tampered` otherwise."""
    return _decode_line(_require_size(data), open_note(data, verifiers).text)


@dataclass(frozen=True, slots=True, kw_only=True)
class Opening:
    """Everything behind a commitment; whoever holds it can disclose any field."""

    event_salt: bytes
    fields: Mapping[str, Json]


@dataclass(frozen=True, slots=True, kw_only=True)
class Disclosure:
    """Some fields of a payload with their salts, and the commitments of those that stay closed."""

    fields: Mapping[str, Json]
    salts: Mapping[str, bytes]
    closed: Mapping[str, bytes]


def commit(fields: Mapping[str, Json], event_salt: bytes) -> bytes:
    """Return the payload commitment `pc` over these fields; the salt is 32 random bytes, one per event.

    Raises `Malformed` if a field leaves the JSON profile of `canonical`.
    """
    assert len(event_salt) == _RANDOM_BYTES, "an event's salt has 32 bytes"
    salt = Mac(event_salt)
    return _seal({name: mac(salt(_salted(name)), canonical(value)) for name, value in fields.items()})


def disclose(opening: Opening, names: Sequence[str]) -> Disclosure:
    """Return what proves the named fields and nothing else; all names together open the whole payload.

    Raises `KeyError` if the payload has no such field.
    """
    salts = {name: _salt(opening.event_salt, name) for name in opening.fields}
    return Disclosure(
        fields={name: opening.fields[name] for name in names},
        salts={name: salts[name] for name in names},
        closed={
            name: _commit_field(salts[name], value)
            for name, value in opening.fields.items()
            if name not in names
        },
    )


def verify_disclosure(commitment: bytes, disclosure: Disclosure) -> Mapping[str, Json]:
    """Return the disclosed fields if they are what the commitment stood for; `Tampered` otherwise."""
    opened = disclosure.fields
    if opened.keys() != disclosure.salts.keys() or opened.keys() & disclosure.closed.keys():
        raise Tampered("a disclosure needs one salt for each open field, and no field both open and closed")
    commitments = {name: _commit_field(disclosure.salts[name], value) for name, value in opened.items()}
    if not hmac.compare_digest(_seal({**commitments, **disclosure.closed}), commitment):
        raise Tampered("the disclosed fields are not those that the entry committed to")
    return opened


@dataclass(frozen=True, slots=True, kw_only=True)
class DirectoryOpening:
    """What shows that a `subject.opened` entry leads to this subject: `directory_value` of both is its dv."""

    r: bytes
    subject: bytes


def directory_key_value(directory_key: bytes, address: str, version: int) -> bytes:
    """Return dk, under which the normalised address stands in the directory.

    Version 1 is a person's first time here; each return after an erasure counts one more.
    """
    return hmac.digest(directory_key, f"dir1\n{address}\n{version}".encode(), "sha256")


def directory_value(r: bytes, subject: bytes) -> bytes:
    """Return dv, which commits to the subject that a directory row leads to; `r` is 32 random bytes."""
    return hmac.digest(r, b"dirval1" + subject, "sha256")


@lru_cache(maxsize=256)  # an entry has its time up to three times
def format_time(moment: datetime) -> str:
    """Return the UTC time as it is signed: YYYY-MM-DDTHH:MM:SS.mmmZ, cut to the millisecond."""
    return moment.isoformat(timespec="milliseconds")[:23] + "Z"


def parse_time(text: str) -> datetime:
    """Return the time in a text like those of `format_time`; `ValueError` if it is none.

    Other spellings of the same moment pass: a strict reader formats the time again and compares.
    """
    if not text.endswith("Z"):
        raise ValueError("times are in UTC and end in Z")
    return datetime.fromisoformat(text).astimezone(UTC)


@lru_cache(maxsize=256)
def _is_category(text: str) -> bool:
    return _CATEGORY.fullmatch(text) is not None


def _line(entry: Entry) -> bytes:
    line: dict[str, object] = {"v": VERSION, "cat": entry.category, "at": format_time(entry.at)}
    if entry.extra:
        require_profile(dict(entry.extra))
        line.update(entry.extra)
    if entry.occurred_at is not None:
        line["occ"] = format_time(entry.occurred_at)
    if entry.subject is not None:
        line["sub"] = entry.subject
    if entry.commitment is not None:
        line["pc"] = entry.commitment
    if entry.id is not None:
        line["id"] = entry.id
    if entry.source is not None:
        line["src"] = entry.source
    if entry.source_number is not None:
        require_profile(entry.source_number)
        line["srcn"] = entry.source_number
    return canonical_object(line) + b"\n"


def _require_size(data: bytes) -> bytes:
    if len(data) > MAX_ENTRY_BYTES:
        raise Tampered(f"an entry of {len(data)} bytes is longer than the ledger ever writes")
    return data


def _decode_line(data: bytes, text: bytes) -> Entry:
    try:
        entry = _parse(msgspec.json.decode(text, type=dict[str, Any]))
        rewritten = _line(entry)
    except (msgspec.MsgspecError, ValueError, KeyError, TypeError, AttributeError, RecursionError, Malformed):
        raise Tampered("an entry is not a line that this ledger writes") from None
    if rewritten != text or not data.startswith(text + b"\n"):
        raise Tampered("an entry does not read back as the bytes that were signed")
    return entry


def _parse(line: dict[str, Any]) -> Entry:
    """Return the entry in a parsed line; the caller turns whatever is raised here into `Tampered`."""
    if line["v"] != VERSION:
        raise ValueError("unknown version")
    return Entry(
        category=line["cat"],
        at=parse_time(line["at"]),
        occurred_at=parse_time(line["occ"]) if "occ" in line else None,
        id=_parse_text(line.get("id")),
        subject=decode_base64(line["sub"]) if "sub" in line else None,
        commitment=decode_base64(line["pc"]) if "pc" in line else None,
        source=_parse_text(line.get("src")),
        source_number=_parse_number(line.get("srcn")),
        extra={name: value for name, value in line.items() if name not in _RESERVED},
    )


def _parse_text(value: object) -> str | None:
    if value is not None and not isinstance(value, str):
        raise TypeError("not a text")
    return value


def _parse_number(value: object) -> int | None:
    if value is not None and type(value) is not int:  # bool is a kind of int, but no counter
        raise TypeError("not a number")
    return value


def _salt(event_salt: bytes, name: str) -> bytes:
    return mac(event_salt, _salted(name))


@lru_cache(maxsize=256)
def _salted(name: str) -> bytes:
    return b"field:" + name.encode()


def _commit_field(salt: bytes, value: Json) -> bytes:
    return mac(salt, canonical(value))


def _seal(commitments: Mapping[str, bytes]) -> bytes:
    return sha256(canonical_object(commitments)).digest()
