from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from service.errors import Malformed, Tampered
from service.ledger import merkle
from service.ledger.note import split_note
from service.ledger.proof import Checkpoint, open_checkpoint
from service.ledger.witness import (
    AHEAD,
    Addition,
    accept,
    cosignatures,
    decode_request,
    decode_size,
    encode_request,
    encode_size,
    identity,
    monitoring_path,
    read_witness_key,
)
from tests.ledger.evidence import VECTORS, flipped, verifier

WITNESS = VECTORS["witness"]
KEYS = VECTORS["keys"]
REQUEST = WITNESS["add_checkpoint_request_text"].encode()
ANSWER = WITNESS["response_200_text"].encode()
NOTE = decode_request(REQUEST).note
SIGNED_AT = datetime.fromtimestamp(VECTORS["checkpoint"]["cosignature_v1_timestamp"], UTC)
W1, W2 = (read_witness_key(KEYS[name]["vkey_text"]) for name in ("w1", "w2"))


def test_the_published_request_is_read_and_written_again_byte_for_byte():
    addition = decode_request(REQUEST)
    assert (addition.old, len(addition.proof)) == (6, 3)
    assert encode_request(addition) == REQUEST


def test_the_published_request_shows_that_the_log_continues_what_the_witness_knew():
    addition = decode_request(REQUEST)
    old = Checkpoint.parse(split_note(WITNESS["old_checkpoint_text"].encode())[0])
    new = open_checkpoint(addition.note, [verifier("log")])
    assert old.size == addition.old
    assert merkle.verify_consistency(old.size, new.size, old.root, new.root, addition.proof)


def test_a_first_contact_claims_nothing_and_proves_nothing():
    first = encode_request(Addition(old=0, proof=(), note=NOTE))
    assert first.startswith(b"old 0\n\n")
    assert decode_request(first) == Addition(old=0, proof=(), note=NOTE)


def test_the_published_answer_is_a_cosignature_with_its_time():
    found = accept(NOTE, ANSWER, W1, now=SIGNED_AT)
    assert (found.key, found.at, found.line) == (identity(W1), SIGNED_AT, ANSWER)
    assert NOTE + found.line == VECTORS["checkpoint"]["ed25519_plus_w1_text"].encode()


def test_every_witness_line_of_the_published_checkpoint_holds():
    note = VECTORS["checkpoint"]["all_signatures_text"].encode()
    found = cosignatures(note, [W1, W2])
    assert {one.key for one in found} == {identity(W1), identity(W2)}
    assert all(one.line in note for one in found)


def test_an_answer_by_another_witness_is_no_answer():
    with pytest.raises(Tampered, match="holds no signature by its key"):
        accept(NOTE, ANSWER, W2, now=SIGNED_AT)


def test_an_answer_with_any_other_byte_is_not_accepted():
    for answer in flipped(ANSWER):
        with pytest.raises(Tampered):
            accept(NOTE, answer, W1, now=SIGNED_AT)


def test_an_answer_to_another_checkpoint_is_not_accepted():
    with pytest.raises(Tampered, match="does not fit the checkpoint"):
        accept(WITNESS["old_checkpoint_text"].encode(), ANSWER, W1, now=SIGNED_AT)


def test_lines_by_strangers_in_an_answer_are_passed_over():
    stranger = VECTORS["checkpoint"]["all_signatures_text"].encode().splitlines(keepends=True)[-1]
    assert accept(NOTE, stranger + ANSWER, W1, now=SIGNED_AT).line == ANSWER


def test_a_time_that_has_not_come_yet_is_not_believed():
    with pytest.raises(Tampered, match="not come yet"):
        accept(NOTE, ANSWER, W1, now=SIGNED_AT - AHEAD - timedelta(seconds=1))


@pytest.mark.parametrize("body", [b"", b"6", b"06\n", b"-1\n", b"6\n\n", b"x\n", b"9223372036854775808\n"])
def test_a_size_is_a_plain_number_on_one_line(body):
    with pytest.raises(Malformed):
        decode_size(body)


def test_the_published_size_is_read_and_written():
    body = WITNESS["response_409"]["body_text"].encode()
    assert decode_size(body) == 6
    assert encode_size(6) == body


@pytest.mark.parametrize(
    "change",
    [
        (b"old 6", b"old 06"),
        (b"old 6", b"new 6"),
        (b"old 6\n", b"old 6\n\n"),
        (b"9s=\n", b"9t=\n"),
        (b"sYJePqnP", b"sYJePq"),
    ],
)
def test_a_request_of_another_form_is_refused(change):
    body = REQUEST.replace(*change, 1)
    assert body != REQUEST
    try:
        changed = decode_request(body)
    except Malformed:
        return
    assert not changed.note.startswith(b"ledger.example")


def test_a_proof_of_more_than_63_hashes_is_refused():
    proof = decode_request(REQUEST).proof
    with pytest.raises(Malformed, match="at most 63"):
        decode_request(encode_request(replace(decode_request(REQUEST), proof=proof[:1] * 64)))


def test_a_log_key_is_not_a_witness_key():
    with pytest.raises(Malformed, match="type 4 or 6"):
        read_witness_key(KEYS["log"]["vkey_text"])


def test_a_log_is_monitored_under_the_hash_of_its_origin():
    assert monitoring_path("ledger.example/acme-1") == WITNESS["origin_hash"] + "/checkpoint"
