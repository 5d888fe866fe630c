import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.errors import Malformed, Tampered
from service.ledger.note import MAX_SIGNATURES, Signer, Verifier, decode_base64, open_note, split_note
from tests.ledger.evidence import INGEST, LOG, VECTORS, flipped, signer, verifier

CHECKPOINT = VECTORS["checkpoint"]
LINES = st.text(alphabet=st.characters(min_codepoint=0x20, exclude_categories=["Cs"]), min_size=1)


@pytest.mark.parametrize("name", ["log", "log_new", "ingest"])
def test_keys_have_their_published_ids_and_spellings(name):
    key = VECTORS["keys"][name]
    assert signer(name).vkey == key["vkey_text"]
    assert signer(name).key_id.hex() == key["key_id"]
    assert signer(name).public.hex() == key["public"]
    assert Verifier.from_vkey(key["vkey_text"]) == signer(name).verifier


def test_signing_gives_the_published_note():
    text = CHECKPOINT["body_text"].encode()
    assert signer("log").sign(text) == CHECKPOINT["ed25519_only_text"].encode()


@pytest.mark.parametrize(
    "form", ["ed25519_only_text", "ed25519_plus_w1_text", "all_signatures_text", "rotation_overlap_text"]
)
def test_published_notes_open_whatever_else_signed_them(form):
    opened = open_note(CHECKPOINT[form].encode(), [verifier("log")])
    assert opened.text == CHECKPOINT["body_text"].encode()
    assert opened.verified == (VECTORS["keys"]["log"]["name"],)


def test_cosignatures_with_a_time_are_checked_too():
    opened = open_note(CHECKPOINT["ed25519_plus_w1_text"].encode(), [verifier("log"), verifier("w1")])
    assert opened.verified == (VECTORS["keys"]["log"]["name"], VECTORS["keys"]["w1"]["name"])


@pytest.mark.parametrize(
    "bad",
    [bad for bad in VECTORS["bad_notes"] if "zero in size" not in bad["why"]],
    ids=lambda bad: bad["why"],
)
def test_published_bad_notes_are_refused(bad):
    with pytest.raises(Tampered):
        open_note(bad["text"].encode(), [verifier("log"), verifier("w1")])


@given(st.lists(LINES, min_size=1, max_size=5))
def test_what_is_signed_opens_again(lines):
    text = ("\n".join(lines) + "\n").encode()
    assert open_note(LOG.sign(text), [INGEST.verifier, LOG.verifier]).text == text


def test_a_change_to_any_byte_of_a_note_is_refused():
    for changed in flipped(LOG.sign("consent\nmöglich\n".encode())):
        with pytest.raises(Tampered):
            open_note(changed, [LOG.verifier])


def test_a_note_cut_anywhere_is_refused():
    note = LOG.sign(b"text\n")
    for length in range(len(note)):
        with pytest.raises(Tampered):
            open_note(note[:length], [LOG.verifier])


def test_a_known_key_with_a_wrong_signature_spoils_the_note():
    note = LOG.sign(b"text\n") + INGEST.sign(b"other\n").partition(b"\n\n")[2]
    assert open_note(note, [LOG.verifier]).text == b"text\n"
    with pytest.raises(Tampered, match=r"test-1/ingest-1 does not fit"):
        open_note(note, [LOG.verifier, INGEST.verifier])


def test_a_key_of_the_same_name_but_another_id_is_unknown():
    with pytest.raises(Tampered, match="no known key"):
        open_note(Signer(LOG.name, bytes(32)).sign(b"text\n"), [LOG.verifier])


def test_the_last_empty_line_separates_text_and_signatures():
    signature = LOG.sign(b"x\n").removeprefix(b"x\n")
    assert split_note(b"one\n\ntwo\n" + signature)[0] == b"one\n\ntwo\n"


def test_more_signatures_than_anybody_needs_are_refused():
    line = LOG.sign(b"text\n").partition(b"\n\n")[2]
    assert open_note(b"text\n\n" + line * MAX_SIGNATURES, [LOG.verifier]).verified == (LOG.name,)
    with pytest.raises(Tampered, match="65 signatures"):
        open_note(b"text\n\n" + line * (MAX_SIGNATURES + 1), [LOG.verifier])


@pytest.mark.parametrize("note", [b"a\tb\n", b"a\rb\n", b"a\0b\n", b"a\xffb\n", b"a\xed\xa0\x80b\n"])
def test_control_characters_and_broken_utf_8_are_refused_even_if_signed(note):
    with pytest.raises(Tampered, match=r"control character|UTF-8"):
        open_note(LOG.sign(note), [LOG.verifier])


def test_a_private_key_survives_its_spelling_and_stays_out_of_repr():
    restored = Signer.from_skey(LOG.skey)
    assert restored.sign(b"text\n") == LOG.sign(b"text\n")
    assert LOG.skey.rpartition("+")[2] not in repr(LOG)


@pytest.mark.parametrize("name", ["", "two words", "a+b", "a\tb", "a\u00a0b"])
def test_a_key_needs_a_name_that_fits_a_signature_line(name):
    with pytest.raises(Malformed):
        Signer(name, bytes(32))


def test_a_change_to_any_part_of_a_public_key_is_refused():
    for position, original in enumerate(LOG.vkey):
        other = "A" if original != "A" else "B"
        with pytest.raises(Malformed):
            Verifier.from_vkey(LOG.vkey[:position] + other + LOG.vkey[position + 1 :])


@pytest.mark.parametrize("text", ["", "name", "name+12345678", "name+12345678+", "name+12345678+AQ=="])
def test_what_is_no_key_is_refused(text):
    with pytest.raises(Malformed):
        Verifier.from_vkey(text)
    with pytest.raises(Malformed):
        Signer.from_skey("PRIVATE+KEY+" + text)
    with pytest.raises(Malformed):
        Signer.from_skey(text)


def test_keys_of_a_kind_that_we_cannot_check_are_refused():
    with pytest.raises(Malformed, match="type 6"):
        verifier("w2")


def test_a_seed_of_the_wrong_length_is_refused():
    with pytest.raises(Malformed, match="31 bytes"):
        Signer("name", bytes(31))


@pytest.mark.parametrize("text", ["AB==", "QQ", "QQ==\n", "Q Q=", "QQ=", "é", "-_-_"])
def test_base64_has_one_spelling(text):
    with pytest.raises(Tampered, match="base64"):
        decode_base64(text)
