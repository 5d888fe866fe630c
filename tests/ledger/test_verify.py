import base64
import io
import zipfile
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.errors import Malformed
from service.ledger import archive, bundle, entry, members
from service.ledger.note import Signer
from service.ledger.proof import Checkpoint, sign_checkpoint
from service.ledger.verify import State, verify_bundle
from tests.ledger.evidence import (
    DIRECTORY,
    DIRECTORY_KEY,
    FIELDS,
    INGEST,
    LOG,
    ORIGIN,
    SUBJECT,
    WHEN,
    assemble,
    complete,
    event_entry,
    flipped,
    genesis_entry,
    opened_entry,
    show,
    small,
)

DATA = bundle.write(small(), LOG)
COMPLETE = bundle.write(complete(), LOG)
STRANGER = Signer(f"{ORIGIN}/ingest-9", bytes([9]) * 32)


def judge(made):
    return verify_bundle(bundle.write(made, LOG), LOG.vkey)


def without(*names):
    files = archive.unpack(DATA)
    return archive.pack({name: content for name, content in files.items() if name not in names})


def signed_again(**changes):
    """The bundle after its operator changed members and signed a new manifest."""
    files = {name: content for name, content in archive.unpack(DATA).items() if name != "manifest"}
    files.update({name: content for name, content in changes.items() if content is not None})
    files = {name: content for name, content in files.items() if changes.get(name, b"") is not None}
    return archive.pack({**files, "manifest": LOG.sign(members.manifest_text(ORIGIN, files))})


def test_a_sound_bundle_is_good_and_says_what_was_checked():
    verdict = verify_bundle(DATA, LOG.vkey)
    assert (verdict.state, verdict.exit_code) == (State.GOOD, 0)
    assert (verdict.origin, verdict.size) == (ORIGIN, 7)
    assert verdict.checked == {
        "files against the signed manifest": 9,
        "entries proven to be in the log": 3,
        "signatures on entries": 3,
        "openings that fit their entry": 2,
    }


def test_the_report_says_what_no_bundle_can_show():
    assert "not shown: completeness" in verify_bundle(DATA, LOG.vkey).report()


def test_a_bundle_with_an_epoch_is_shown_to_hold_everything():
    verdict = verify_bundle(COMPLETE, LOG.vkey)
    assert verdict.complete
    assert "complete: all 1 entries about this address among the 5" in verdict.report()
    assert "not shown" not in verdict.report()
    assert verdict.checked["entries after the index looked through"] == 2


def test_the_directory_key_may_come_from_the_auditor_instead():
    closed = complete()
    assert closed.completeness is not None
    without_key = replace(closed, completeness=replace(closed.completeness, directory_key=None))
    data = bundle.write(without_key, LOG)
    assert not verify_bundle(data, LOG.vkey).complete
    assert verify_bundle(data, LOG.vkey, DIRECTORY_KEY).complete
    assert verify_bundle(data, LOG.vkey, bytes([1]) * 32).reason.startswith("completeness.json: ")


def test_evidence_of_completeness_that_is_named_but_not_there_makes_it_incomplete():
    files = archive.unpack(COMPLETE)
    del files["completeness.json"]
    verdict = verify_bundle(archive.pack(files), LOG.vkey)
    assert verdict.state is State.INCOMPLETE
    assert verdict.reason.startswith("completeness.json is missing")
    assert not verdict.complete


def test_an_operator_cannot_leave_an_event_out_of_a_complete_bundle():
    whole = complete()
    verdict = judge(replace(whole, items=(*whole.items[:2], whole.items[3])))
    assert verdict.reason.startswith("completeness.json: the entries about this person are not those")


def test_a_change_to_any_byte_of_a_complete_bundle_is_refused():
    for changed in flipped(COMPLETE):
        assert verify_bundle(changed, LOG.vkey).state is State.BAD


def test_no_verdict_repeats_the_address():
    foreign = {**FIELDS, "address": "ben@example.org"}
    entries = {0: genesis_entry(), 2: opened_entry(), 5: event_entry(foreign)}
    verdict = judge(assemble(entries, {5: show("address", fields=foreign)}))
    assert verdict.exit_code == 1
    assert not any(name in verdict.report() for name in ("ana@", "ben@"))


def test_a_change_to_any_byte_of_the_file_is_refused():
    for changed in flipped(DATA):
        assert verify_bundle(changed, LOG.vkey).state is State.BAD


def test_a_file_cut_anywhere_is_bad():
    for length in range(len(DATA)):
        assert verify_bundle(DATA[:length], LOG.vkey).exit_code == 1


@given(st.binary(max_size=300))
def test_whatever_the_bytes_are_the_answer_is_a_verdict(data):
    assert verify_bundle(data, LOG.vkey).state is State.BAD


