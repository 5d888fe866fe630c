import pytest

from service.errors import Tampered
from service.ledger import members
from tests.ledger.evidence import DIRECTORY, ORIGIN, WHEN, show

QUESTION = members.Question(origin=ORIGIN, address="ana@example.org", asked_at=WHEN)
HASH = "0" * 64


def test_a_question_reads_back():
    assert members.parse_question(members.encode_question(QUESTION)) == QUESTION


@pytest.mark.parametrize("disclosure", [DIRECTORY, show("address"), show()], ids=["directory", "one", "none"])
def test_a_disclosure_reads_back(disclosure):
    assert members.parse_disclosure(members.encode_disclosure(disclosure)) == disclosure


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"[]",
        b"{}",
        b'{"address":"a","asked_at":"2026-03-01T09:15:00Z","origin":"o"}',
        b'{"address":"a","asked_at":"now","origin":"o"}',
        b'{"address":1,"asked_at":"2026-03-01T09:15:00.000Z","origin":"o"}',
        b'{"address":"a","asked_at":"2026-03-01T09:15:00.000Z","more":"x","origin":"o"}',
        b'{"origin":"o","address":"a","asked_at":"2026-03-01T09:15:00.000Z"}',
        b"\xff",
    ],
)
def test_a_question_has_one_spelling(data):
    with pytest.raises(Tampered):
        members.parse_question(data)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{}",
        b'{"r":"AA==","sub":5}',
        b'{"r":"AA==","sub":"AA==","x":1}',
        b'{"r":"AB==","sub":"AA=="}',
        b'{"closed":{},"fields":[],"salts":{}}',
        b'{"closed":{},"fields":{"n":1.5},"salts":{}}',
        b'{"closed":{},"fields":{"N":1},"salts":{}}',
        b'{"closed":{},"fields":{},"salts":{"n":1}}',
        b'{"closed":{},"fields":{},"salts":{}} ',
        b'{"closed":{},"fields":' + b"[" * 5_000 + b',"salts":{}}',
    ],
)
def test_a_disclosure_has_one_spelling(data):
    with pytest.raises(Tampered):
        members.parse_disclosure(data)


def test_a_manifest_reads_back():
    text = members.manifest_text(ORIGIN, {"b": b"", "a/1.json": b"x"})
    origin, hashes = members.parse_manifest(text)
    assert (origin, list(hashes)) == (ORIGIN, ["a/1.json", "b"])


@pytest.mark.parametrize(
    "text",
    [
        "",
        "consent-ledger bundle v2\no\n" + HASH + "  a\n",
        "consent-ledger bundle v1\no\n" + HASH + " a\n",
        "consent-ledger bundle v1\no\n" + HASH + "  a\n" + HASH + "  a\n",
        "consent-ledger bundle v1\no\n" + HASH.replace("0", "A") + "  a\n",
        "consent-ledger bundle v1\no\n",
    ],
)
def test_what_is_no_manifest_is_refused(text):
    with pytest.raises(Tampered):
        members.parse_manifest(text.encode())


def test_members_are_found_by_their_numbers_and_odd_names_are_not():
    names = [
        "entries/10.tlog-proof",
        "entries/9.tlog-proof",
        "entries/09.tlog-proof",
        "disclosures/9.json",
        "x",
    ]
    assert members.entry_indexes(names) == [9, 10]
    assert members.disclosure_indexes(names) == [9]
    assert [name for name in names if not members.is_member(name)] == ["entries/09.tlog-proof", "x"]
