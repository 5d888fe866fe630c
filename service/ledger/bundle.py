"""What an auditor takes home for one address: a zip file that verifies by itself, years later.

Pure. It holds the entries with their inclusion proofs against one signed checkpoint, the disclosed
parts of their payloads, a readable history, and a manifest signed by the log. `verify.py` is the
other half: it judges such a file with the log's public key alone.

    README.txt                      for people: what this is and how to check it
    bracket/before.checkpoint       and bracket/after.checkpoint: around the moment that was asked about
    bracket/before.consistency      what shows that this checkpoint is part of the log; the same for after
    checkpoint                      a published checkpoint, or the log's signed head, as a note
    completeness.json               what shows that nothing was left out; absent where that is not claimed
    disclosures/<index>.json        opened fields with their salts; absent where the payload was erased
    entries/<index>.tlog-proof      the entry and its way to the root
    history.json                    the operator's summary: signed, but not itself proven
    manifest                        signed note: title, origin, `<sha256>  <name>` of every other member
    question.json                   whose history was asked for, and when
    tsr/<name>.tsr                  RFC 3161 time stamps, each with its .checkpoint and .pem
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from service.errors import Tampered
from service.ledger import archive, members
from service.ledger.completeness import Completeness
from service.ledger.entry import DirectoryOpening, Disclosure, format_time
from service.ledger.members import CHECKPOINT, COMPLETENESS, HISTORY, MANIFEST, QUESTION, README, Question
from service.ledger.note import Signer
from service.ledger.proof import Receipt, decode_proof, encode_proof

_README = """\
CONSENT LEDGER: EVIDENCE ABOUT ONE ADDRESS

Address   {address}
Asked at  {asked_at}
Log       {origin}

This file answers one question: what does the consent ledger hold about this address? It carries
its own proof. Nobody has to trust the organisation that made it, or ask it again.

How to check it
  Run    consent-ledger verify <this zip file>
  with the public key of the log. Take that key from the contract or another place that you trust,
  not from this file. No database and no network are needed. The command prints "good", "bad" or
  "incomplete", names the first thing that is wrong, and exits with 0, 1 or 2. Check the zip file as
  you received it: one that was unpacked and packed again counts as changed.

What is inside
  checkpoint     The log's signed statement of its size and its root hash at that time.
  entries/       Each event as it was signed when it was recorded, with the proof that the log holds
                 it at that place (a c2sp.org/tlog-proof file). Entry 0 names the keys that sign entries.
  completeness.json
                 What shows that no entry about this address was left out: the log's latest index of
                 persons, the rows of this address in it, and every entry that came after it. Those
                 entries hold no address and no detail of anybody, only random numbers and signatures.
  disclosures/   The personal details of each event. The entry holds a salted commitment to them, so
                 that a detail changed later does not fit. Where a file is absent, the details were
                 erased or are not shown; the entry still proves that the event took place, and when.
  history.json   A readable summary. The log signed it; the proof lies in the entries.
  question.json  Whose history was asked for, and when.
  manifest       The SHA-256 of every other file, signed by the log.

To check by hand, without our program: each format is public. c2sp.org/signed-note describes the
checkpoint, the manifest and the entries, RFC 6962 the tree of hashes, c2sp.org/tlog-proof the proofs.

What it does not show
  Where completeness.json is absent: that nothing was left out. Where it is present, the check says
  "complete", or what is still open; that an address leads to no other person can be checked with the
  log's directory key alone, which auditors get under contract. It rests on the log's index of persons,
  which anybody who holds all entries can build again and compare. An entry that was recorded under
  a wrong person, or never, is found by comparing with the receipts that senders and recipients hold.
