import base64
import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.errors import Malformed, Tampered, TooLarge
from service.ledger import entry
from service.ledger.entry import Disclosure, Entry, Opening
from tests.ledger.evidence import FIELDS, INGEST, LOG, SALT, VECTORS, WHEN, event, flipped, signer, verifier
from tests.ledger.test_canonical import KEYS, VALUES

RECORDS = VECTORS["consent_log"]["records"]
OPENED = [record for record in RECORDS if "opening" in record]
PAYLOADS = st.dictionaries(KEYS, VALUES, min_size=1, max_size=5)
MOMENTS = st.datetimes(timezones=st.just(UTC)).map(
    lambda at: at.replace(microsecond=at.microsecond // 1000 * 1000)
)


def number(record):
    return str(record["index"])


def forge(line):
    """An honestly signed note around a line that `encode` would not write."""
    return INGEST.sign(line.encode() + b"\n")


@pytest.mark.parametrize("record", RECORDS, ids=number)
def test_published_entries_read_and_sign_again_to_the_same_bytes(record):
    data = record["entry_text"].encode()
    parsed = entry.check(data, [verifier("ingest")])
    assert entry.encode(parsed, signer("ingest")) == data
    assert entry.decode(data) == parsed


@pytest.mark.parametrize("record", OPENED, ids=number)
def test_published_payloads_commit_to_what_their_entries_say(record):
    opening = record["opening"]
    salt = bytes.fromhex(opening["event_salt"])
    commitment = entry.commit(opening["payload"], salt)
    assert commitment.hex() == opening["pc"]
    assert commitment == entry.decode(record["entry_text"].encode()).commitment
    shown = entry.disclose(Opening(event_salt=salt, fields=opening["payload"]), list(opening["payload"]))
    assert {name: value.hex() for name, value in shown.salts.items()} == opening["field_salts"]


@pytest.mark.parametrize("record", OPENED, ids=number)
def test_published_field_commitments_are_those_of_closed_fields(record):
    opening = record["opening"]
    hidden = entry.disclose(
        Opening(event_salt=bytes.fromhex(opening["event_salt"]), fields=opening["payload"]), []
    )
    closed = {name: base64.b64encode(value).decode() for name, value in hidden.closed.items()}
    assert closed == opening["field_commitments_b64"]


@pytest.mark.parametrize("person", VECTORS["consent_log"]["subjects"], ids=lambda person: person["email"])
def test_published_directory_rows_come_out(person):
    key = bytes.fromhex(VECTORS["consent_log"]["directory_key"])
    assert entry.directory_key_value(key, person["email"], 1).hex() == person["directory_key_value"]
    value = entry.directory_value(bytes.fromhex(person["opening_r"]), bytes.fromhex(person["sub"]))
    assert value.hex() == person["directory_value"]


def test_each_return_after_an_erasure_has_a_directory_key_of_its_own():
    person = VECTORS["consent_log"]["audit_bundle"]
    value = entry.directory_key_value(bytes.fromhex(person["directory_key"]), person["email"], 2)
    assert value.hex() == person["next_version_absent"]["key"]


@given(
    at=MOMENTS,
    occurred_at=st.none() | MOMENTS,
    subject=st.none() | st.binary(min_size=32, max_size=32),
    source=st.none() | st.text(st.characters(exclude_categories=["Cs"]), max_size=9),
    extra=st.dictionaries(KEYS.filter(lambda key: key not in {"v", "at", "id", "pc"}), VALUES, max_size=3),
)
def test_every_entry_reads_back(at, occurred_at, subject, source, extra):
    extra = {f"x.{name}": value for name, value in extra.items()}
    before = Entry(
        category="x.y_1", at=at, occurred_at=occurred_at, subject=subject, source=source, extra=extra
    )
    assert entry.check(entry.encode(before, INGEST), [INGEST.verifier]) == before


def test_an_entry_tells_nothing_of_the_person():
    data = entry.encode(event(), INGEST).decode()
    assert not any(word in data.lower() for word in ("ana", "example.org", "192.0.2.7"))


def test_times_are_cut_to_the_millisecond():
    late = replace(event(), at=WHEN + timedelta(microseconds=123_999))
    assert entry.decode(entry.encode(late, INGEST)).at == WHEN + timedelta(milliseconds=123)


def test_a_change_to_any_byte_of_an_entry_is_refused():
    for changed in flipped(entry.encode(event(), INGEST)):
        with pytest.raises(Tampered):
            entry.check(changed, [INGEST.verifier])


def test_an_entry_by_an_unknown_key_is_refused():
    with pytest.raises(Tampered, match="no known key"):
        entry.check(entry.encode(event(), LOG), [INGEST.verifier])


@pytest.mark.parametrize(
    "line",
    [
        '{"at":"2026-03-01T09:15:01.000Z","cat":"access","v":2}',
        '{"at":"2026-03-01T09:15:01.000Z","cat":"access","v":true}',
        '{"at":"2026-03-01T09:15:01.000Z","cat":"access","v":1.0}',
        '{"at":"2026-03-01T09:15:01.000Z","cat":"access"}',
        '{"at":"2026-03-01T09:15:01.000Z","v":1}',
        '{"cat":"access","v":1}',
        '{"cat":"access","at":"2026-03-01T09:15:01.000Z","v":1}',
        '{"at":"2026-03-01T09:15:01.000Z", "cat":"access","v":1}',
        '{"at":"2026-03-01T09:15:01Z","cat":"access","v":1}',
        '{"at":"2026-03-01T09:15:01.000+00:00","cat":"access","v":1}',
        '{"at":"0001-01-01T00:00:00.000+23:59","cat":"access","v":1}',
        '{"at":"2026-02-30T09:15:01.000Z","cat":"access","v":1}',
        '{"at":5,"cat":"access","v":1}',
        '{"at":"2026-03-01T09:15:01.000Z","cat":"Access","v":1}',
        '{"at":"2026-03-01T09:15:01.000Z","cat":7,"v":1}',
        '{"at":"2026-03-01T09:15:01.000Z","cat":"access","cat":"access","v":1}',
        '{"at":"2026-03-01T09:15:01.000Z","cat":"access","id":1,"v":1}',
        '{"at":"2026-03-01T09:15:01.000Z","cat":"access","id":null,"v":1}',
        '{"at":"2026-03-01T09:15:01.000Z","cat":"access","n":1.5,"v":1}',
        '{"at":"2026-03-01T09:15:01.000Z","cat":"access","n":9007199254740992,"v":1}',
        '{"at":"2026-03-01T09:15:01.000Z","cat":"access","n":"\\u0041","v":1}',
        '{"at":"2026-03-01T09:15:01.000Z","cat":"access","n":"\\ud800","v":1}',
        '{"at":"2026-03-01T09:15:01.000Z","cat":"access","src":"a","srcn":true,"v":1}',
        '{"at":"2026-03-01T09:15:01.000Z","cat":"access","src":"a","srcn":-1,"v":1}',
        '{"at":"2026-03-01T09:15:01.000Z","cat":"access","srcn":1,"v":1}',
        '{"at":"2026-03-01T09:15:01.000Z","cat":"access","sub":"AA==","v":1}',
        '{"at":"2026-03-01T09:15:01.000Z","cat":"access","pc":5,"v":1}',
        '["access"]',
        "",
        "[" * 5_000,
        '{"at":"2026-03-01T09:15:01.000Z","cat":"access","n":' + "[" * 40 + "]" * 40 + ',"v":1}',
    ],
)
def test_a_line_that_we_would_not_write_is_refused_even_if_signed(line):
    with pytest.raises(Tampered):
        entry.check(forge(line), [INGEST.verifier])


def test_an_entry_is_one_line():
    line = '{"at":"2026-03-01T09:15:01.000Z","cat":"access","v":1}'
    assert entry.check(forge(line), [INGEST.verifier]).category == "access"
    for more in (line + "\n" + line, "\n" + line, line + " "):
        with pytest.raises(Tampered):
            entry.check(forge(more), [INGEST.verifier])


@pytest.mark.parametrize(
    "change",
    [
        {"at": datetime(2026, 3, 1)},  # noqa: DTZ001 -- a time without a zone is what is refused
        {"at": datetime(2026, 3, 1, tzinfo=timezone(timedelta(hours=1)))},
        {"subject": b"short"},
        {"commitment": b"short"},
        {"category": "With Space"},
        {"source": None},
        {"source_number": -1},
        {"extra": {"cat": "access"}},
    ],
    ids=str,
)
def test_an_entry_that_makes_no_sense_is_never_built(change):
    with pytest.raises(ValueError, match=r"\w"):
        replace(event(), **change)


def test_an_entry_has_a_largest_size():
    size = len(entry.encode(replace(event(), extra={"x": ""}), INGEST))
    largest = replace(event(), extra={"x": "y" * (entry.MAX_ENTRY_BYTES - size)})
    assert len(entry.encode(largest, INGEST)) == entry.MAX_ENTRY_BYTES
    with pytest.raises(TooLarge, match="65535"):
        entry.encode(replace(event(), extra={"x": largest.extra["x"] + "y"}), INGEST)


def test_extra_fields_keep_to_the_json_profile():
    with pytest.raises(Malformed):
        entry.encode(replace(event(), extra={"x": 1.5}), INGEST)


@given(PAYLOADS, st.binary(min_size=32, max_size=32), st.data())
def test_any_choice_of_fields_can_be_disclosed_and_nothing_else_shows(fields, salt, data):
    names = data.draw(st.lists(st.sampled_from(sorted(fields)), unique=True))
    shown = entry.disclose(Opening(event_salt=salt, fields=fields), names)
    assert entry.verify_disclosure(entry.commit(fields, salt), shown) == {
        name: fields[name] for name in names
    }
    assert shown.closed.keys() == fields.keys() - set(names)
    assert shown.salts.keys() == set(names)


def changed(shown, **parts):
    return replace(shown, **{part: {**getattr(shown, part), **new} for part, new in parts.items()})


@pytest.mark.parametrize(
    "parts",
    [
        {"fields": {"address": "ben@example.org"}},
        {"fields": {"count": 3}},
        {"fields": {"count": "3"}, "salts": {"count": bytes(32)}},
        {"salts": {"address": bytes(32)}},
        {"closed": {"ip": bytes(32)}},
        {"closed": {"more": bytes(32)}},
        {"closed": {"address": bytes(32)}},
    ],
    ids=str,
)
def test_a_disclosure_with_anything_changed_is_refused(parts):
    shown = entry.disclose(Opening(event_salt=SALT, fields=FIELDS), ["address"])
    assert entry.verify_disclosure(entry.commit(FIELDS, SALT), shown) == {"address": FIELDS["address"]}
    with pytest.raises(Tampered):
        entry.verify_disclosure(entry.commit(FIELDS, SALT), changed(shown, **parts))


def test_an_empty_disclosure_of_another_payload_is_refused():
    with pytest.raises(Tampered):
        entry.verify_disclosure(entry.commit(FIELDS, SALT), Disclosure(fields={}, salts={}, closed={}))


def test_the_same_payload_under_two_salts_looks_different():
    assert entry.commit(FIELDS, SALT) != entry.commit(FIELDS, bytes(32))


def test_the_line_is_plain_json_that_any_reader_understands():
    line = json.loads(entry.encode(event(), INGEST).partition(b"\n")[0])
    assert line["cat"] == "consent.granted"
    assert line["occ"] == "2026-03-01T09:15:00.000Z"
    assert line["srcn"] == 1
