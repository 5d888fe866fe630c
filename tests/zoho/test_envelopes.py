import json

import pytest

from service.errors import Unreachable, ZohoDenied, ZohoError
from service.zoho import envelopes
from service.zoho.transport import Verdict
from service.zoho.wire import Answer

LIST = "getlistsubscribers"


def answer(body: bytes | dict, status: int = 200) -> Answer:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return Answer(status=status, headers={}, body=raw)


def read(body: bytes | dict) -> envelopes.Envelope:
    return envelopes.read(answer(body), LIST)


@pytest.mark.parametrize("code", ["0", 0, "200", 200])
def test_success_is_0_or_200_as_text_or_number(code):
    assert read({"status": "success", "code": code}).ok


@pytest.mark.parametrize("code", ["2004", 2004])
def test_an_error_under_http_200_is_an_error_with_its_code_as_text(code):
    envelope = read({"status": "error", "code": code, "message": "no"})
    assert (envelope.ok, envelope.code) == (False, "2004")


def test_keys_may_change_their_case():
    envelope = read({"Code": 1001, "Message": "Pattern doesn't Match"})
    assert (envelope.ok, envelope.code, envelope.message) == (False, "1001", "Pattern doesn't Match")


def test_a_success_that_says_error_is_none():
    assert not read({"status": "error", "code": "0"}).ok


def test_a_body_nested_under_response_is_read():
    assert read({"response": {"code": "6606", "message": "no list"}}).code == "6606"


@pytest.mark.parametrize(
    ("endpoint", "code"),
    [
        ("getlistsubscribers", "2502"),
        ("getcampaignrecipientsdata", "6303"),
        ("recentcampaigns", "6101"),
        ("getsegmentcontacts", "2604"),
        ("getsegmentcontacts", "2706"),
        ("getmailinglists", "2401"),
    ],
)
def test_empty_is_a_code_of_its_endpoint(endpoint, code):
    envelope = read({"status": "error", "code": code, "message": "There are no contacts."})
    assert envelope.empty(endpoint)
    assert not envelope.empty("json/listsubscribe")


def test_the_empty_code_of_another_endpoint_is_an_error():
    assert not read({"status": "error", "code": "6303"}).empty("getlistsubscribers")
    assert not read({"status": "error", "code": "2203", "message": "This list has been deleted."}).empty(LIST)


def test_empty_for_want_of_privilege_is_a_denial():
    envelope = read({"status": "error", "code": "2706", "message": "Insufficient privilege"})
    assert not envelope.empty("getsegmentcontacts")
    assert isinstance(envelopes.failure(envelope, "getsegmentcontacts"), ZohoDenied)


def test_xml_is_read_as_json_is():
    envelope = read(
        b'<response uri="/api/v1.1/getlistsubscribers" version="1.1"><status>success</status><code>0</code>'
        b'<list_details><fl val="listname">News</fl></list_details><result_of_subscribers>'
        b'<contact><fl val="contact_email">ada@example.com</fl><fl val="phone"/>'
        b'<reports><report><fl val="time">Feb 12, 2026 12:08 PM</fl></report></reports></contact>'
        b'<contact><fl val="contact_email">bob@example.com</fl></contact></result_of_subscribers></response>'
    )
    assert envelope.ok
    assert [envelopes.text(row, "contact_email") for row in envelope.rows] == [
        "ada@example.com",
        "bob@example.com",
    ]


def test_an_xml_error_keeps_its_code():
    envelope = read(b'<response uri="/x"><code>1004</code><message>Wrong URL entered.</message></response>')
    assert (envelope.ok, envelope.code) == (False, "1004")


@pytest.mark.parametrize(
    "body",
    [
        b'<!DOCTYPE x [<!ENTITY a "aaaa">]><response><code>0</code></response>',
        b"<!doctype html><html></html>",
        b'<?xml version="1.0"?><!ENTITY a "b"><response/>',
        b"<html><body>502</body></html>",
        b"<response><code>0</code>",
        b"[" * 100_000,
        b"",
        b"[]",
        b"\xff",
        b"<response>" + b"x" * envelopes.LARGEST_XML + b"</response>",
    ],
)
def test_what_is_no_envelope_is_unreachable_and_not_parsed_further(body):
    with pytest.raises(Unreachable, match="neither its JSON nor its XML"):
        envelopes.read(answer(body), LIST)


def test_an_error_in_xml_may_write_its_keys_with_capitals():
    told = b'<response uri="/x" version="1.1"><Code>6303</Code><Message>Nobody.</Message></response>'
    found = envelopes.read(answer(told), "getcampaignrecipientsdata")
    assert (found.ok, found.code, found.message) == (False, "6303", "Nobody.")
    assert found.empty("getcampaignrecipientsdata")


@pytest.mark.parametrize("nothing", ["null", "NULL", "", "  ", None])
def test_campaigns_writes_nothing_in_several_ways(nothing):
    assert envelopes.text({"contactfn": nothing}, "contactfn", "firstname") is None


def test_the_first_name_that_is_filled_counts():
    assert envelopes.text({"contactfn": "null", "firstname": "Ada"}, "contactfn", "firstname") == "Ada"


@pytest.mark.parametrize(
    ("status", "body", "verdict"),
    [
        (200, {"status": "success", "code": "0"}, Verdict.FINE),
        (200, {"status": "error", "code": "2501"}, Verdict.FINE),
        (401, {"Code": "1007", "status": "error"}, Verdict.EXPIRED),
        (200, {"code": 1007, "status": "error"}, Verdict.EXPIRED),
        (200, {"code": "2008", "status": "error"}, Verdict.THROTTLED),
        (200, {"response": {"code": 409909}}, Verdict.THROTTLED),
        (200, {"error": {"title": "URL_ROLLING_THROTTLES_LIMIT_EXCEEDED"}}, Verdict.THROTTLED),
        (400, {"error": {"title": "URL_ROLLING_THROTTLES_LIMIT_EXCEEDED"}}, Verdict.THROTTLED),
        (429, b"", Verdict.THROTTLED),
        (503, b"<html>", Verdict.BROKEN),
        (200, b"<html>", Verdict.FINE),
    ],
)
def test_the_transport_is_told_what_an_answer_means(status, body, verdict):
    assert envelopes.judge(answer(body, status)) is verdict


def test_an_error_names_code_and_endpoint_but_no_address_or_token():
    told = {
        "status": "error",
        "code": "2004",
        "message": "ada@example.com 1000.abcdefgh12345678.x is invalid",
    }
    error = envelopes.failure(read(told), "json/listsubscribe")
    assert type(error) is ZohoError
    assert (error.code, error.endpoint) == ("2004", "json/listsubscribe")
    assert "ada@" not in str(error)
    assert "1000.abc" not in str(error)
