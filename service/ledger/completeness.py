"""Judge whether a bundle holds every entry about an address up to its checkpoint, or whether there is none.

Pure (tlog.md 3.9 c). The directory's rows lead from the address to its subjects, the subjects' rows fix
how many entries each has and their hashes, and every entry between the epoch and the checkpoint is here,
so that nothing newer is hidden. What an epoch states is believed because anyone who holds the
entries builds the same lists (`register.Register`); what it rests on beyond that is said in the verdict.
"""

import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from service.errors import Tampered
from service.ledger.entry import Entry, decode, directory_key_value
from service.ledger.finding import Finding
from service.ledger.index import (
    DIRECTORY,
    SUBJECTS,
    Absent,
    Commitment,
    Shown,
    commit_key,
    event_leaf,
    key_of,
    opening_of,
    require_absent,
    require_shown,
    subject_row,
)
from service.ledger.merkle import Edge, leaf_hash
from service.ledger.note import decode_base64
from service.ledger.proof import Checkpoint

EPOCH_CATEGORY: Final = "index.epoch"
KEY_CATEGORIES: Final = frozenset({"log.genesis", "directory.rekey"})
"""Categories whose entries commit to a directory key; the bundle holds the one that an epoch rests on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Completeness:
    """The part of a bundle that shows that nothing was left out.

    `epoch` is the index of the `index.epoch` entry, `edge` the right edge of the log where that epoch's
    lists end (`Edge.to_bytes`), `tail` every entry from there to the checkpoint. `versions` are the
    address's rows in the directory, oldest first, `next_version` shows that there is no other one.
    `subjects` are their rows in the other list, in the same order, without those that are not opened.
    """

    epoch: int
    edge: bytes
    versions: tuple[Shown, ...]
    next_version: Absent
    subjects: tuple[Shown | Absent, ...]
    tail: tuple[bytes, ...]
    directory_key: bytes | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """What was shown before: entries proven against the checkpoint, and whom opening entries lead to.

    `subjects` has the index of each opening entry whose opening is disclosed.
    """

    checkpoint: Checkpoint
    address: str
    entries: Mapping[int, bytes]
    subjects: Mapping[int, bytes]


def judge(shown: Completeness, case: Case, directory_key: bytes | None = None) -> Finding:
    """Return what the evidence shows; raises `Tampered` at the first thing that contradicts.

    `directory_key` comes from the auditor; without it that of the bundle is used, if it holds one.
    """
    lines = {index: decode(data) for index, data in case.entries.items()}
    commitment = _commitment(shown.epoch, lines)
    tail = _tail(shown, commitment, case)
    key = directory_key or shown.directory_key
    if key is not None and commit_key(key) != commitment.key_commitment:
        raise Tampered("the directory key is not the one that the log committed to")
    addressed = key is not None and is_normal(case.address)
    openings = _listed_openings(shown, commitment, lines)
    if key is not None and addressed:
        _require_address(shown, commitment, case, key)
        openings += _tail_openings(shown, tail, case.address, key)
    else:
        openings += [index for index in sorted(lines.keys() & tail.keys()) if "dk" in lines[index].extra]
    people = [case.subjects[index] for index in openings if index in case.subjects]
    _require_own(openings, people, lines)
    _require_all(people, tail, lines)
    _require_listed(people, shown, commitment, case, lines)
    return Finding(
        size=case.checkpoint.size,
        covered=commitment.covered,
        events=sum(line.subject in people for line in lines.values()),
        subjects=len(people),
        closed=len(openings) - len(people),
        addressed=addressed,
    )


def is_normal(address: str) -> bool:
    """Return whether an address is spelled as the directory spells it, as far as can be told without tables.

    A claim that another spelling is absent from the directory would be worth nothing.
    """
    domain = address.rpartition("@")[2]
    folded = unicodedata.normalize("NFKC", address.strip()).casefold()
    return folded == address and domain.isascii()


def _commitment(epoch: int, lines: Mapping[int, Entry]) -> Commitment:
    line = lines.get(epoch)
    if line is None or line.category != EPOCH_CATEGORY:
        raise Tampered("the entry that is named as index epoch is not one, or is not in the bundle")
    commitment = Commitment.parse(line.extra)
    if commitment.covered > epoch:
        raise Tampered("an index epoch cannot cover entries that came after it")
    committed = {
        decode_base64(str(line.extra["dkc"]))
        for index, line in lines.items()
        if line.category in KEY_CATEGORIES and "dkc" in line.extra and index < epoch
    }
    if committed and commitment.key_commitment not in committed:
        raise Tampered("the index epoch rests on a directory key that no entry before it committed to")
    return commitment


def _tail(shown: Completeness, commitment: Commitment, case: Case) -> dict[int, Entry]:
    """Return every entry that the epoch does not cover, by index, shown to lead to the checkpoint."""
    edge = Edge.from_bytes(shown.edge)
    if edge.size != commitment.covered:
        raise Tampered("the entries after the epoch do not begin where its lists end")
    for data in shown.tail:
        edge.add(leaf_hash(data))
    if (edge.size, edge.root()) != (case.checkpoint.size, case.checkpoint.root):
        raise Tampered(
            "the entries after the epoch do not lead to the checkpoint; one was left out or changed"
        )
    return {commitment.covered + offset: decode(data) for offset, data in enumerate(shown.tail)}


def _listed_openings(shown: Completeness, commitment: Commitment, lines: Mapping[int, Entry]) -> list[int]:
    """Return the indexes of the entries that opened the address, as the directory lists them."""
    openings: list[int] = []
    for version in shown.versions:
        require_shown(version, DIRECTORY, commitment)
        dk, dv, index = opening_of(version.row)
        line = lines.get(index)
        if line is None or _opened(line) != (dk, dv) or index >= commitment.covered:
            raise Tampered("a row of the directory is not that of the entry which it names")
        openings.append(index)
    return openings


def _require_address(shown: Completeness, commitment: Commitment, case: Case, key: bytes) -> None:
    """Raise `Tampered` unless these rows, and no others, are those of the address."""
    for number, version in enumerate(shown.versions, start=1):
        if key_of(version.row) != directory_key_value(key, case.address, number):
            raise Tampered("a row of the directory is not that of the address which was asked for")
    following = directory_key_value(key, case.address, len(shown.versions) + 1)
    require_absent(following, shown.next_version, DIRECTORY, commitment)


def _tail_openings(shown: Completeness, tail: Mapping[int, Entry], address: str, key: bytes) -> list[int]:
    """Return the entries after the epoch that opened the address (again)."""
    opened = {dk: index for index, line in tail.items() if (dk := _opened(line)[0]) is not None}
    openings: list[int] = []
    version = len(shown.versions) + 1
    while (index := opened.get(directory_key_value(key, address, version))) is not None:
        openings.append(index)
        version += 1
    return openings


def _require_own(openings: Sequence[int], people: Sequence[bytes], lines: Mapping[int, Entry]) -> None:
    """Raise `Tampered` if an opening is not in the bundle, or an entry in it is about somebody else."""
    if missing := [index for index in openings if index not in lines]:
        raise Tampered(f"entry {missing[0]} opened this address and is not in the bundle")
    for index, line in lines.items():
        if line.subject is not None and line.subject not in people:
            raise Tampered(f"entry {index} is about another person")
        if "dk" in line.extra and index not in openings:
            raise Tampered(f"entry {index} opened another address")


def _require_all(people: Sequence[bytes], tail: Mapping[int, Entry], lines: Mapping[int, Entry]) -> None:
    for index, line in tail.items():
        if line.subject in people and index not in lines:
            raise Tampered(f"entry {index} is about this person and was left out of the bundle")


def _require_listed(
    people: Sequence[bytes],
    shown: Completeness,
    commitment: Commitment,
    case: Case,
    lines: Mapping[int, Entry],
) -> None:
    """Raise `Tampered` unless each subject's entries are exactly those that the epoch counted."""
    if len(people) != len(shown.subjects):
        raise Tampered("the bundle does not show one row of the index for each subject of the address")
    for subject, listed in zip(people, shown.subjects, strict=True):
        edge = Edge()
        for index in sorted(lines):
            if lines[index].subject == subject and index < commitment.covered:
                edge.add(event_leaf(index, leaf_hash(case.entries[index])))
        if isinstance(listed, Absent):
            require_absent(subject, listed, SUBJECTS, commitment)
            if edge.size:
                raise Tampered("the index knows nothing of a person of whom there are entries")
            continue
        require_shown(listed, SUBJECTS, commitment)
        if listed.row != subject_row(subject, edge.size, edge.root()):
            raise Tampered("the entries about this person are not those that the index counted")


def _opened(line: Entry) -> tuple[bytes | None, bytes | None]:
    """Return dk and dv of an entry; None and None where it opens nobody."""
    dk, dv = line.extra.get("dk"), line.extra.get("dv")
    if not isinstance(dk, str) or not isinstance(dv, str):
        return None, None
    return decode_base64(dk), decode_base64(dv)
