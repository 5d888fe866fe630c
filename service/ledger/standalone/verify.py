#!/usr/bin/env python3
"""Check a consent ledger's evidence with nothing but the log's public key. One file, on purpose.

    python3 verify.py WHAT --key KEY [--since FILE]... [--policy FILE] [--tsa FILE]

WHAT is a bundle (zip) or the folder of an export; --since names what the log signed earlier: a checkpoint,
receipt, bundle, export or nightly mail. Prints `good`, `bad` or `incomplete` with the first reason and exits
with 0, 1 or 2. Needs Python 3.11 and `cryptography` 48. It shares no code with the service that wrote the
evidence, and goes other ways where it can: every root by the recursive definition of RFC 6962.
"""

import argparse
import base64
import email
import email.policy
import hashlib
import hmac
import io
import json
import re
import sqlite3
import sys
import unicodedata
import zipfile
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeAlias

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, mldsa, padding, rsa

Key: TypeAlias = tuple[str, bytes, int, bytes]  # name, key id, type, public key
Line: TypeAlias = dict[str, Any]  # what an entry says
Row: TypeAlias = tuple[int, bytes]  # size and root of a list
ED25519, COSIGNED, MLDSA = 1, 4, 6
DISORDER = timedelta(seconds=30)
EMPTY, WIDTH = hashlib.sha256(b"").digest(), 256
PROOF, OPENED = "entries/{}.tlog-proof", "disclosures/{}.json"
NEEDED = ["manifest", "checkpoint", "question.json", PROOF.format(0), "history.json", "README.txt"]
NAME = re.compile(r"[^\s+\x00-\x1f]+")
MEMBER = re.compile(
    r"(?:entries/(0|[1-9]\d{0,18})\.tlog-proof|disclosures/(0|[1-9]\d{0,18})\.json)", re.ASCII
)
TILE = re.compile(r"tile/(0|[1-9]\d?|entries)/((?:x\d{3}/)*\d{3})(?:\.p/([1-9]\d{0,2}))?", re.ASCII)
RECEIPT = rb"c2sp\.org/tlog-proof@v1\nextra (\S*)\nindex (0|[1-9]\d{0,18})\n((?:[^\n]+\n){0,63})\n(.*)"
TABLES = """CREATE TABLE event (at INTEGER PRIMARY KEY, sub BLOB, leaf BLOB); CREATE INDEX who ON event (sub);
    CREATE TABLE opening (dk BLOB PRIMARY KEY, dv BLOB, at INTEGER); PRAGMA synchronous = OFF;
    CREATE TABLE person (sub BLOB PRIMARY KEY, leaf BLOB) WITHOUT ROWID; PRAGMA journal_mode = OFF"""
TIME_STAMPING = x509.ObjectIdentifier("1.3.6.1.5.5.7.3.8")
Digest: TypeAlias = hashes.SHA256 | hashes.SHA384 | hashes.SHA512
DIGESTS: dict[int, type[Digest]] = {
    1: hashes.SHA256,
    2: hashes.SHA384,
    3: hashes.SHA512,
}  # by the last byte of their OID


mac: Callable[[bytes, bytes], bytes] = lambda key, data: hmac.digest(key, data, "sha256")
sha: Callable[[bytes], bytes] = lambda data: hashlib.sha256(data).digest()
leaf_hash: Callable[[bytes], bytes] = lambda entry: sha(b"\0" + entry)
half: Callable[[int], int] = lambda count: 1 << (count - 1).bit_length() - 1
CANONICAL = json.JSONEncoder(sort_keys=True, ensure_ascii=False, separators=(",", ":"))
canonical: Callable[[object], bytes] = lambda value: CANONICAL.encode(value).encode()
moment: Callable[[str], datetime] = datetime.fromisoformat


class Bad(Exception):
    """What is here contradicts what was signed."""


# all that reading changed bytes can raise
UNREADABLE: tuple[type[Exception], ...] = (Bad, ValueError, LookupError, TypeError, AttributeError)
UNREADABLE += (RecursionError, RuntimeError, EOFError, zipfile.BadZipFile, InvalidSignature)
UNREADABLE += (x509.InvalidVersion, x509.ExtensionNotFound, x509.DuplicateExtension, UnsupportedAlgorithm)


def require(fits: object, message: str) -> None:
    if not fits:
        raise Bad(message)


def b64(text: str | bytes, length: int = 0) -> bytes:
    raw = text.encode() if isinstance(text, str) else text
    data = base64.b64decode(raw, validate=True)
    require(base64.b64encode(data) == raw, "a value is not canonical base64")
    require(length in {0, len(data)}, "a value has a wrong length")
    return data


def read_key(vkey: str, *kinds: int) -> Key:
    name, key_id, encoded = vkey.split("+", 2)
    data = b64(encoded)
    require(data[0] in kinds and NAME.fullmatch(name), f"the key {name} is of an unfit type")
    require(len(data) == (1313 if data[0] == MLDSA else 33), f"the key {name} has a wrong length")
    right = sha(name.encode() + b"\n" + data)[:4]
    require(right.hex() == key_id, f"the key {name} has another id than it says")
    return name, right, data[0], data[1:]


@lru_cache(maxsize=4)  # an entry is read for its line, its signers and its text
def read_note(note: bytes) -> tuple[bytes, list[tuple[str, bytes, bytes]]]:
    """Return the text of a signed note, and its lines as name, key id and signature."""
    text, gap, rest = note.rpartition(b"\n\n")
    require(gap and rest.endswith(b"\n") and len(note) <= 1 << 23, "this is not a signed note")
    require(min(note.decode().replace("\n", " ")) >= " ", "a note holds a control character")
    lines = []
    for line in rest.decode()[:-1].split("\n"):
        dash, name, encoded = line.split(" ", 2)
        data = b64(encoded)
        require(dash == "—" and NAME.fullmatch(name) and len(data) > 4, "a signature line is none")
        lines.append((name, data[:4], data[4:]))
    require(len(lines) <= 64, "a note has too many signatures")
    return text + b"\n", lines


