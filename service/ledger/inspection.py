"""The pass over an auditor's bundle that `verify.py` judges by: step by step, from the log's key outwards.

Pure. Trust flows from the log's key to the checkpoint, from its root through inclusion proofs to
entry 0, from the keys that entry 0 names to every entry's own signature, and from an entry's
commitment to the disclosed payload. Nothing else in the file is believed.
"""

import base64
import unicodedata
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from hashlib import sha256
from typing import Final

from service.errors import Malformed, Tampered
from service.ledger import archive, members
from service.ledger.completeness import Case, judge
from service.ledger.entry import (
    DirectoryOpening,
    Disclosure,
    Entry,
    decode,
    directory_value,
    verify_disclosure,
)
from service.ledger.finding import Finding
from service.ledger.handover import follow
from service.ledger.members import CHECKPOINT, COMPLETENESS, HISTORY, MANIFEST, QUESTION, README
from service.ledger.note import Verifier, open_note, split_note
from service.ledger.proof import Checkpoint, Receipt, decode_proof, open_checkpoint, require_inclusion

GENESIS: Final = 0  # the index of log.genesis, which names the keys that sign entries

_REQUIRED = (MANIFEST, CHECKPOINT, QUESTION, members.entry_name(GENESIS), HISTORY, README)
_ADDRESS_FIELDS = ("address", "email")


class Inspection:
    """One pass over a bundle; each step raises `Tampered` at what contradicts and notes what is missing."""

    def __init__(self, logs: Sequence[Verifier], directory_key: bytes | None = None) -> None:
        self._logs = list(logs)
        self._origin = logs[0].name
        self._directory_key = directory_key
        self._files: dict[str, bytes] = {}
        self._head = b""
        self._receipts: dict[int, Receipt] = {}
        self._entries: dict[int, Entry] = {}
        self._opened: dict[int, bytes] = {}  # subject.opened entries with the subject that they lead to
        self.checkpoint: Checkpoint | None = None
        self.missing: list[str] = []
        self.finding: Finding | None = None
        self.checked: Counter[str] = Counter()

    def run(self, data: bytes) -> None:
        """Take every step, in the order in which trust flows; `Tampered` names the place that is wrong."""
        with _at("zip file"):
            self._files = archive.unpack(data)
            if strange := [name for name in self._files if not members.is_member(name)]:
                raise Tampered(f"it holds {strange[0]!r}, which no bundle has")
        self._follow_keys()
        with _at(MANIFEST):
            self._check_manifest()
        with _at(CHECKPOINT):
            self._check_checkpoint()
        for index in members.entry_indexes(self._files):
            with _at(members.entry_name(index)):
                self._check_inclusion(index)
        self._check_signatures()
        for index in members.disclosure_indexes(self._files):
            with _at(members.disclosure_name(index)):
                self._check_disclosure(index)
        self._check_subjects()
        with _at(COMPLETENESS):
            self._check_completeness()
        if not self.missing and archive.pack(self._files) != data:
            raise Tampered("zip file: the evidence holds, but the file around it was changed or packed again")

    def _follow_keys(self) -> None:
        """Trust the keys to which the log's keys handed over, as entries that both signed say."""
        for index in members.entry_indexes(self._files):
            with _at(members.entry_name(index)):
                entry = decode_proof(self._files[members.entry_name(index)]).entry
                self._logs = follow(self._logs, [entry])

    def _check_manifest(self) -> None:
        """Check the list of files: signed by the log, every hash right, nothing that it does not name."""
        self.missing += [name for name in _REQUIRED if name not in self._files]
        if MANIFEST not in self._files:
            return
        note = self._files[MANIFEST]
        origin, hashes = members.parse_manifest(open_note(note, self._logs).text)
        if origin != self._origin or len(split_note(note)[1]) != 1:
            raise Tampered(f"this is not a manifest of {self._origin} with that log's one signature")
        self.missing += sorted(hashes.keys() - self._files.keys() - set(self.missing))
        for name in sorted(self._files.keys() - {MANIFEST}):
            if name not in hashes:
                raise Tampered(f"{name} is in the file, but not in what the log signed")
            if sha256(self._files[name]).digest() != hashes[name]:
                raise Tampered(f"{name} is not what the log signed; it was changed")
            self.checked["files against the signed manifest"] += 1

    def _check_checkpoint(self) -> None:
        """Check the log's signature on its head, and that the question was asked of this log."""
        note = self._files.get(CHECKPOINT, b"")
        for index in members.entry_indexes(self._files)[:1]:  # each entry's file carries it as well
            note = note or decode_proof(self._files[members.entry_name(index)]).checkpoint_note
        if not note and CHECKPOINT in self.missing:
            return
        self._head, self.checkpoint = note, open_checkpoint(note, self._logs)
        if QUESTION in self._files:
            question = members.parse_question(self._files[QUESTION])
            if question.origin != self.checkpoint.origin:
                raise Tampered(f"the question was asked of another log, {question.origin}")

    def _check_inclusion(self, index: int) -> None:
        assert self.checkpoint is not None, "where there is an entry, there is its checkpoint"
        receipt = decode_proof(self._files[members.entry_name(index)])
        if receipt.index != index or receipt.checkpoint_note != self._head:
            raise Tampered("this file is about another entry or another checkpoint")
        require_inclusion(receipt, self.checkpoint)
        self._receipts[index], self._entries[index] = receipt, decode(receipt.entry)
        self.checked["entries proven to be in the log"] += 1

    def _check_signatures(self) -> None:
        """Check each entry's signature with the keys that the log named before it; entry 0 with its own."""
        keys: list[Verifier] = []
        for index, entry in self._entries.items():
            with _at(members.entry_name(index)):
                if (index == GENESIS) != (entry.category == "log.genesis"):
                    raise Tampered("log.genesis stands at index 0 and nowhere else")
                named = self._named_keys(entry)
                if GENESIS in self._entries:
                    open_note(self._receipts[index].entry, keys if index else named)
                    self.checked["signatures on entries"] += 1
                keys += named

    def _named_keys(self, entry: Entry) -> list[Verifier]:
        keyed = entry.category in {"log.genesis", "key.rotated"}
        return _ingest_keys(entry, self._origin) if keyed else []

    def _check_disclosure(self, index: int) -> None:
        disclosure = members.parse_disclosure(self._files[members.disclosure_name(index)])
        entry = self._entries.get(index)
        if entry is None:
            if members.entry_name(index) not in self.missing:
                raise Tampered("something is opened whose entry is not part of the bundle")
        elif isinstance(disclosure, DirectoryOpening):
            self._opened[index] = _check_directory(entry, disclosure)
        else:
            self._check_fields(entry, disclosure)
        self.checked["openings that fit their entry"] += entry is not None

    def _check_fields(self, entry: Entry, disclosure: Disclosure) -> None:
        if entry.commitment is None:
            raise Tampered("the entry commits to no payload, so nothing of it can be opened")
        fields = verify_disclosure(entry.commitment, disclosure)
        if QUESTION not in self._files:
            return
        wanted = _plain(members.parse_question(self._files[QUESTION]).address)
        for name in _ADDRESS_FIELDS:
            address = fields.get(name)
            if isinstance(address, str) and _plain(address) != wanted:
                raise Tampered("the disclosed address is not the one that the bundle is about")

    def _check_subjects(self) -> None:
        """Check that subject.opened entries are here, and that opened ones lead to the events' subjects."""
        events = {index: entry.subject for index, entry in self._entries.items() if entry.subject is not None}
        opening = [index for index, entry in self._entries.items() if entry.category == "subject.opened"]
        if len(set(events.values())) > len(opening):
            self.missing.append("the subject.opened entry of a subject in the events")
        for index, subject in events.items():
            if len(self._opened) == len(opening) > 0 and subject not in self._opened.values():
                raise Tampered(f"{members.entry_name(index)}: the entry is about another person")

    def _check_completeness(self) -> None:
        """Check that nothing was left out, where the bundle claims that and nothing else is missing."""
        if COMPLETENESS not in self._files or self.missing or self.checkpoint is None:
            return
        case = Case(
            checkpoint=self.checkpoint,
            address=members.parse_question(self._files[QUESTION]).address,
            entries={index: receipt.entry for index, receipt in self._receipts.items()},
            subjects=self._opened,
        )
        shown = members.parse_completeness(self._files[COMPLETENESS])
        self.finding = judge(shown, case, self._directory_key)
        self.checked["entries after the index looked through"] += len(shown.tail)


