"""Nothing was left out: the foreign bundles are accepted, and each way to hide something is refused."""

import base64
from dataclasses import replace

import pytest

from service.errors import Tampered
from service.ledger import entry, members
from service.ledger.completeness import Case, Completeness, is_normal, judge
from service.ledger.index import (
    DIRECTORY,
    SUBJECTS,
    Absent,
    Commitment,
    Shown,
    commit_key,
    require_absent,
)
from service.ledger.merkle import Edge, leaf_hash, verify_inclusion
from service.ledger.proof import Checkpoint
from service.ledger.register import Register
from tests.ledger.evidence import INGEST, VECTORS, WHEN

LOG = VECTORS["consent_log"]
AUDIT, ABSENCE = LOG["audit_bundle"], LOG["absence_bundle"]
ENTRIES = [record["entry_text"].encode() for record in LOG["records"]]
KEY = bytes.fromhex(LOG["directory_key"])
ROOT = bytes.fromhex(LOG["root"])
HEAD = Checkpoint(LOG["origin_text"], LOG["size"], ROOT)
EPOCH = AUDIT["epoch_index"]


def hashes(texts):
    return tuple(map(bytes.fromhex, texts))


def row(told):
    return told and Shown(row=bytes.fromhex(told["leaf"]), position=told["i"], path=hashes(told["proof"]))


def shown(kind):
    """A row of the audit bundle: "directory" or "subject"."""
    data, path = bytes.fromhex(AUDIT[f"{kind}_leaf"]), hashes(AUDIT[f"{kind}_proof"])
    return Shown(row=data, position=AUDIT[f"{kind}_position"], path=path)


def absent(told):
    return Absent(left=row(told["left"]), right=row(told["right"]))


ANA = Completeness(
    epoch=EPOCH,
    edge=AUDIT["tail"]["from"].to_bytes(8, "big") + b"".join(hashes(AUDIT["tail"]["edge"])),
    versions=(shown("directory"),),
    next_version=absent(AUDIT["next_version_absent"]),
    subjects=(shown("subject"),),
    tail=tuple(text.encode() for text in AUDIT["tail"]["entries_text"]),
    directory_key=KEY,
)
SUBJECT = bytes.fromhex(AUDIT["directory_opening"]["sub"])
ASKED = Case(
    checkpoint=HEAD,
    address=AUDIT["email"],
    entries={0: ENTRIES[0], EPOCH: ENTRIES[EPOCH]}
    | {told["index"]: told["entry_text"].encode() for told in AUDIT["events"]},
    subjects={0: SUBJECT},
)
NOBODY = replace(ANA, versions=(), next_version=absent(ABSENCE["absent"]), subjects=())
NOBODY_ASKED = replace(ASKED, address=ABSENCE["email"], entries={EPOCH: ENTRIES[EPOCH]}, subjects={})
BEN = LOG["subjects"][1]


def entries_without(index):
    return {place: data for place, data in ASKED.entries.items() if place != index}


def test_the_foreign_audit_bundle_is_complete():
    finding = judge(ANA, ASKED)
    assert finding.complete
    assert (finding.size, finding.covered, finding.events, finding.subjects) == (8, 6, 3, 1)
    assert finding.words().startswith("complete: all 3 entries about this address among the 8")


def test_the_foreign_absence_bundle_shows_that_the_address_was_never_known():
    finding = judge(NOBODY, NOBODY_ASKED)
    assert finding.complete
    assert finding.words() == "complete: this address was not known to the log when it had 8 entries."


def test_the_inclusion_proofs_of_the_foreign_bundle_hold():
    for told in AUDIT["events"]:
        leaf = leaf_hash(told["entry_text"].encode())
        assert verify_inclusion(told["index"], HEAD.size, leaf, hashes(told["inclusion"]), ROOT)


def test_all_ten_attacks_of_the_vectors_are_tried_here():
    told = {attack["why"] for attack in LOG["audit_bundle_negative"] + LOG["absence_negative"]}
    assert told == set(ATTACKS)


