import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.errors import Malformed
from service.web.events import EventIn
from service.web.strict import convert, decode_form, decode_json

from .conftest import Site

JSON_TYPE = "application/json"
QUESTION = b'{"email":"cyd@example.com","purpose_of_lookup":"a test"}'

UNREADABLE = {
    "invalid UTF-8": (b'{"email":"\xff"}', "UTF-8"),
    "UTF-16": ('{"email":"a"}'.encode("utf-16"), "UTF-8"),
    "a byte-order mark": (b"\xef\xbb\xbf{}", "BOM"),
    "a key twice": (b'{"email":"a","email":"b"}', "stands twice"),
    "NaN": (b'{"email":NaN}', "NaN"),
    "Infinity": (b'{"email":-Infinity}', "Infinity"),
    "half a surrogate pair": (b'{"email":"\\ud800"}', "surrogate"),
    "half a surrogate pair in a key": (b'{"\\udfff":1}', "surrogate"),
    "NUL": (b'{"email":"a\\u0000b"}', "NUL"),
    "a raw control character": (b'{"email":"a\x00b"}', "not JSON"),
    "33 levels": (b"[" * 33 + b"]" * 33, "32 deep"),
    "60,000 brackets": (b"[" * 60_000, "32 deep"),
    "60,000 braces": (b'{"a":' * 12_000 + b"1" + b"}" * 12_000, "32 deep"),
    "a huge integer": (b'{"a":' + b"9" * 5_000 + b"}", "2**53"),
    "2**53": (b'{"a":9007199254740992}', "2**53"),
    "a float out of range": (b'{"a":1e999}', "out of range"),
    "nothing": (b"", "not JSON"),
    "two values": (b"{}{}", "not JSON"),
    "single quotes": (b"{'a':1}", "not JSON"),
}


@pytest.mark.parametrize("what", UNREADABLE)
def test_a_body_that_does_not_mean_one_thing_is_a_problem_that_says_why(site: Site, what: str):
    body, why = UNREADABLE[what]
    headers = {"Authorization": f"Bearer {site.writer}", "Content-Type": JSON_TYPE, "Idempotency-Key": "k"}
    answer = site.client.post("/api/events", content=body, headers=headers)
    assert answer.status_code == 400
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert why in answer.json()["detail"]


def test_the_path_of_what_is_wrong_is_named():
    with pytest.raises(Malformed) as caught:
        decode_json(b'{"a":[{"b":{"c":1,"c":2}}]}')
    assert caught.value.field == "a[0].b"


def test_thirty_two_levels_are_read():
    assert decode_json(b"[" * 32 + b"]" * 32)


@given(st.binary(max_size=60))
def test_any_bytes_are_a_value_or_malformed(body: bytes):
    for decoder in (decode_json, decode_form):
        try:
            decoder(body)
        except Malformed:
            continue


NAMES = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"))
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53) + 1, 2**53 - 1) | NAMES,
    lambda inner: st.lists(inner) | st.dictionaries(NAMES, inner),
    max_leaves=12,
)


@given(VALUES)
def test_what_python_writes_is_read_back_as_it_was(value: object):
    assert decode_json(json.dumps(value).encode()) == value


@pytest.mark.parametrize(
    "media",
    [
        "text/plain",
        "",
        "application/jsonx",
        "application/json; charset=latin-1",
        "text/json",
        "*/*",
        "multipart/form-data; boundary=x",
        "application/x-www-form-urlencoded",
        "application/json; version=2",
    ],
)
def test_a_body_of_another_media_type_is_not_read(site: Site, media: str):
    headers = {"Authorization": f"Bearer {site.reader}"} | ({"Content-Type": media} if media else {})
    answer = site.client.post("/api/history", content=QUESTION, headers=headers)
    assert answer.status_code == 415
    assert JSON_TYPE in answer.json()["detail"]


@pytest.mark.parametrize(
    "media", [JSON_TYPE, "application/json; charset=utf-8", "Application/JSON;charset=UTF-8"]
)
def test_json_in_utf_8_is_read_however_it_is_spelt(site: Site, media: str):
    headers = {"Authorization": f"Bearer {site.reader}", "Content-Type": media}
    assert site.client.post("/api/history", content=QUESTION, headers=headers).status_code == 200