@contextmanager
def _at(place: str) -> Iterator[None]:
    """Name the place in whatever is found to be wrong there."""
    try:
        yield
    except Tampered as error:
        raise Tampered(f"{place}: {error}") from error


def _ingest_keys(entry: Entry, origin: str) -> list[Verifier]:
    """Return the keys that an entry of the log's own names; they bear the log's name and a number."""
    vkeys = entry.extra.get("ingest", [])
    try:
        keys = [Verifier.from_vkey(str(vkey)) for vkey in vkeys] if isinstance(vkeys, list) else []
    except Malformed as error:
        raise Tampered(f"it names a key that is none: {error}") from None
    if not all(key.name.startswith(origin + "/") for key in keys):
        raise Tampered(f"it names a key for entries that is not one of {origin}")
    return keys


def _check_directory(entry: Entry, opening: DirectoryOpening) -> bytes:
    """Return the subject that a `subject.opened` entry is shown to lead to."""
    value = base64.b64encode(directory_value(opening.r, opening.subject)).decode()
    if entry.category != "subject.opened" or entry.extra.get("dv") != value:
        raise Tampered("the directory row of this entry does not lead to the subject that is shown")
    return opening.subject


def _plain(address: str) -> str:
    """Return the address without differences of case and of how its domain spells other alphabets.

    Domains are compared in Unicode, which needs no tables that change over the years.
    """
    folded = unicodedata.normalize("NFKC", address.strip()).casefold()
    local, _, domain = folded.rpartition("@")
    return f"{local}@{'.'.join(map(_label, domain.split('.')))}"


def _label(label: str) -> str:
    if not label.startswith("xn--"):
        return label
    try:
        return label.removeprefix("xn--").encode("ascii").decode("punycode")
    except UnicodeError:
        return label