def _other_row():
    made = Register()
    for data in ENTRIES[:6]:
        made.add(data)
    return made.show(SUBJECTS, bytes.fromhex(BEN["sub"]))


def _second_key():
    """A directory under another key, in which a known address is truly absent."""
    return replace(NOBODY, directory_key=bytes(32)), replace(NOBODY_ASKED, address=AUDIT["email"])


ATTACKS = {
    "last event (the unsubscribe) withheld": (ANA, replace(ASKED, entries=entries_without(5))),
    "middle event withheld": (ANA, replace(ASKED, entries=entries_without(4))),
    "one tail entry withheld": (replace(ANA, tail=ANA.tail[:-1]), ASKED),
    "subject leaf of another person": (replace(ANA, subjects=(_other_row(),)), ASKED),
    "asked for another address": (ANA, replace(ASKED, address=BEN["email"])),
    "wrong opening of the directory value": (ANA, replace(ASKED, subjects={0: bytes.fromhex(BEN["sub"])})),
    "event order swapped": (
        ANA,
        replace(ASKED, entries={**ASKED.entries, 4: ASKED.entries[5], 5: ASKED.entries[4]}),
    ),
    "event text altered": (
        ANA,
        replace(ASKED, entries={**ASKED.entries, 5: ASKED.entries[5].replace(b"06.000Z", b"07.000Z")}),
    ),
    "absence of a registered address, honest key": (NOBODY, replace(NOBODY_ASKED, address=AUDIT["email"])),
    "absence of a registered address under a second, uncommitted key": _second_key(),
}


@pytest.mark.parametrize("why", ATTACKS)
def test_an_attack_of_the_vectors_is_refused(why):
    evidence, case = ATTACKS[why]
    with pytest.raises(Tampered):
        judge(evidence, case)


def test_the_second_key_would_have_worked_if_it_were_not_committed_to():
    stated = Commitment.parse(entry.decode(ENTRIES[EPOCH]).extra)
    other = entry.directory_key_value(bytes(32), AUDIT["email"], 1)
    made = Register()
    for data in ENTRIES[:6]:
        made.add(data)
    require_absent(other, made.show(DIRECTORY, other), DIRECTORY, stated)
    with pytest.raises(Tampered, match="directory key is not the one"):
        judge(*_second_key())


def test_without_the_directory_key_the_verdict_says_what_is_not_shown():
    closed = judge(replace(ANA, directory_key=None), ASKED)
    assert not closed.complete
    assert "Not shown: completeness for the address" in closed.words()
    assert judge(replace(ANA, directory_key=None), ASKED, KEY).complete
    unknown = judge(replace(NOBODY, directory_key=None), NOBODY_ASKED)
    assert unknown.words().startswith("not shown: completeness")


def test_the_auditors_own_directory_key_outweighs_the_one_in_the_bundle():
    with pytest.raises(Tampered, match="directory key is not the one"):
        judge(ANA, ASKED, bytes(32))


def test_another_spelling_of_the_address_proves_nothing():
    spelled = replace(NOBODY_ASKED, address=AUDIT["email"].upper())
    assert not judge(NOBODY, spelled).complete


@pytest.mark.parametrize(
    ("address", "normal"),
    [
        ("ana@example.org", True),
        ("josé@xn--bcher-kva.example", True),
        ("Ana@example.org", False),
        (" ana@example.org", False),
        ("ana@bücher.example", False),
        ("ﬁ@example.org", False),
    ],
)
def test_only_the_spelling_of_the_directory_is_normal(address, normal):
    assert is_normal(address) is normal


# --- a log of our own, in which things happen after the epoch ---------------------------------------


PERSON, STRANGER, RETURNED = bytes([5]) * 32, bytes([6]) * 32, bytes([7]) * 32


def about(subject):
    return entry.encode(entry.Entry(category="consent.granted", at=WHEN, subject=subject), INGEST)