def check_line(key: Key, text: bytes, signature: bytes) -> None:
    name, _, kind, public = key
    stamp, at = signature[:8], int.from_bytes(signature[:8], "big")
    if kind == MLDSA:
        origin, size, root = read_checkpoint(text)
        names = [bytes([len(one.encode())]) + one.encode() for one in (name, origin)]
        head = bytes(8) + size.to_bytes(8, "big") + root
        require(text.count(b"\n") == 3 and 0 < at < 1 << 63, "a line of this type signs plain checkpoints")
        message = b"subtree/v1\n\0" + names[0] + stamp + names[1] + head
        mldsa.MLDSA44PublicKey.from_public_bytes(public).verify(signature[8:], message)
        return
    require(len(signature) == (64 if kind == ED25519 else 72), "a signature has a wrong length")
    text = text if kind == ED25519 else b"cosignature/v1\ntime %d\n" % at + text
    ed25519.Ed25519PublicKey.from_public_bytes(public).verify(signature[-64:], text)


def signed(note: bytes, keys: Sequence[Key]) -> list[str]:
    """Return who of these signed; a line by one of the keys must hold."""
    text, lines = read_note(note)
    found = [(key, one) for name, key_id, one in lines for key in keys if key[:2] == (name, key_id)]
    for key, signature in found:
        check_line(key, text, signature)
    return [key[0] for key, _ in found]


def open_note(note: bytes, keys: Sequence[Key]) -> bytes:
    require(signed(note, keys), "no known key signed this")
    return read_note(note)[0]


def read_checkpoint(text: bytes) -> tuple[str, int, bytes]:
    lines = text.split(b"\n")
    require(len(lines) > 3 and all(lines[:-1]), "a checkpoint has three lines or more, none of them empty")
    require(re.fullmatch(rb"0|[1-9]\d{0,18}", lines[1]) and int(lines[1]) < 1 << 63, "its size is no number")
    return lines[0].decode(), int(lines[1]), b64(lines[2], 32)


def open_checkpoint(note: bytes, keys: Sequence[Key]) -> Row:
    origin, size, root = read_checkpoint(open_note(note, keys))
    require(origin == keys[0][0], f"a checkpoint of another log, {origin}")
    return size, root


def mth(leaves: Iterator[bytes], count: int) -> bytes:
    """Return the root over the next `count` hashes, by the definition in RFC 6962, section 2.1."""
    if count < 2:
        return next(leaves) if count else EMPTY
    left = mth(leaves, half(count))
    return sha(b"\1" + left + mth(leaves, count - half(count)))


def climb(index: int, size: int, leaf: bytes, path: Sequence[bytes]) -> bytes:
    """Return the root to which a path leads, taken from the root's side down."""
    require(0 <= index < size and bool(path) == (size > 1), "a proof is not one of this tree")
    if size == 1:
        return leaf
    if index < half(size):
        return sha(b"\1" + climb(index, half(size), leaf, path[:-1]) + path[-1])
    return sha(b"\1" + path[-1] + climb(index - half(size), size - half(size), leaf, path[:-1]))


def fits(value: object, depth: int = 32) -> bool:
    """Tell whether a value may be signed: small integers, plain names, not nested too deep."""
    if isinstance(value, dict):
        value = [*value.values()] if all(re.fullmatch(r"[a-z0-9_.]+", one) for one in value) else [1 << 53]
    if isinstance(value, list):
        return depth > 0 and all(fits(one, depth - 1) for one in value)
    return not isinstance(value, int) or abs(value) < 1 << 53


def read_json(data: bytes, *names: str) -> Line:
    """Return an object written in the one allowed way (RFC 8785), with just these names if any are given."""
    value = json.loads(data, parse_float=int, parse_constant=int)  # int refuses what they are given
    require(type(value) is dict and fits(value) and canonical(value) == data, "JSON of another form")
    require(not names or value.keys() == set(names), "JSON with other names")
    return dict(value)


def read_entry(entry: bytes) -> Line:
    """Return what an entry says, if it is written as here; its signature is another question."""
    text, _ = read_note(entry)
    require(len(entry) <= 65_535 and text.count(b"\n") == 1, "an entry is one line, and not too long")
    line = read_json(text[:-1])
    require(line["v"] == 1 and line["v"] is not True, "an entry of another version")
    require(re.fullmatch(r"[a-z0-9_.]+", line["cat"]), "an entry has a category")
    for time in [line["at"], *([line["occ"]] if "occ" in line else [])]:
        require(moment(time).isoformat(timespec="milliseconds")[:23] + "Z" == time, "a time of another form")
    require(all(isinstance(line.get(name, ""), str) for name in ("id", "src")), "a field is not text")
    counted = type(line.get("srcn", 0)) is int and line.get("srcn", 0) >= 0
    require(counted and ("srcn" not in line or "src" in line), "an entry counts without a source")
    for name in {"sub", "pc"} & line.keys():
        b64(line[name], 32)
    return line


def opening(line: Line) -> tuple[bytes, bytes] | None:
    """Return dk and dv of an entry that opens a row of the directory."""
    texts = [line[name] for name in ("dk", "dv") if isinstance(line.get(name), str)]
    return (b64(texts[0], 32), b64(texts[1], 32)) if len(texts) == 2 else None


def person_row(sub: bytes, entries: Sequence[tuple[int, bytes]]) -> bytes:
    leaves = (leaf_hash(index.to_bytes(8, "big") + leaf) for index, leaf in entries)
    return b"idx1" + sub + len(entries).to_bytes(8, "big") + mth(leaves, len(entries))