def test_a_body_with_two_media_types_is_not_read(site: Site):
    headers = [
        ("Authorization", f"Bearer {site.reader}"),
        ("Content-Type", JSON_TYPE),
        ("Content-Type", JSON_TYPE),
    ]
    assert site.client.post("/api/history", content=QUESTION, headers=headers).status_code == 415


def test_a_compressed_body_is_not_read(site: Site):
    headers = {
        "Authorization": f"Bearer {site.reader}",
        "Content-Type": JSON_TYPE,
        "Content-Encoding": "gzip",
    }
    assert site.client.post("/api/history", content=QUESTION, headers=headers).status_code == 415


@pytest.mark.parametrize(("path", "limit"), [("/api/events", 5 * 2**20), ("/forms/newsletter", 2**16)])
def test_a_body_over_the_limit_is_refused(site: Site, path: str, limit: int):
    headers = {"Authorization": f"Bearer {site.writer}", "Content-Type": JSON_TYPE, "Idempotency-Key": "k"}
    answer = site.client.post(path, content=b" " * (limit + 1), headers=headers)
    assert answer.status_code == 413
    assert str(limit) in answer.json()["detail"]


def test_a_body_over_the_limit_is_refused_without_an_announced_length(site: Site):
    headers = {"Content-Type": JSON_TYPE}
    answer = site.client.post("/forms/newsletter", content=(b" " * 1024 for _ in range(65)), headers=headers)
    assert answer.status_code == 413


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (b"email=a&email=b", "stands twice"),
        (b"email=%ff", "UTF-8"),
        (b"email=%zz", "percent"),
        (b"email=%", "percent"),
        (b"email=\xff", "UTF-8"),
        (b"email", "name=value"),
        (b"&".join(b"f%d=1" % n for n in range(51)), "at most 50"),
        (b"email=a%00b", "NUL"),
        (b"", "email"),
    ],
)
def test_a_form_that_does_not_mean_one_thing_is_a_problem_that_says_why(site: Site, body: bytes, why: str):
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    answer = site.client.post("/forms/newsletter", content=body, headers=headers)
    assert answer.status_code == 400
    assert why in answer.text


@pytest.mark.parametrize(
    ("value", "field"),
    [
        ({"category": "complaint"}, "events[3].email"),
        ({"category": "complaint", "email": 1}, "events[3].email"),
        ({"category": "complaint", "email": "a@b.example", "seq": 1}, "events[3]"),
        (
            {"category": "complaint", "email": "a@b.example", "evidence": {"hash": "x"}},
            "events[3].evidence",
        ),
        (
            {"category": "complaint", "email": "a@b.example", "evidence": {"control": "x"}},
            "events[3].evidence.control",
        ),
        (["complaint"], "events[3]"),
    ],
)
def test_a_field_at_fault_is_named_by_its_path(value: object, field: str):
    with pytest.raises(Malformed) as caught:
        convert(value, EventIn, at="events[3]")
    assert caught.value.field == field


SECRET = "joe@example.com"


@pytest.mark.parametrize(
    ("body", "field", "why"),
    [
        ({SECRET: 1}, None, "name 1 of this object"),
        ({"category": "complaint", "email": "a@b.example", SECRET: 1}, None, "name 3 of this object"),
        ({"category": SECRET, "email": "a@b.example"}, "category", "none of the values"),
        (
            {"category": "complaint", "email": "a@b.example", "evidence": {"ip": "x", SECRET: 1}},
            "evidence",
            "name 2 of this object",
        ),
        ({"evidence": {"ip": "x", SECRET: "\0"}}, "evidence.name 2", "NUL"),
    ],
)
def test_what_a_caller_wrote_is_not_repeated_but_where_it_stands_is_said(site: Site, body, field, why):
    headers = {"Authorization": f"Bearer {site.writer}", "Idempotency-Key": "k"}
    answer = site.client.post("/api/events", json=body, headers=headers)
    assert answer.status_code == 400
    assert "joe" not in answer.text
    assert (answer.json().get("field"), why in answer.json()["detail"]) == (field, True)


def test_a_name_that_stands_twice_is_told_by_its_places():
    with pytest.raises(Malformed, match="names 1 and 3 of this object") as caught:
        decode_json(b'{"joe@example.com":1,"b":2,"joe@example.com":3}')
    assert "joe" not in str(caught.value)