def opening(subject, address="ana@example.org", version=1):
    dk = entry.directory_key_value(KEY, address, version)
    dv = entry.directory_value(bytes(32), subject)
    told = {"dk": base64.b64encode(dk).decode(), "dv": base64.b64encode(dv).decode()}
    return entry.encode(entry.Entry(category="subject.opened", at=WHEN, extra=told), INGEST)


def genesis(dkc=None):
    extra = {"dkc": base64.b64encode(dkc or commit_key(KEY)).decode()}
    return entry.encode(entry.Entry(category="log.genesis", at=WHEN, extra=extra), INGEST)


def epoch(register, **changes):
    extra = register.commitment(commit_key(KEY)).extra() | changes
    return entry.encode(entry.Entry(category="index.epoch", at=WHEN, extra=extra), INGEST)


def answer(before, after, subjects, *, held, versions=0, **changes):
    """The evidence and the case of a log: entries covered, epoch, entries after; `held` is in the bundle."""
    register, edge = Register(), Edge()
    for data in before:
        register.add(data)
        edge.add(leaf_hash(data))
    log = [*before, epoch(register, **changes), *after]
    head = Edge()
    for data in log:
        head.add(leaf_hash(data))
    keys = [entry.directory_key_value(KEY, "ana@example.org", number) for number in range(1, versions + 2)]
    evidence = Completeness(
        epoch=len(before),
        edge=edge.to_bytes(),
        versions=tuple(register.show(DIRECTORY, key) for key in keys[:-1]),
        next_version=register.show(DIRECTORY, keys[-1]),
        subjects=tuple(register.show(SUBJECTS, subject) for subject in subjects.values()),
        tail=tuple(log[len(before) :]),
        directory_key=KEY,
    )
    case = Case(
        checkpoint=Checkpoint("log.example", len(log), head.root()),
        address="ana@example.org",
        entries={index: log[index] for index in (0, len(before), *held)},
        subjects=subjects,
    )
    return evidence, case


BEFORE = [genesis(), opening(PERSON), about(PERSON), opening(STRANGER, "bo@example.org"), about(STRANGER)]


def test_an_entry_after_the_epoch_is_counted():
    finding = judge(
        *answer(BEFORE, [about(STRANGER), about(PERSON)], {1: PERSON}, held=(1, 2, 7), versions=1)
    )
    assert finding.complete
    assert finding.events == 2


def test_an_entry_after_the_epoch_cannot_be_left_out():
    with pytest.raises(Tampered, match="entry 7 is about this person and was left out"):
        judge(*answer(BEFORE, [about(STRANGER), about(PERSON)], {1: PERSON}, held=(1, 2), versions=1))


def test_somebody_opened_after_the_epoch_is_found():
    late = [genesis(), opening(STRANGER, "bo@example.org")], [opening(PERSON), about(PERSON)], {3: PERSON}
    finding = judge(*answer(*late, held=(3, 4)))
    assert finding.complete
    assert (finding.subjects, finding.events) == (1, 1)


def test_somebody_opened_after_the_epoch_is_not_absent():
    late = [genesis(), opening(STRANGER, "bo@example.org")], [opening(PERSON), about(PERSON)], {}
    with pytest.raises(Tampered, match="entry 3 opened this address and is not in the bundle"):
        judge(*answer(*late, held=()))


def test_a_person_whose_entries_begin_before_their_opening_cannot_hide_them():
    early = [genesis(), about(PERSON)], [opening(PERSON)], {3: PERSON}
    with pytest.raises(Tampered, match="not those that the index counted"):
        judge(*answer(*early, held=(3,)))


def test_an_opening_on_the_last_covered_entry_leaves_the_person_without_a_row():
    finding = judge(
        *answer([genesis(), opening(PERSON)], [about(PERSON)], {1: PERSON}, held=(1, 3), versions=1)
    )
    assert finding.complete
    assert finding.events == 1