def test_another_log_s_key_makes_it_bad():
    other = Signer("other.example/log-1", bytes([7]) * 32)
    verdict = verify_bundle(DATA, other.vkey)
    assert verdict.exit_code == 1
    assert verdict.reason.startswith("manifest: no known key")


def test_what_is_no_key_is_the_caller_s_mistake():
    with pytest.raises(Malformed):
        verify_bundle(DATA, "not a key")


@pytest.mark.parametrize("name", sorted(archive.unpack(DATA)))
def test_a_missing_member_makes_it_incomplete_and_is_named(name):
    verdict = verify_bundle(without(name), LOG.vkey)
    assert (verdict.state, verdict.exit_code) == (State.INCOMPLETE, 2)
    assert verdict.reason.startswith(f"{name} is missing")


def test_a_missing_member_is_named_even_if_another_program_packed_the_rest():
    written = io.BytesIO()
    with zipfile.ZipFile(written, "w") as foreign:
        for name, content in archive.unpack(without("entries/5.tlog-proof")).items():
            foreign.writestr(name, content)
    assert verify_bundle(written.getvalue(), LOG.vkey).exit_code == 2


def test_a_complete_bundle_packed_by_another_program_counts_as_changed():
    written = io.BytesIO()
    with zipfile.ZipFile(written, "w") as foreign:
        for name, content in archive.unpack(DATA).items():
            foreign.writestr(name, content)
    verdict = verify_bundle(written.getvalue(), LOG.vkey)
    assert verdict.exit_code == 1
    assert verdict.reason.startswith("zip file: the evidence holds")


def test_what_contradicts_outweighs_what_is_missing():
    files = archive.unpack(without("history.json"))
    changed = archive.pack({**files, "README.txt": b"trust me"})
    verdict = verify_bundle(changed, LOG.vkey)
    assert verdict.exit_code == 1
    assert verdict.reason.startswith("manifest: README.txt is not what the log signed")


def test_an_empty_bundle_is_incomplete():
    assert verify_bundle(archive.pack({}), LOG.vkey).exit_code == 2


def test_a_member_that_no_bundle_has_is_bad_even_without_a_manifest():
    files = archive.unpack(without("manifest"))
    verdict = verify_bundle(archive.pack({**files, "manifesto": b""}), LOG.vkey)
    assert verdict.reason == "zip file: it holds 'manifesto', which no bundle has"


def test_a_member_that_the_log_did_not_sign_is_bad():
    files = archive.unpack(DATA)
    verdict = verify_bundle(
        archive.pack({**files, "entries/6.tlog-proof": files["entries/5.tlog-proof"]}), LOG.vkey
    )
    assert verdict.reason.startswith("manifest: entries/6.tlog-proof is in the file, but not in")


@pytest.mark.parametrize("name", ["entries/0.tlog-proof", "checkpoint", "question.json"])
def test_even_the_operator_cannot_leave_out_what_must_be_there(name):
    assert verify_bundle(signed_again(**{name: None}), LOG.vkey).exit_code == 2


def test_a_second_signature_on_the_manifest_is_bad():
    files = archive.unpack(DATA)
    line = INGEST.sign(b"x\n").partition(b"\n\n")[2]
    verdict = verify_bundle(archive.pack({**files, "manifest": files["manifest"] + line}), LOG.vkey)
    assert verdict.reason.startswith("manifest: ")


def test_an_entry_from_another_place_is_bad():
    files = archive.unpack(DATA)
    verdict = verify_bundle(signed_again(**{"entries/4.tlog-proof": files["entries/5.tlog-proof"]}), LOG.vkey)
    assert verdict.reason.startswith("entries/4.tlog-proof: this file is about another entry")


def test_an_entry_that_is_not_in_the_log_is_bad():
    forged = replace(small().items[2], entry=event_entry({**FIELDS, "count": 4}))
    verdict = judge(replace(small(), items=(*small().items[:2], forged)))
    assert verdict.reason.startswith("entries/5.tlog-proof: the proof does not show entry 5")


def test_an_older_checkpoint_does_not_prove_a_newer_bundle():
    old = sign_checkpoint(Checkpoint(ORIGIN, 6, bytes(32)), LOG)
    assert judge(replace(small(), checkpoint_note=old)).reason.startswith("entries/0.tlog-proof: the proof")


def test_an_entry_signed_by_a_key_that_genesis_does_not_name_is_bad():
    entries = {0: genesis_entry(), 2: opened_entry(), 5: event_entry(key=STRANGER)}
    verdict = judge(assemble(entries, {}))
    assert verdict.reason.startswith("entries/5.tlog-proof: no known key signed")