class Trial:
    """What is known while evidence is checked; `where` is the place that is looked at, for whoever asks."""

    def __init__(self, key: Key) -> None:
        self.where, self.missing, self.told = "", list[str](), list[str]()
        self.origin, self.logs, self.ingest, self.stated = key[0], [key], list[Key](), list[Row]()
        self.size, self.root, self.leaves = 0, EMPTY, dict[int, bytes]()
        self.trusted, self.directory = [key], b""

    def root_at(self, size: int) -> bytes | None:
        """Return the log's root at an earlier size, None where that is out of reach."""
        return self.root if size == self.size else None

    def leaf_at(self, index: int) -> bytes | None:
        return self.leaves.get(index)

    def follow(self, entry: bytes) -> None:
        """Trust the key to which a trusted one handed over, as an entry that both signed says."""
        line = read_entry(entry)
        if line["cat"] != "key.rotated" or not isinstance(line.get("log"), str):
            return
        taking, by = read_key(line["log"], ED25519), {one[:2] for one in read_note(entry)[1]}
        if taking not in self.trusted and any(key[:2] in by for key in self.trusted):
            both = signed(entry, self.trusted) and signed(entry, [taking]) and taking[0] == self.origin
            require(both, "a key was handed over without the signatures of both keys")
            self.trusted.append(taking)
            self.logs.append(taking)

    def learn(self, index: int, line: Line) -> list[Key]:
        """Take in which keys an entry of the log's own names; return those of entries."""
        require((index == 0) == (line["cat"] == "log.genesis"), "log.genesis stands at 0 and nowhere else")
        if line["cat"] in {"log.genesis", "directory.rekey"} and isinstance(line.get("dkc"), str):
            self.stated.append((index, b64(line["dkc"])))
        if line["cat"] not in {"log.genesis", "key.rotated"}:
            return []
        listed = line["ingest"] if isinstance(line.get("ingest"), list) else []
        keys = [read_key(str(one), ED25519) for one in listed]
        logs = [line[name] for name in ("log", "log_pq") if isinstance(line.get(name), str)]
        self.logs += [read_key(one, ED25519, COSIGNED, MLDSA) for one in logs]
        require(
            {key[0] for key in self.logs} == {self.origin}, "it names a key for checkpoints of another log"
        )
        require(all(one[0].startswith(self.origin + "/") for one in keys), "it names a key of another log")
        self.ingest += keys
        return keys

    def read_epoch(self, index: int, line: Line) -> tuple[int, Row, Row]:
        """Return how many entries an epoch covers, then size and root of both lists."""
        counts, roots = (
            [line[name] for name in ("n", "ss", "ds")],
            [b64(line[n], 32) for n in ("sr", "dr", "dkc")],
        )
        require(all(type(one) is int and one >= 0 for one in counts), "an epoch states three counts")
        require(counts[0] <= index, "an epoch cannot cover what came after it")
        before = [key for at, key in self.stated if at < index]
        require(not before or roots[2] in before, "it rests on a directory key that the log does not name")
        return counts[0], (counts[1], roots[0]), (counts[2], roots[1])

    def check_policy(self, text: bytes, note: bytes) -> None:
        """Check the lines of witnesses who are believed, and that there are enough (c2sp.org/tlog-policy)."""
        require(
            min(text.decode().translate({9: " ", 10: " "}), default=" ") >= " ",
            "a control character in a policy",
        )
        logs, names, used, quorum = list[Key](), {"none": True}, list[str](), list[str]()
        for words in (
            line.split() for line in text.decode().split("\n") if line.strip() and line.strip()[0] != "#"
        ):
            if words[0] == "log" and len(words) in {2, 3}:
                logs.append(read_key(words[1], ED25519, MLDSA))
            elif words[0] == "witness" and len(words) in {3, 4} and words[1] not in names:
                names[words[1]] = bool(signed(note, [read_key(words[2], COSIGNED, MLDSA)]))
            elif (
                words[0] == "group"
                and len(words) > 3
                and words[1] not in names
                and not {*words[3:]} & {"none", *used}
            ):
                needed = {"any": 1, "all": len(words) - 3}.get(words[2]) or int(words[2])
                names[words[1]] = sum(names[one] for one in words[3:]) >= needed
                used += words[3:]
            else:
                require(words[0] == "quorum" and len(words) == 2 and words[1] in names, "no line of a policy")
                quorum.append(words[1])
        require(
            len(quorum) == 1 and (not logs or any(key in logs for key in self.trusted)),
            "the policy is of another log, or unclear",
        )
        self.missing += (
            [] if names[quorum[0]] else ["cosignatures by as many witnesses as the policy asks for"]
        )

    def check_earlier(self, name: str, data: bytes) -> None:
        """Check that what the log signed earlier is a part of it."""
        self.where, notes, receipts = name, [data], list[bytes]()
        if data.startswith(b"PK"):
            with zipfile.ZipFile(io.BytesIO(data)) as file:
                notes = [file.read("checkpoint")]
                receipts = [file.read(one) for one in file.namelist() if one.startswith("entries/")]
        elif data.startswith(b"c2sp.org/tlog-proof@"):
            notes, receipts = [read_receipt(data)[3]], [data]
        elif re.match(rb"\s*[A-Za-z-]+: ", data):
            parts = [*email.message_from_bytes(data, policy=email.policy.default).walk()]
            found = [one for one in parts if (one.get_filename() or "").startswith("checkpoint")]
            notes = [bytes(one.get_payload(decode=True)) for one in found]
        require(notes, "no checkpoint is attached to this mail")
        for note in notes:
            size, root = open_checkpoint(note, self.logs)
            for index, entry, path, _ in map(read_receipt, receipts):
                require(climb(index, size, leaf_hash(entry), path) == root, "it does not hold by itself")
                require(
                    self.leaf_at(index) in {None, leaf_hash(entry)}, f"entry {index} was another one then"
                )
            known = self.root_at(size) if size else EMPTY
            require(known in {None, root}, f"the log signed another history of its first {size} entries")
            self.missing += [f"what shows that {name} is part of this"] if known is None else []


