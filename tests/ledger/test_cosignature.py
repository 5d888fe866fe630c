import pytest

from service.errors import Malformed, Tampered
from service.ledger.cosignature import CosignatureVerifier, Cosigner, message, read_vkey
from service.ledger.note import open_note, split_note
from service.ledger.proof import Checkpoint, open_checkpoint
from tests.ledger.evidence import VECTORS, flipped, signer, verifier

KEYS = VECTORS["keys"]
NOTE = VECTORS["checkpoint"]["all_signatures_text"].encode()
BODY = VECTORS["checkpoint"]["body_text"].encode()
CHECKPOINT = Checkpoint.parse(BODY)
WHEN_S = 1_772_356_601


def cosigner(name):
    return Cosigner(KEYS[name]["name"], bytes.fromhex(KEYS[name]["seed"]))


def lines_of(note, name):
    return [line for line in split_note(note)[1] if (line.name, line.key_id.hex()) == _identity(name)]


def _identity(name):
    return KEYS[name]["name"], KEYS[name]["key_id"]


@pytest.mark.parametrize("name", ["log_pq", "w2"])
def test_a_key_made_from_its_seed_is_the_published_one(name):
    assert cosigner(name).vkey == KEYS[name]["vkey_text"]
    assert cosigner(name).key_id.hex() == KEYS[name]["key_id"]


def test_the_signed_message_is_the_published_one():
    at_s = int.from_bytes(lines_of(NOTE, "w2")[0].signature[:8], "big")
    assert message("w2.witness.example", CHECKPOINT, at_s).hex() == VECTORS["checkpoint"]["mldsa_message"]


@pytest.mark.parametrize("name", sorted(set(KEYS) - {"log_new", "ingest"}))
def test_every_published_signature_line_holds(name):
    key = read_vkey(KEYS[name]["vkey_text"])
    (line,) = lines_of(NOTE, name)
    assert key.verify(BODY, line.signature)


def test_a_checkpoint_with_every_published_line_opens_with_every_key():
    keys = [read_vkey(KEYS[name]["vkey_text"]) for name in ("log", "log_pq", "w1", "w2")]
    assert open_checkpoint(NOTE, keys) == CHECKPOINT
    assert open_checkpoint(NOTE, [read_vkey(KEYS["log_pq"]["vkey_text"])]) == CHECKPOINT


def test_a_line_of_ours_holds_and_no_two_are_alike():
    log, key = signer("log"), cosigner("log_pq")
    first, second = (key.cosign(CHECKPOINT, WHEN_S) for _ in range(2))
    assert first != second
    note = log.sign(BODY) + first
    assert open_checkpoint(note, [log.verifier, key.verifier]) == CHECKPOINT
    assert [line.name for line in split_note(note)[1]] == [log.name, log.name]


def test_a_changed_line_makes_the_whole_note_worthless():
    key = cosigner("log_pq")
    (line,) = lines_of(NOTE, "log_pq")
    changed = list(flipped(line.signature))[::97]
    assert changed
    assert not any(key.verifier.verify(BODY, signature) for signature in changed)
    forged = (
        signer("log").sign(BODY.replace(b"\n8\n", b"\n9\n"))
        + NOTE[NOTE.index(b"\n\n") + 2 :].split(b"\n")[1]
        + b"\n"
    )
    with pytest.raises(Tampered, match="does not fit the text"):
        open_note(forged, [verifier("log"), key.verifier])


def test_a_text_with_more_lines_than_are_signed_is_not_accepted():
    key = cosigner("log_pq")
    (line,) = lines_of(NOTE, "log_pq")
    assert not key.verifier.verify(BODY + b"frozen\n", line.signature)


@pytest.mark.parametrize("text", [b"", b"\n", b"not a checkpoint\n", b"a\n1\nAAAA\n"])
def test_a_text_that_is_no_checkpoint_was_not_signed_as_one(text):
    (line,) = lines_of(NOTE, "log_pq")
    assert not cosigner("log_pq").verifier.verify(text, line.signature)


def test_a_line_without_a_time_is_not_accepted():
    (line,) = lines_of(NOTE, "log_pq")
    assert not cosigner("log_pq").verifier.verify(BODY, bytes(8) + line.signature[8:])
    assert not cosigner("log_pq").verifier.verify(BODY, b"\xff" * 8 + line.signature[8:])


def test_one_key_does_not_sign_under_another_name():
    key = cosigner("w2")
    other = CosignatureVerifier(name="w3.witness.example", key_id=key.key_id, public=key.public)
    (line,) = lines_of(NOTE, "w2")
    assert not other.verify(BODY, line.signature)


@pytest.mark.parametrize(
    "damage", [lambda k: k[:-4], lambda k: k.replace("+e2dd", "+e2de"), lambda k: "x" + k]
)
def test_a_key_that_is_not_whole_is_refused(damage):
    with pytest.raises(Malformed):
        read_vkey(damage(KEYS["log_pq"]["vkey_text"]))


def test_a_key_needs_its_seed_and_a_name_that_fits():
    with pytest.raises(Malformed, match="it must have 32"):
        Cosigner("log.example", b"short")
    with pytest.raises(Malformed, match="longer than the 255 bytes"):
        Cosigner("x" * 256, bytes(32))


def test_the_private_key_is_never_printed():
    seed = KEYS["log_pq"]["seed"]
    assert seed not in repr(cosigner("log_pq"))
