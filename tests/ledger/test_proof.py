from dataclasses import replace

import pytest

from service.errors import Tampered
from service.ledger import merkle
from service.ledger.note import Signer
from service.ledger.proof import (
    Checkpoint,
    Receipt,
    decode_proof,
    encode_proof,
    open_checkpoint,
    sign_checkpoint,
    verify_receipt,
)
from tests.ledger.evidence import LOG, ORIGIN, VECTORS, event_entry, flipped, grow, signer, verifier

PUBLISHED = VECTORS["checkpoint"]
CHECKPOINT = Checkpoint("ledger.example/acme-1", 8, bytes.fromhex(VECTORS["consent_log"]["root"]))


def receipt(index=5, size=7):
    entries = [event_entry() if number == index else b"filler %d" % number for number in range(size)]
    tree = grow(entries)
    note = sign_checkpoint(Checkpoint(ORIGIN, size, tree.edge.root()), LOG)
    return Receipt(index, entries[index], tuple(merkle.inclusion_proof(index, size, tree.read)), note)


def test_a_checkpoint_is_written_and_signed_as_published():
    assert CHECKPOINT.text() == PUBLISHED["body_text"].encode()
    assert sign_checkpoint(CHECKPOINT, signer("log")) == PUBLISHED["ed25519_only_text"].encode()


@pytest.mark.parametrize(
    "form", ["ed25519_only_text", "ed25519_plus_w1_text", "all_signatures_text", "rotation_overlap_text"]
)
def test_published_checkpoints_open(form):
    note = PUBLISHED[form].encode()
    assert open_checkpoint(note, [verifier("log"), verifier("w1")]) == CHECKPOINT


def test_during_a_rotation_either_key_of_the_log_opens_its_checkpoint():
    assert open_checkpoint(PUBLISHED["rotation_overlap_text"].encode(), [verifier("log_new")]) == CHECKPOINT


def test_a_published_older_checkpoint_is_consistent_with_the_newer_one():
    old = open_checkpoint(VECTORS["witness"]["old_checkpoint_text"].encode(), [verifier("log")])
    tree = grow([record["entry_text"].encode() for record in VECTORS["consent_log"]["records"]])
    proof = merkle.consistency_proof(old.size, CHECKPOINT.size, tree.read)
    assert merkle.verify_consistency(old.size, CHECKPOINT.size, old.root, CHECKPOINT.root, proof)


@pytest.mark.parametrize("bad", VECTORS["bad_notes"], ids=lambda bad: bad["why"])
def test_published_bad_checkpoints_are_refused(bad):
    with pytest.raises(Tampered):
        open_checkpoint(bad["text"].encode(), [verifier("log"), verifier("w1")])


def test_a_witness_alone_does_not_make_a_checkpoint():
    with pytest.raises(Tampered, match="not signed by that log"):
        open_checkpoint(PUBLISHED["ed25519_plus_w1_text"].encode(), [verifier("w1")])


def test_another_log_cannot_sign_in_this_one_s_name():
    other = Signer("other.example/log", bytes(32))
    with pytest.raises(Tampered, match="not signed by that log"):
        open_checkpoint(other.sign(CHECKPOINT.text()), [other.verifier])


def test_extension_lines_are_passed_over():
    assert Checkpoint.parse(CHECKPOINT.text() + b"extension\n") == CHECKPOINT


@pytest.mark.parametrize(
    "text",
    [
        b"o\n1\n",
        b"o\n1\nAAAA\n",
        b"\n1\n" + b"A" * 43 + b"=\n",
        b"o\n+1\n" + b"A" * 43 + b"=\n",
        b"o\n1 \n" + b"A" * 43 + b"=\n",
        b"o\n-1\n" + b"A" * 43 + b"=\n",
        b"o\n9223372036854775808\n" + b"A" * 43 + b"=\n",
        b"o\n1\n" + b"A" * 43 + b"=",
        b"o\n1\n" + b"A" * 43 + b"=\n\n",
        b"o\n1\n" + b"A" * 43 + b"=\nx\n\ny\n",
    ],
)
def test_what_is_not_exactly_a_checkpoint_is_refused(text):
    with pytest.raises(Tampered):
        Checkpoint.parse(text)


def test_the_published_tlog_proof_verifies_and_is_written_the_same():
    data = VECTORS["tlog_proof"]["text"].encode()
    verified = verify_receipt(data, [verifier("log"), verifier("w1")])
    assert (verified.receipt.index, verified.checkpoint) == (5, CHECKPOINT)
    assert verified.receipt.entry == VECTORS["consent_log"]["records"][5]["entry_text"].encode()
    assert encode_proof(verified.receipt) == data


@pytest.mark.parametrize(("index", "size"), [(0, 1), (0, 2), (5, 7), (6, 7)])
def test_a_receipt_survives_its_file_and_verifies(index, size):
    data = encode_proof(receipt(index, size))
    assert decode_proof(data) == receipt(index, size)
    assert verify_receipt(data, [LOG.verifier]).checkpoint.size == size


def test_a_change_to_any_byte_of_a_receipt_is_refused():
    for changed in flipped(encode_proof(receipt())):
        with pytest.raises(Tampered):
            verify_receipt(changed, [LOG.verifier])


@pytest.mark.parametrize(
    "change",
    [{"index": 4}, {"entry": b"other"}, {"proof": ()}, {"proof": (bytes(32),) * 64}, {"proof": (bytes(31),)}],
)
def test_a_receipt_for_something_else_is_refused(change):
    with pytest.raises(Tampered):
        verify_receipt(encode_proof(replace(receipt(), **change)), [LOG.verifier])


def test_a_proof_without_the_entry_in_it_is_refused():
    lines = encode_proof(receipt()).split(b"\n")
    with pytest.raises(Tampered, match="line with the entry"):
        decode_proof(b"\n".join([lines[0], *lines[2:]]))