class Bundle(Trial):
    """An answer about one address."""

    def run(self, data: bytes, policy: bytes | None) -> None:
        """Take every step, in the order in which trust flows."""
        with zipfile.ZipFile(io.BytesIO(data)) as file:
            files = {name: file.read(name) for name in file.namelist()}
        self.where, self.files, self.lines, self.opened = (
            "manifest",
            files,
            dict[int, Line](),
            dict[int, bytes](),
        )
        indexes = {name: found.groups() for name in files if (found := MEMBER.fullmatch(name))}
        self.receipts = {int(one[0]): name for name, one in indexes.items() if one[0]}
        require(
            files.keys() - indexes.keys() <= {*NEEDED, "completeness.json"}, "it holds what no bundle has"
        )
        self.missing += [name for name in NEEDED if name not in files]
        for index in sorted(self.receipts):
            self.follow(read_receipt(files[self.receipts[index]])[1])
        if "manifest" in files:
            self.check_manifest()
        asked = (
            read_json(files["question.json"], "address", "asked_at", "origin")
            if "question.json" in files
            else {}
        )
        self.address, note = asked.get("address"), files.get("checkpoint", b"")
        for index in sorted(self.receipts):
            note = note or read_receipt(files[self.receipts[index]])[3]
        if note:
            self.where, (self.size, self.root) = "checkpoint", open_checkpoint(note, self.logs)
            require(asked.get("origin", self.origin) == self.origin, "the question was asked of another log")
            require(not asked or moment(asked["asked_at"]), "a question has a time")
        for index in sorted(self.receipts):
            self.check_receipt(index, note)
        for name in self.receipts.values() if 0 in self.lines else ():
            self.where = name
            open_note(read_receipt(files[name])[1], self.ingest)
        for index, name in sorted((int(one[1]), name) for name, one in indexes.items() if one[1]):
            self.where = name
            self.check_opening(index, files[name])
        self.check_subjects()
        self.roots, self.where = {self.size: self.root}, "completeness.json"
        if "completeness.json" in files and not self.missing:
            self.check_completeness(read_json(files["completeness.json"]))
        require(self.missing or rezip(files) == data, "what is around the members was changed")
        if policy:
            self.check_policy(policy, note)

    def root_at(self, size: int) -> bytes | None:
        """Return the log's root at a size that the evidence of completeness runs through."""
        return self.roots.get(size)

    def check_manifest(self) -> None:
        lines = open_note(self.files["manifest"], self.logs).decode().split("\n")
        hashed = {line[66:]: line[:66] for line in lines[2:-1]}
        require(lines[:2] == ["consent-ledger bundle v1", self.origin], "it is not one of this log")
        require(
            len(hashed) == len(lines[2:-1]) and len(read_note(self.files["manifest"])[1]) == 1, "it says more"
        )
        self.missing += sorted(hashed.keys() - self.files.keys() - {*self.missing})
        for name in self.files.keys() - {"manifest"}:
            require(
                hashed.get(name) == f"{sha(self.files[name]).hex()}  ", f"{name} is not what the log signed"
            )

    def check_receipt(self, index: int, note: bytes) -> None:
        self.where = self.receipts[index]
        number, entry, path, head = read_receipt(self.files[self.where])
        require((number, head) == (index, note), "it is of another entry or checkpoint")
        self.leaves[index], self.lines[index] = leaf_hash(entry), read_entry(entry)
        require(
            climb(index, self.size, leaf_hash(entry), path) == self.root,
            "its proof does not lead to the root",
        )
        self.learn(index, self.lines[index])

    def check_opening(self, index: int, data: bytes) -> None:
        line, shown = self.lines.get(index), read_json(data)
        if line is None:
            require(PROOF.format(index) in self.missing, "its entry is not part of the bundle")
        elif "r" in shown:
            r, sub = b64(read_json(data, "r", "sub")["r"]), b64(shown["sub"])
            value = base64.b64encode(mac(r, b"dirval1" + sub)).decode()
            require(
                (line["cat"], line["dv"]) == ("subject.opened", value), "the directory leads to somebody else"
            )
            self.opened[index] = sub
        else:
            fields, salts, closed = (
                read_json(data, "fields", "salts", "closed")[n] for n in ("fields", "salts", "closed")
            )
            require(
                fields.keys() == salts.keys() and not fields.keys() & closed.keys(), "fields without salts"
            )
            made = {name: mac(b64(salts[name]), canonical(fields[name])) for name in fields}
            made |= {name: b64(closed[name]) for name in closed}
            texts = {name: base64.b64encode(one).decode() for name, one in made.items()}
            require(b64(line["pc"]) == sha(canonical(texts)), "it is not what the entry committed to")
            told = {plain(fields[n]) for n in ("address", "email") if isinstance(fields.get(n), str)}
            require(self.address is None or told <= {plain(self.address)}, "it is of another address")

    def check_subjects(self) -> None:
        subjects = {line["sub"] for line in self.lines.values() if "sub" in line}
        openings = [line for line in self.lines.values() if line["cat"] == "subject.opened"]
        if len(subjects) > len(openings):
            self.missing.append("the subject.opened entry of a subject in the events")
        shown = {base64.b64encode(sub).decode() for sub in self.opened.values()}
        complete = len(self.opened) == len(openings) > 0
        require(not complete or subjects <= shown, "an entry is about another person")

    def check_completeness(self, shown: Line) -> None:
        """Check that every entry about the address is here (SPEC.md, lists)."""
        names, lines, at = (
            {"edge", "epoch", "next_version", "subjects", "tail", "versions"},
            self.lines,
            shown["epoch"],
        )
        require(names <= shown.keys() <= {*names, "directory_key"} and type(at) is int, "no such evidence")
        require(lines[at]["cat"] == "index.epoch", "what is named as epoch is none")
        covered, persons, directory = self.read_epoch(at, lines[at])
        tail = self.read_tail(b64(shown["edge"]), [b64(one) for one in shown["tail"]], covered)
        key, address = self.directory or b64(shown.get("directory_key", "")), self.address or ""
        require(
            not key or sha(b"dirkey1" + key) == b64(lines[at]["dkc"]), "another directory key than the log's"
        )
        normal = unicodedata.normalize("NFKC", address.strip()).casefold() == address
        addressed, found = bool(key) and normal and address.rpartition("@")[2].isascii(), list[int]()
        dk: Callable[[], bytes] = lambda: mac(key, f"dir1\n{address}\n{len(found) + 1}".encode())
        for row in (read_row(one, b"dir1", *directory) for one in shown["versions"]):
            require(not addressed or row[4:36] == dk(), "a row of the directory is of another address")
            found.append(int.from_bytes(row[68:], "big"))
            right = found[-1] < covered and opening(lines[found[-1]]) == (row[4:36], row[36:68])
            require(right, "a row of the directory is not that of its entry")
        if addressed:
            require_absent(shown["next_version"], dk(), b"dir1", *directory)
            late = {pair[0]: index for index, line in tail.items() if (pair := opening(line))}
            while dk() in late:
                found.append(late[dk()])
        else:
            found += sorted(index for index in lines.keys() & tail.keys() if "dk" in lines[index])
        people = [base64.b64encode(self.opened[index]).decode() for index in found if index in self.opened]
        require({*found} <= lines.keys(), "an entry that opened the address is not here")
        for index, line in lines.items():
            require(
                line.get("sub", people[:1]) in [*people, people[:1]], f"entry {index} is about another person"
            )
            require("dk" not in line or index in found, f"entry {index} opened another address")
        left_out = [index for index, line in tail.items() if line.get("sub") in people and index not in lines]
        require(not left_out, f"entry {left_out} is about this person and was left out")
        for sub, one in zip(people, shown["subjects"], strict=True):
            own = [(i, self.leaves[i]) for i in sorted(lines) if i < covered and lines[i].get("sub") == sub]
            if "row" in one:
                require(
                    read_row(one, b"idx1", *persons) == person_row(b64(sub), own), "the index counted others"
                )
            else:
                require_absent(one, b64(sub), b"idx1", *persons)
                require(not own, "the index knows nothing of a person of whom there are entries")
        complete = addressed and len(people) == len(found)
        self.told.append("complete" if complete else "not shown: completeness for the address")

    def read_tail(self, edge: bytes, tail: list[bytes], covered: int) -> dict[int, Line]:
        """Return the entries after the epoch, if they lead from its edge to the root; note roots between."""
        known, start, peaks = dict[tuple[int, int], bytes](), 0, edge[8:]
        require(
            edge[:8] == covered.to_bytes(8, "big") and len(peaks) == 32 * covered.bit_count(), "no such edge"
        )
        for width in (1 << bit for bit in range(63, -1, -1) if covered >> bit & 1):
            known[start, start + width], start, peaks = peaks[:32], start + width, peaks[32:]
        known |= {(covered + n, covered + n + 1): leaf_hash(one) for n, one in enumerate(tail)}

        def over(start: int, end: int) -> bytes:
            if (start, end) not in known:
                middle = start + half(end - start)
                known[start, end] = sha(b"\1" + over(start, middle) + over(middle, end))
            return known[start, end]

        require(
            covered + len(tail) == self.size and over(0, self.size) == self.root, "the tail leads elsewhere"
        )
        self.roots |= {size: over(0, size) for size in range(max(covered, 1), self.size)}
        return {covered + n: read_entry(one) for n, one in enumerate(tail)}


