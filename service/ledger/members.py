"""How the members of a bundle are written and read: question, disclosures, completeness, manifest, names.

Pure. Every reader here is strict: it accepts only the bytes that the writer beside it would have
written, and raises `Tampered` for all others.
"""

import base64
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from typing import Any, Final

import msgspec

from service.errors import Malformed, Tampered
from service.ledger.canonical import Json, canonical
from service.ledger.completeness import Completeness
from service.ledger.entry import DirectoryOpening, Disclosure, format_time, parse_time
from service.ledger.index import Absent, Shown
from service.ledger.merkle import HASH_BYTES
from service.ledger.note import decode_base64

CHECKPOINT: Final = "checkpoint"
COMPLETENESS: Final = "completeness.json"
HISTORY: Final = "history.json"
MANIFEST: Final = "manifest"
QUESTION: Final = "question.json"
README: Final = "README.txt"

_TITLE = "consent-ledger bundle v1"
_MANIFEST_LINE = re.compile(r"([0-9a-f]{64})  ([A-Za-z0-9./-]+)")
_NUMBER = r"(0|[1-9][0-9]{0,18})"
_ENTRY = re.compile(rf"entries/{_NUMBER}\.tlog-proof")
_DISCLOSURE = re.compile(rf"disclosures/{_NUMBER}\.json")
_BRACKET = re.compile(r"bracket/(before|after)\.(checkpoint|consistency)")
_STAMP = re.compile(r"tsr/([A-Za-z0-9.-]+)\.(checkpoint|tsr|pem)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """Whose history was asked for, in which log, and when."""

    origin: str
    address: str
    asked_at: datetime


def encode_question(question: Question) -> bytes:
    """Return the question as canonical JSON, its time to the millisecond."""
    return canonical(
        {
            "address": question.address,
            "asked_at": format_time(question.asked_at),
            "origin": question.origin,
        }
    )


def parse_question(data: bytes) -> Question:
    """Return what `question.json` asks; `Tampered` unless it is what `write` writes."""
    try:
        parsed = msgspec.json.decode(data, type=dict[str, str])
        question = Question(
            origin=parsed["origin"], address=parsed["address"], asked_at=parse_time(parsed["asked_at"])
        )
    except (msgspec.MsgspecError, KeyError, ValueError):
        raise Tampered("the question of a bundle is an origin, an address and a time") from None
    if encode_question(question) != data:
        raise Tampered("the question does not read back as the bytes that were written")
    return question


def encode_disclosure(disclosure: Disclosure | DirectoryOpening) -> bytes:
    """Return the disclosure as canonical JSON, bytes in base64."""
    if isinstance(disclosure, DirectoryOpening):
        return canonical({"r": _base64(disclosure.r), "sub": _base64(disclosure.subject)})
    return canonical(
        {
            "closed": {name: _base64(value) for name, value in disclosure.closed.items()},
            "fields": dict(disclosure.fields),
            "salts": {name: _base64(value) for name, value in disclosure.salts.items()},
        }
    )


def parse_disclosure(data: bytes) -> Disclosure | DirectoryOpening:
    """Return what `encode_disclosure` wrote; `Tampered` for anything else."""
    try:
        disclosure = _disclosure(msgspec.json.decode(data, type=dict[str, Any]))
        rewritten = encode_disclosure(disclosure)
    except (msgspec.MsgspecError, KeyError, TypeError, ValueError, AttributeError, RecursionError, Malformed):
        raise Tampered("a disclosure is fields, salts and closed commitments") from None
    if rewritten != data:
        raise Tampered("the disclosure does not read back as the bytes that were written")
    return disclosure


def encode_completeness(shown: Completeness) -> bytes:
    """Return the evidence of completeness as canonical JSON, bytes in base64."""
    line: dict[str, Json] = {
        "edge": _base64(shown.edge),
        "epoch": shown.epoch,
        "next_version": _listed(shown.next_version),
        "subjects": [_listed(one) for one in shown.subjects],
        "tail": [_base64(data) for data in shown.tail],
        "versions": [_listed(one) for one in shown.versions],
    }
    if shown.directory_key is not None:
        line["directory_key"] = _base64(shown.directory_key)
    return canonical(line)


def parse_completeness(data: bytes) -> Completeness:
    """Return what `encode_completeness` wrote; `Tampered` for anything else."""
    try:
        shown = _completeness(msgspec.json.decode(data, type=dict[str, Any]))
        rewritten = encode_completeness(shown)
    except (msgspec.MsgspecError, KeyError, TypeError, ValueError, AttributeError, RecursionError, Malformed):
        raise Tampered("the evidence of completeness is an epoch, rows of its lists and a tail") from None
    if rewritten != data:
        raise Tampered("the evidence of completeness does not read back as the bytes that were written")
    return shown


def manifest_text(origin: str, members: Mapping[str, bytes]) -> bytes:
    """Return the text that the log signs over these members."""
    lines = [f"{sha256(members[name]).hexdigest()}  {name}" for name in sorted(members)]
    return "\n".join([_TITLE, origin, *lines, ""]).encode()


def parse_manifest(text: bytes) -> tuple[str, dict[str, bytes]]:
    """Return the origin and the SHA-256 of each member in a manifest's text; `Tampered` if it is none."""
    title, _, rest = text.decode().partition("\n")
    origin, _, lines = rest.partition("\n")
    matches = [_MANIFEST_LINE.fullmatch(line) for line in lines.removesuffix("\n").split("\n")]
    if title != _TITLE or not all(matches):
        raise Tampered("the manifest is not one of a consent-ledger bundle of version 1")
    hashes = {match[2]: bytes.fromhex(match[1]) for match in matches if match}
    if len(hashes) != len(matches):
        raise Tampered("the manifest names a member twice")
    return origin, hashes


def is_member(name: str) -> bool:
    """Tell whether a bundle may hold a member of this name."""
    fixed = {CHECKPOINT, COMPLETENESS, HISTORY, MANIFEST, QUESTION, README}
    return name in fixed or bool(_ENTRY.fullmatch(name) or _DISCLOSURE.fullmatch(name)) or is_anchor(name)


def is_anchor(name: str) -> bool:
    """Tell whether a member of this name is what others said about the log: a bracket, or a time stamp."""
    return bool(_BRACKET.fullmatch(name) or _STAMP.fullmatch(name))


def bracket_name(role: str, ending: str) -> str:
    """Return the member of a bracket's end, `before` or `after`: its `checkpoint`, or its `consistency`."""
    return f"bracket/{role}.{ending}"


def bracket_roles(names: Iterable[str]) -> list[str]:
    """Return the ends of the bracket among these member names, of which either file may be missing."""
    return sorted({match[1] for match in map(_BRACKET.fullmatch, names) if match})


def stamp_name(stem: str, ending: str) -> str:
    """Return the member of a time stamp: what it is over (`checkpoint`), its `tsr`, its chain (`pem`)."""
    return f"tsr/{stem}.{ending}"


def stamp_stems(names: Iterable[str]) -> list[str]:
    """Return the time stamps among these member names, of which any file may be missing."""
    return sorted({match[1] for match in map(_STAMP.fullmatch, names) if match})


def encode_path(path: Iterable[bytes]) -> bytes:
    """Return hashes as lines of base64: a consistency proof."""
    return b"".join(base64.b64encode(node) + b"\n" for node in path)


def parse_path(data: bytes) -> list[bytes]:
    """Return what `encode_path` wrote; `Tampered` for anything else."""
    try:
        path = [decode_base64(line) for line in data.decode().split("\n")[:-1]]
    except (Malformed, Tampered, ValueError):
        path = []
    if encode_path(path) != data or any(len(node) != HASH_BYTES for node in path):
        raise Tampered("a consistency proof is hashes in base64, one to a line")
    return path


def entry_indexes(names: Iterable[str]) -> list[int]:
    """Return the indexes of the entries among these member names, ascending."""
    return sorted(int(match[1]) for match in map(_ENTRY.fullmatch, names) if match)


def disclosure_indexes(names: Iterable[str]) -> list[int]:
    """Return the indexes of the disclosures among these member names, ascending."""
    return sorted(int(match[1]) for match in map(_DISCLOSURE.fullmatch, names) if match)


def entry_name(index: int) -> str:
    """Return the member that holds an entry."""
    return f"entries/{index}.tlog-proof"


def disclosure_name(index: int) -> str:
    """Return the member that holds the opened part of an entry's payload."""
    return f"disclosures/{index}.json"


def _disclosure(parsed: dict[str, Any]) -> Disclosure | DirectoryOpening:
    """Return the disclosure in parsed JSON; the caller turns whatever is raised here into `Tampered`."""
    if "r" in parsed:
        return DirectoryOpening(r=decode_base64(parsed["r"]), subject=decode_base64(parsed["sub"]))
    return Disclosure(
        fields=dict(parsed["fields"]),
        salts={name: decode_base64(value) for name, value in parsed["salts"].items()},
        closed={name: decode_base64(value) for name, value in parsed["closed"].items()},
    )


def _listed(listed: Shown | Absent | None) -> Json:
    if listed is None:
        return None
    if isinstance(listed, Absent):
        return {"left": _listed(listed.left), "right": _listed(listed.right)}
    path = [_base64(node) for node in listed.path]
    return {"path": path, "position": listed.position, "row": _base64(listed.row)}


def _completeness(parsed: dict[str, Any]) -> Completeness:
    """Return the evidence in parsed JSON; the caller turns whatever is raised here into `Tampered`."""
    key = parsed.get("directory_key")
    if type(parsed["epoch"]) is not int:
        raise TypeError("an epoch is named by its index")
    return Completeness(
        epoch=parsed["epoch"],
        edge=decode_base64(parsed["edge"]),
        versions=tuple(_shown(one) for one in parsed["versions"]),
        next_version=_absent(parsed["next_version"]),
        subjects=tuple(_shown(one) if "row" in one else _absent(one) for one in parsed["subjects"]),
        tail=tuple(decode_base64(data) for data in parsed["tail"]),
        directory_key=None if key is None else decode_base64(key),
    )


def _absent(parsed: dict[str, Any]) -> Absent:
    left, right = parsed["left"], parsed["right"]
    return Absent(left=left and _shown(left), right=right and _shown(right))


def _shown(parsed: dict[str, Any]) -> Shown:
    path = tuple(decode_base64(node) for node in parsed["path"])
    if type(parsed["position"]) is not int or any(len(node) != HASH_BYTES for node in path):
        raise ValueError("a row stands at a position, and its path is hashes")
    return Shown(row=decode_base64(parsed["row"]), position=parsed["position"], path=path)


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()