"""
_ANCHORS = """
What others said
  bracket/, tsr/  What independent witnesses and time-stamping authorities said about the log, and when:
                  about this checkpoint, and about those before and after the moment that was asked for.
                  Name those whom you believe with --policy and --tsa.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """One entry of the bundle; `disclosure` is None where nothing is opened or the payload was erased."""

    index: int
    entry: bytes
    proof: tuple[bytes, ...]
    disclosure: Disclosure | DirectoryOpening | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Bundle:
    """The answer about one address: every item is proven against `checkpoint_note`.

    The items hold `log.genesis` (index 0) and the `subject.opened` of every subject in the events, or
    the verifier calls the bundle incomplete; with `completeness` also its index epoch. `history` is a
    readable summary in JSON. `anchors` are members below `bracket/` and `tsr/`, as `members` names them.
    """

    origin: str
    address: str
    asked_at: datetime
    checkpoint_note: bytes
    items: tuple[Item, ...]
    history: bytes
    completeness: Completeness | None = None
    anchors: Mapping[str, bytes] = field(default_factory=dict)


def write(bundle: Bundle, signer: Signer) -> bytes:
    """Return the zip file of the bundle, its manifest signed by the log's key.

    The same bundle always gives the same bytes. Raises `TooLarge` beyond 65,000 members.
    """
    assert signer.name == bundle.origin, "a bundle is signed by the log that it is about"
    files = _files(bundle)
    text = members.manifest_text(bundle.origin, files)
    return archive.pack({**files, MANIFEST: signer.sign(text)})


def read(data: bytes) -> Bundle:
    """Return the bundle in a zip file that `write` wrote, checking its form and no signature.

    Raises `Tampered` if anything is missing or any byte is not as `write` would have written it.
    """
    files = archive.unpack(data)
    if missing := {CHECKPOINT, HISTORY, MANIFEST, QUESTION, README} - files.keys():
        raise Tampered(f"the bundle lacks {min(missing)}")
    question = members.parse_question(files[QUESTION])
    bundle = Bundle(
        origin=question.origin,
        address=question.address,
        asked_at=question.asked_at,
        checkpoint_note=files[CHECKPOINT],
        items=tuple(_parse_item(index, files) for index in members.entry_indexes(files)),
        history=files[HISTORY],
        completeness=members.parse_completeness(files[COMPLETENESS]) if COMPLETENESS in files else None,
        anchors={name: data for name, data in files.items() if members.is_anchor(name)},
    )
    rewritten = {**_files(bundle), README: files[README], MANIFEST: files[MANIFEST]}
    if archive.pack(rewritten) != data:
        raise Tampered("the bundle does not read back as the bytes that were written")
    return bundle


def _files(bundle: Bundle) -> dict[str, bytes]:
    """Return every member but the manifest."""
    question = Question(origin=bundle.origin, address=bundle.address, asked_at=bundle.asked_at)
    files = {
        **bundle.anchors,
        CHECKPOINT: bundle.checkpoint_note,
        HISTORY: bundle.history,
        QUESTION: members.encode_question(question),
        README: _readme(question, anchored=bool(bundle.anchors)),
    }
    if bundle.completeness is not None:
        files[COMPLETENESS] = members.encode_completeness(bundle.completeness)
    for item in bundle.items:
        receipt = Receipt(item.index, item.entry, item.proof, bundle.checkpoint_note)
        files[members.entry_name(item.index)] = encode_proof(receipt)
        if item.disclosure is not None:
            files[members.disclosure_name(item.index)] = members.encode_disclosure(item.disclosure)
    return files


def _readme(question: Question, *, anchored: bool) -> bytes:
    asked_at = format_time(question.asked_at)
    text = _README.format(address=question.address, asked_at=asked_at, origin=question.origin)
    return (text + _ANCHORS * anchored).encode()


def _parse_item(index: int, files: Mapping[str, bytes]) -> Item:
    receipt = decode_proof(files[members.entry_name(index)])
    opened = files.get(members.disclosure_name(index))
    disclosure = None if opened is None else members.parse_disclosure(opened)
    return Item(index=index, entry=receipt.entry, proof=receipt.proof, disclosure=disclosure)