def test_after_an_erasure_the_verdict_says_that_something_cannot_be_told():
    again = [*BEFORE, opening(RETURNED, version=2), about(RETURNED)]
    finding = judge(*answer(again, [], {5: RETURNED}, held=(1, 5, 6), versions=2))
    assert not finding.complete
    assert (finding.closed, finding.events) == (1, 1)
    assert finding.words().startswith("not shown: completeness. 1 identities of this address are closed")


def test_a_second_identity_of_the_address_cannot_be_kept_back():
    twice = [*BEFORE, opening(RETURNED, version=2), about(RETURNED)]
    evidence, case = answer(twice, [], {1: PERSON}, held=(1, 2), versions=1)
    kept_back = evidence.next_version
    assert isinstance(kept_back, Shown)
    at_the_edges = [Absent(left=None, right=kept_back), Absent(left=kept_back, right=None)]
    for denied in (*at_the_edges, Absent(left=None, right=None)):
        with pytest.raises(Tampered):
            judge(replace(evidence, next_version=denied), case)


def test_an_entry_about_somebody_else_is_refused():
    with pytest.raises(Tampered, match="entry 4 is about another person"):
        judge(*answer(BEFORE, [], {1: PERSON}, held=(1, 2, 4), versions=1))


def test_an_opening_of_somebody_else_is_refused():
    with pytest.raises(Tampered, match="entry 3 opened another address"):
        judge(*answer(BEFORE, [], {1: PERSON}, held=(1, 2, 3), versions=1))


def test_an_epoch_under_another_directory_key_than_the_log_began_with_is_refused():
    other = [genesis(bytes(32)), *BEFORE[1:]]
    with pytest.raises(Tampered, match="no entry before it committed to"):
        judge(*answer(other, [], {1: PERSON}, held=(1, 2), versions=1))


def test_an_epoch_may_rest_on_a_later_directory_key_that_the_log_committed_to():
    told = {"dkc": base64.b64encode(commit_key(KEY)).decode()}
    rekeyed = entry.encode(entry.Entry(category="directory.rekey", at=WHEN, extra=told), INGEST)
    later = [genesis(bytes(32)), rekeyed, *BEFORE[1:]]
    assert judge(*answer(later, [], {2: PERSON}, held=(1, 2, 3), versions=1)).complete
    with pytest.raises(Tampered, match="no entry before it committed to"):
        judge(*answer(later, [], {2: PERSON}, held=(2, 3), versions=1))


def test_an_epoch_cannot_cover_what_came_after_it():
    evidence, case = answer(BEFORE, [about(PERSON)], {1: PERSON}, held=(1, 2, 6), versions=1, n=7)
    with pytest.raises(Tampered, match="cannot cover entries that came after it"):
        judge(evidence, case)


def test_what_is_named_as_epoch_must_be_one():
    evidence, case = answer(BEFORE, [], {1: PERSON}, held=(1, 2), versions=1)
    with pytest.raises(Tampered, match="is not one"):
        judge(replace(evidence, epoch=2), case)


def test_the_evidence_reads_back():
    evidence, _ = answer(BEFORE, [about(PERSON)], {1: PERSON}, held=(1, 2), versions=1)
    for one in (evidence, ANA, NOBODY):
        assert members.parse_completeness(members.encode_completeness(one)) == one


@pytest.mark.parametrize(
    "change",
    [
        (b'"epoch":6', b'"epoch":true'),
        (b'"epoch":6', b'"epoch":"6"'),
        (b'"position":0', b'"position":0.0'),
        (b'"position":0', b'"position":null'),
        (b'"path":["', b'"path":["AAAA","'),
        (b'"tail":[', b'"tail":[7,'),
        (b'"edge":"', b'"edge":" '),
        (b'"left":null', b'"left":7'),
        (b'"epoch":6', b'"epoch":6,"more":1'),
    ],
)
def test_a_reader_of_the_evidence_accepts_only_what_the_writer_writes(change):
    data = members.encode_completeness(ANA)
    assert change[0] in data
    with pytest.raises(Tampered):
        members.parse_completeness(data.replace(*change, 1))