def test_keys_that_a_rotation_in_the_log_names_are_accepted():
    rotated = entry.Entry(category="key.rotated", at=WHEN, extra={"ingest": [STRANGER.vkey]})
    entries = {
        0: genesis_entry(),
        2: opened_entry(),
        4: entry.encode(rotated, INGEST),
        5: event_entry(key=STRANGER),
    }
    assert judge(assemble(entries, {})).exit_code == 0


@pytest.mark.parametrize("vkeys", [["no key"], [LOG.vkey], []], ids=["broken", "not an ingest key", "none"])
def test_a_genesis_that_names_no_proper_key_is_bad(vkeys):
    genesis = entry.Entry(category="log.genesis", at=WHEN, extra={"log": LOG.vkey, "ingest": vkeys})
    verdict = judge(assemble({0: entry.encode(genesis, INGEST)}, {}))
    assert verdict.reason.startswith("entries/0.tlog-proof: ")


def test_entry_0_is_genesis_and_no_other_entry_is():
    assert judge(assemble({0: opened_entry()}, {})).exit_code == 1
    assert judge(assemble({0: genesis_entry(), 3: genesis_entry()}, {})).exit_code == 1


def test_an_erased_payload_leaves_a_good_bundle():
    entries = {0: genesis_entry(), 2: opened_entry(), 5: event_entry()}
    assert judge(assemble(entries, {})).exit_code == 0


def test_an_address_of_whom_nothing_is_known_has_a_good_bundle_of_genesis_alone():
    assert judge(assemble({0: genesis_entry()}, {})).exit_code == 0


def test_a_disclosed_field_that_was_changed_is_bad():
    shown = show("address", "notice")
    forged = replace(shown, fields={**shown.fields, "notice": "I want mail"})
    entries = {0: genesis_entry(), 2: opened_entry(), 5: event_entry()}
    verdict = judge(assemble(entries, {5: forged}))
    assert verdict.reason.startswith("disclosures/5.json: the disclosed fields are not")


@pytest.mark.parametrize("field", ["address", "email"])
def test_an_event_about_another_address_is_bad(field):
    foreign = {field: "ben@example.org"}
    entries = {0: genesis_entry(), 2: opened_entry(), 5: event_entry(foreign)}
    verdict = judge(assemble(entries, {5: show(field, fields=foreign)}))
    assert verdict.reason.startswith("disclosures/5.json: the disclosed address is not the one")


@pytest.mark.parametrize(
    ("said", "asked"),
    [
        (" Ana@BÜCHER.example ", "ana@xn--bcher-kva.example"),
        ("ana@STRASSE.example", "ana@straße.example"),
        ("ana@xn--bcher-kva.example", "ana@bücher.example"),
        ("ana@xn--é.example", "ana@xn--é.example"),
    ],
)
def test_the_spelling_of_an_address_makes_no_difference(said, asked):
    spelled = {"address": said}
    entries = {0: genesis_entry(), 2: opened_entry(), 5: event_entry(spelled)}
    assert judge(assemble(entries, {5: show("address", fields=spelled)}, address=asked)).exit_code == 0


def test_an_opening_for_an_entry_without_a_payload_is_bad():
    verdict = judge(assemble({0: genesis_entry()}, {0: show("address")}))
    assert verdict.reason.startswith("disclosures/0.json: the entry commits to no payload")


def test_an_opening_without_its_entry_is_bad():
    verdict = verify_bundle(signed_again(**{"entries/5.tlog-proof": None}), LOG.vkey)
    assert verdict.reason.startswith("disclosures/5.json: something is opened whose entry is not")


def test_events_without_the_opening_of_their_subject_are_incomplete():
    verdict = judge(assemble({0: genesis_entry(), 5: event_entry()}, {}))
    assert verdict.exit_code == 2
    assert "subject.opened" in verdict.reason


def test_a_directory_row_that_leads_elsewhere_is_bad():
    entries = {0: genesis_entry(), 2: opened_entry(), 5: event_entry()}
    verdict = judge(assemble(entries, {2: replace(DIRECTORY, r=bytes(32))}))
    assert verdict.reason.startswith("disclosures/2.json: the directory row")


def test_an_event_of_another_person_is_bad():
    entries = {0: genesis_entry(), 2: opened_entry(), 5: event_entry(subject=bytes(32))}
    verdict = judge(assemble(entries, {2: DIRECTORY}))
    assert verdict.reason.startswith("entries/5.tlog-proof: the entry is about another person")
    assert base64.b64encode(SUBJECT).decode() not in verdict.reason


def test_a_question_to_another_log_is_bad():
    other = members.Question(origin="other.example/log-1", address="ana@example.org", asked_at=WHEN)
    verdict = verify_bundle(signed_again(**{"question.json": members.encode_question(other)}), LOG.vkey)
    assert verdict.reason.startswith("checkpoint: the question was asked of another log")