class Log(Trial):
    """The export of a whole log."""

    def run(self, root: Path, policy: bytes | None, authorities: bytes | None) -> None:
        """Take every step, in the order in which trust flows."""
        self.folder, self.known, self.tiles = root.resolve(), 0, dict[str, tuple[int, list[bytes]]]()
        self.epochs = list[tuple[tuple[int, Row, Row], int]]()
        note = self.read("checkpoint")
        if note is None:
            return
        self.where, self.size = "checkpoint", read_checkpoint(read_note(note)[0])[1]
        if not {key[:2] for key in self.logs} & {one[:2] for one in read_note(note)[1]}:
            self.follow_keys()
        self.where, (self.size, self.root) = "checkpoint", open_checkpoint(note, self.logs)
        if policy := policy or self.read("policy.txt"):
            self.check_policy(policy, note)
        self.db = sqlite3.connect("")  # on the disk once it grows, and gone with the process
        self.db.executescript(TABLES)
        self.check_entries()
        self.check_tiles()
        self.check_keys(note)
        for file in sorted(root.glob("tsr/*.tsr")):
            names = [f"tsr/{file.stem}{ending}" for ending in (".checkpoint", ".tsr", ".pem")]
            stamped, reply, chain = map(self.read, names)
            if stamped and reply and chain:
                self.where = names[1]
                self.told.append(f"time stamp: {check_stamp(reply, stamped, chain, authorities or chain)}")
                self.check_earlier(names[0], stamped)
        self.check_epochs()

    def read(self, path: str, *, needed: bool = True) -> bytes | None:
        found = self.folder / path
        if found.is_file() and self.folder in found.resolve().parents:
            return found.read_bytes()
        self.missing += [path] if needed else []
        return None

    def follow_keys(self) -> None:
        for index in range((self.size + 255) // WIDTH):
            for entry in self.tile("entries", index, needed=False) or []:
                if b'"cat":"key.rotated"' in entry:
                    self.follow(entry)

    def count(self, level: str) -> int:
        return self.size >> (0 if level == "entries" else 8 * int(level))

    def tile(self, level: str, index: int, *, needed: bool = True) -> list[bytes] | None:
        """Return the hashes or entries of a tile; a full one stands in for a partial one."""
        if self.tiles.get(level, (-1,))[0] != index:
            name, width = f"tile/{level}/{path_of(index)}", min(WIDTH, self.count(level) - index * WIDTH)
            data, full = self.read(name if width == WIDTH else f"{name}.p/{width}", needed=False), False
            if data is None and width < WIDTH:
                data, full = self.read(name, needed=False), True
            if data is None:
                self.missing += [name] if needed else []
                return None
            self.where = name
            self.tiles[level] = index, items(level, data, WIDTH if full else width)[:width]
        return self.tiles[level][1]

    def over(self, start: int, end: int) -> bytes:
        """Return the hash over leaves [start, end), from tiles; TypeError where one is missing."""
        count = end - start
        level = (count.bit_length() - 1) // 8
        if count == 1 << 8 * level:
            found = self.tile(str(level), start >> 8 * level >> 8)
            return found[start >> 8 * level & 255] if found else b""
        left, right = self.over(start, start + half(count)), self.over(start + half(count), end)
        return sha(b"\1" + left + right) if left and right else b""

    def root_at(self, size: int) -> bytes | None:
        require(size <= self.size, f"the log had {size} entries then, and has {self.size} here")
        return self.over(0, size) or self.root

    def leaf_at(self, index: int) -> bytes | None:
        return self.over(index, index + 1) or None if index < self.size else None

    def check_entries(self) -> None:
        gap, before = False, ""
        for index in range((self.size + 255) // WIDTH):
            entries, leaves = self.tile("entries", index), self.tile("0", index)
            if entries is None:
                gap, before = True, ""
            for at, entry in enumerate(entries or [], index * WIDTH):
                self.where = f"tile/entries/{path_of(index)} (entry {at})"
                line = read_entry(entry)
                keys = self.learn(at, line) if at == 0 else self.ingest
                require(
                    at or line.get("origin", self.origin) == self.origin, "this log began under another name"
                )
                if keys and not (gap and not signed(entry, keys)):
                    open_note(entry, keys)
                if at and (keys or line["cat"] != "key.rotated"):
                    self.learn(at, line)
                late = bool(before) and line["at"] < before and moment(before) - moment(line["at"]) > DISORDER
                require(not late, "it was received more than 30 s before its left neighbour")
                before, leaf = line["at"], leaf_hash(entry)
                self.where = f"tile/0/{path_of(index)}, byte {at % WIDTH * 32} (entry {at})"
                require(leaves is None or leaves[at % WIDTH] == leaf, "the hash is not that of the entry")
                if not gap:
                    self.keep(at, leaf, line)

    def keep(self, at: int, leaf: bytes, line: Line) -> None:
        """Keep what the lists of later epochs are made of."""
        self.known = at + 1
        if "sub" in line:
            self.db.execute("INSERT INTO event VALUES (?, ?, ?)", (at, b64(line["sub"]), leaf))
        if row := opening(line):
            done = self.db.execute("INSERT OR IGNORE INTO opening VALUES (?, ?, ?)", (*row, at))
            require(done.rowcount, "it opens a directory row that was opened before")
        if line["cat"] == "index.epoch":
            self.epochs.append((self.read_epoch(at, line), at))

    def check_tiles(self) -> None:
        """Compare every tile above the entries, and every older one, with what is below it; then the root."""
        level = 1
        while self.count(str(level)):
            for at in range(self.count(str(level))):
                above, below = self.tile(str(level), at // WIDTH), self.tile(str(level - 1), at)
                self.where = f"tile/{level}/{path_of(at // WIDTH)}, byte {at % WIDTH * 32}"
                right = not above or not below or above[at % WIDTH] == mth(iter(below), WIDTH)
                require(right, "the hash is not that of what is below it")
            level += 1
        self.where = "checkpoint"
        root = self.over(0, self.size) if self.size else EMPTY
        require(root in {b"", self.root}, "the entries here do not add up to the root that was signed")
        for file in sorted((self.folder / "tile").rglob("*")):
            if file.is_file() and not file.name.startswith("."):
                self.where = file.relative_to(self.folder).as_posix()
                self.check_file(self.where)

    def check_file(self, path: str) -> None:
        """Compare whatever stands among the tiles with the tile of this log that begins alike."""
        found = TILE.fullmatch(path)
        require(found, "no tile has this name")
        level, groups, partial = found.groups() if found else ("", "", "")
        index, width = int(re.sub("[x/]", "", groups)), int(partial or WIDTH)
        require(path_of(index) == groups and width < WIDTH + (not partial), "no tile has this name")
        require(level == "entries" or int(level) < 64, "no tile has this name")
        own, mine = items(level, self.read(path) or b"", width), self.count(level) - index * WIDTH
        if mine > 0 and (true := self.tile(level, index)):
            shared = min(width, mine)
            require(own[:shared] == true[:shared], "it is not what the log has there")

    def check_keys(self, note: bytes) -> None:
        if not self.known:
            return
        self.where = "checkpoint"
        second = [key for key in self.logs if key[2] == MLDSA]
        lines = [bool(signed(note, [key])) for key in second]
        self.missing += ["the ML-DSA-44 line of the checkpoint"] if second and not any(lines) else []
        listed = (self.read("keys.txt") or b"").decode().splitlines()
        self.where = "keys.txt"
        for line in listed if self.known == self.size else ():
            kind, _, vkey = line.partition(" ")
            known = self.ingest if kind == "entry" else self.logs if kind == "checkpoint" else []
            require(
                not line or line[0] == "#" or read_key(vkey, 1, 4, 6) in known,
                "a key that the log did not name",
            )

    def check_epochs(self) -> None:
        """Make both lists of every epoch again."""
        low = 0
        for (high, persons, directory), at in sorted(self.epochs):
            self.where = f"entry {at}"
            for (sub,) in self.db.execute(
                "SELECT DISTINCT sub FROM event WHERE at >= ? AND at < ?", (low, high)
            ):
                own = self.db.execute(
                    "SELECT at, leaf FROM event WHERE sub = ? AND at < ? ORDER BY at", (sub, high)
                )
                row = leaf_hash(person_row(sub, own.fetchall()))
                self.db.execute("INSERT OR REPLACE INTO person VALUES (?, ?)", (sub, row))
            (count,) = self.db.execute("SELECT count(*) FROM person").fetchone()
            rows = (leaf for (leaf,) in self.db.execute("SELECT leaf FROM person ORDER BY sub"))
            require((count, mth(rows, count)) == persons, "the epoch states another list of persons")
            (count,) = self.db.execute("SELECT count(*) FROM opening WHERE at < ?", (high,)).fetchone()
            found = self.db.execute("SELECT dk, dv, at FROM opening WHERE at < ? ORDER BY dk", (high,))
            rows = (leaf_hash(b"dir1" + dk + dv + index.to_bytes(8, "big")) for dk, dv, index in found)
            require((count, mth(rows, count)) == directory, "the epoch states another list of the directory")
            low = max(low, high)


def path_of(index: int) -> str:
    """Return a tile's number as a path: 1234067 is x001/x234/067."""
    path = f"{index % 1000:03d}"
    while index := index // 1000:
        path = f"x{index % 1000:03d}/{path}"
    return path


def items(level: str, data: bytes, width: int) -> list[bytes]:
    """Return the hashes or entries in a tile, exactly as many as its name says."""
    found, at = list[bytes](), 0
    while at < len(data):
        size = 32 if level != "entries" else int.from_bytes(data[at : at + 2], "big")
        at += 0 if level != "entries" else 2
        require(at + size <= len(data), f"the file ends in the middle of item {len(found)}")
        found.append(data[at : at + size])
        at += size
    require(len(found) == width, f"the file holds {len(found)} items; its name says {width}")
    return found


def read_receipt(data: bytes) -> tuple[int, bytes, list[bytes], bytes]:
    """Return index, entry, path and checkpoint of a tlog-proof file with the entry in its `extra` line."""
    found = re.fullmatch(RECEIPT, data, re.DOTALL)
    require(found, "this is not a receipt with its entry")
    entry, index, path, note = found.groups() if found else (b"", b"", b"", b"")
    return int(index), b64(entry), [b64(one, 32) for one in path.splitlines()], note


def read_row(shown: Line, kind: bytes, size: int, root: bytes) -> bytes:
    require(shown.keys() == {"path", "position", "row"}, "a row of another form")
    row, path = b64(shown["row"], 76), [b64(one, 32) for one in shown["path"]]
    require(row.startswith(kind) and type(shown["position"]) is int, "a row of another list")
    require(
        climb(shown["position"], size, leaf_hash(row), path) == root, "a row is not in the list of the epoch"
    )
    return row


def require_absent(shown: Line, key: bytes, kind: bytes, size: int, root: bytes) -> None:
    require(shown.keys() == {"left", "right"} and (size or root == EMPTY), "no neighbours are shown")
    left, right = (
        (one["position"], read_row(one, kind, size, root)[4:36]) if one else None
        for one in (shown["left"], shown["right"])
    )
    require((left[0] + 1 if left else 0) == (right[0] if right else size), "two rows are not neighbours")
    require((not left or left[1] < key) and (not right or right[1] > key), "the key is not between the rows")


def plain(address: str) -> str:
    """Return an address without differences of case and alphabet."""
    local, _, domain = unicodedata.normalize("NFKC", address.strip()).casefold().rpartition("@")
    labels = [one[4:].encode().decode("punycode") if one[:4] == "xn--" else one for one in domain.split(".")]
    return f"{local}@{'.'.join(labels)}"


def rezip(files: dict[str, bytes]) -> bytes:
    """Return the one zip file that there is of these members."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_STORED) as file:
        for name in sorted(files):
            info = zipfile.ZipInfo(name)  # 1980 is its default date
            info.create_system, info.external_attr = 3, 0o100644 << 16
            file.writestr(info, files[name])
    return out.getvalue()


def der(data: bytes, tags: str = "") -> list[tuple[int, bytes, bytes]]:
    """Return tag, content and whole of each DER value in a row; `tags` says in hex which there must be."""
    found, at = list[tuple[int, bytes, bytes]](), 0
    while at < len(data):
        start, length, at = at, data[at + 1], at + 2
        if length > 127:
            length, at = int.from_bytes(data[at : at + length - 128], "big"), at + length - 128
        found.append((data[start], data[at : at + length], data[start : at + length]))
        at += length
    right = at == len(data) and tags in {"", bytes(one[0] for one in found).hex()}
    require(right, "this is not the DER of a time stamp")
    return found


def inside(data: bytes, *tags: str) -> bytes:
    """Return the content of the last value on the way down; each step has values of just these tags."""
    for step in tags:
        data = der(data, step)[-1][1]
    return data


def check_stamp(reply: bytes, note: bytes, chain: bytes, believed: bytes) -> datetime:
    """Return the time of an RFC 3161 reply over a checkpoint, judged as of that time."""
    status, token = der(inside(reply, "30"), "3030")
    require(inside(status[1], "02") in {b"\0", b"\1"}, "the authority refused")
    data = der(inside(token[1], "06a0", "30"))
    text = inside(data[2][1], "06a0", "04")
    kinds = [der(token[1])[0][1].hex(), der(data[2][1])[0][1].hex()]
    require(kinds == ["2a864886f70d010702", "2a864886f70d0109100104"], "this is no time stamp")  # their OIDs
    require(bytes(one[0] for one in data).hex() in {"023130a031", "02313031"}, "signed data of another form")
    signer, stated = der(inside(data[-1][1], "30"), "023030a03004"), der(inside(text, "30"))
    require(
        signer[2][1] in [one[1] for one in der(data[1][1])], "the text was hashed in another way than it says"
    )
    digest = DIGESTS[der(signer[2][1])[0][1][-1]]()
    told = {der(one[1], "0631")[0][1].hex(): der(one[1])[1][1] for one in der(signer[3][1])}
    right = hashlib.new(digest.name, text).digest()
    require(inside(told["2a864886f70d010904"], "04") == right, "another text was signed")
    require(der(stated[2][1], "3004")[1][1] == sha(note), "the stamp is over another checkpoint")
    at = datetime.strptime(stated[4][1].decode()[:14], "%Y%m%d%H%M%S").replace(tzinfo=UTC)
    sent = [one[2] for part in data[3:-1] for one in der(part[1])]
    pool = [*map(x509.load_der_x509_certificate, sent), *x509.load_pem_x509_certificates(chain + believed)]
    roots = [one for one in x509.load_pem_x509_certificates(believed) if one.issuer == one.subject]
    for cert in pool:
        if is_signer(cert, signer, digest) and is_trusted(cert, pool, roots, at):
            return at
    raise Bad("the time stamp is not signed by anybody whom the roots vouch for")


def is_signer(cert: x509.Certificate, signer: list[tuple[int, bytes, bytes]], digest: Digest) -> bool:
    """Tell whether the certificate is the one that the signer names, may stamp times, and did."""
    name, number = der(signer[1][1], "3002")
    if (name[2], int.from_bytes(number[1], "big")) != (cert.issuer.public_bytes(), cert.serial_number):
        return False
    uses, key = cert.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value, cert.public_key()
    body = b"\x31" + signer[3][2][1:]
    require(der(signer[4][1])[0][0] == 6, "no algorithm is named")
    if isinstance(key, rsa.RSAPublicKey):
        key.verify(signer[5][1], body, padding.PKCS1v15(), digest)
    elif isinstance(key, ec.EllipticCurvePublicKey):
        key.verify(signer[5][1], body, ec.ECDSA(digest))
    return TIME_STAMPING in uses and isinstance(key, (rsa.RSAPublicKey, ec.EllipticCurvePublicKey))


def is_trusted(
    cert: x509.Certificate,
    pool: list[x509.Certificate],
    roots: list[x509.Certificate],
    at: datetime,
    depth: int = 8,
) -> bool:
    """Tell whether certificates that were valid then lead from this one to a root."""
    if depth == 0 or not cert.not_valid_before_utc <= at <= cert.not_valid_after_utc:
        return False
    if cert in roots:
        return True
    for issuer in (one for one in [*pool, *roots] if one.subject == cert.issuer and one != cert):
        try:
            cert.verify_directly_issued_by(issuer)
        except (ValueError, TypeError, InvalidSignature):
            continue
        if is_trusted(issuer, pool, roots, at, depth - 1):
            return True
    return False


def main() -> int:
    """Judge what the command line names; return the exit code."""
    parser = argparse.ArgumentParser(
        description="Check a bundle or an export; exits 0 good, 1 bad, 2 incomplete."
    )
    parser.add_argument("what", type=Path, help="a bundle (zip) or the folder of an export")
    parser.add_argument("--key", required=True, help="the log's public key, or a file of it")
    parser.add_argument("--since", type=Path, action="append", default=[], help="what the log signed earlier")
    parser.add_argument("--policy", type=Path, help="witnesses to believe, in place of policy.txt")
    parser.add_argument("--tsa", type=Path, help="PEM certificates of time-stamping authorities to believe")
    parser.add_argument(
        "--directory-key", type=Path, help="the log's directory key in base64, if you hold it"
    )
    given = parser.parse_args()
    files = [given.what, *given.since, *filter(None, (given.policy, given.tsa, given.directory_key))]
    if absent := [file for file in files if not file.exists()]:
        parser.error(f"there is no {absent[0]}")
    text = given.key
    if "+" not in text and Path(text).is_file():
        text = Path(text).read_text().strip()
    try:
        key = read_key(text, ED25519)
    except UNREADABLE:
        parser.error("--key is no public key of a log: <name>+<8 hexadecimal digits>+<base64>")
    trial = Log(key) if given.what.is_dir() else Bundle(key)
    trial.directory = b64(given.directory_key.read_bytes().strip()) if given.directory_key else b""
    state, reason = "good", "everything that is here holds"
    try:
        if isinstance(trial, Log):
            trial.run(given.what, *(one and one.read_bytes() for one in (given.policy, given.tsa)))
        elif isinstance(trial, Bundle):
            trial.run(given.what.read_bytes(), given.policy and given.policy.read_bytes())
        for file in given.since:
            trial.check_earlier(file.name, (file / "checkpoint" if file.is_dir() else file).read_bytes())
    except UNREADABLE as error:
        state, reason = "bad", f"{trial.where}: {str(error) or 'a signature does not fit'}"
    if state == "good" and trial.missing:
        state, reason = "incomplete", f"{trial.missing[0]} is missing; what is here holds"
    lines = [
        f"{state}: {reason}",
        f"log: {trial.origin}, {trial.size} entries",
        *(trial.told if state == "good" else []),
    ]
    sys.stdout.write("\n".join(lines) + "\n")
    return {"good": 0, "bad": 1, "incomplete": 2}[state]


if __name__ == "__main__":
    sys.exit(main())
