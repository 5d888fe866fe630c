import hashlib
import io
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

import pytest

from service.zoho import wire
from service.zoho.wire import Answer, Line, Lost, is_loopback
from tests.zoho.stub import Said

NOON = datetime(2026, 5, 10, 12, tzinfo=UTC)


@pytest.fixture
def line():
    line = Line(read_timeout_s=0.3)
    yield line
    line.close()


def test_an_answer_keeps_its_bytes_and_their_hash(stub, line):
    stub.says("GET /x", Said(b"\x00\xff", status=418, headers={"X-Credits": "7"}))
    answer = line.exchange("GET", stub.url + "/x")
    assert (answer.status, answer.body, answer.headers["x-credits"]) == (418, b"\x00\xff", "7")
    assert answer.sha256 == hashlib.sha256(b"\x00\xff").digest()
    assert "body" not in repr(answer)


def test_an_answer_without_end_is_given_up(stub, line):
    stub.says("GET /x", Said(b" " * (wire.LARGEST_ANSWER + 1)))
    assert line.exchange("GET", stub.url + "/x") == Lost(sent=True, why="AnswerTooLong")


def test_a_server_that_does_not_speak_is_given_up_with_an_unknown_outcome(stub, line):
    stub.says("GET /x", Said(b"", delay_s=0.8))
    assert line.exchange("GET", stub.url + "/x") == Lost(sent=True, why="ReadTimeout")


def test_a_request_that_found_nobody_was_certainly_not_sent(line):
    assert line.exchange("GET", "http://127.0.0.1:9/x") == Lost(sent=False, why="ConnectError")


def test_connections_are_used_again(stub, line):
    stub.says("GET /x", Said(b"ok"))
    for _ in range(3):
        line.exchange("GET", stub.url + "/x")
    assert {heard.headers["connection"] for heard in stub.heard} == {"keep-alive"}
    assert len({heard.port for heard in stub.heard}) == 1


def test_many_threads_lose_no_answer_to_each_other_and_take_ten_connections(stub):
    stub.says("GET /x", Said(b"ok"))
    line = Line()

    def ask(_number: int) -> Answer | Lost:
        return line.exchange("GET", stub.url + "/x")

    with ThreadPoolExecutor(max_workers=24) as threads:
        told = list(threads.map(ask, range(2_400)))
    line.close()
    assert [one for one in told if isinstance(one, Lost)] == []
    assert len({heard.port for heard in stub.heard}) <= wire.CONNECTIONS


def test_a_file_is_written_where_it_belongs_and_a_repetition_replaces_it(stub, line):
    stub.says("GET /x", Said(b"first and longer"), Said(b"second"))
    with io.BytesIO() as file:
        line.exchange("GET", stub.url + "/x", into=file)
        answer = line.exchange("GET", stub.url + "/x", into=file)
        assert (answer.status, answer.body, file.getvalue()) == (200, b"", b"second")


def test_what_is_said_instead_of_a_file_does_not_go_into_it(stub, line):
    stub.says("GET /x", Said(b"no such job", status=404))
    with io.BytesIO(b"as it was") as file:
        answer = line.exchange("GET", stub.url + "/x", into=file)
        assert (answer.body, file.getvalue()) == (b"no such job", b"as it was")


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("7", 7.0),
        ("99999999999999", 86_400.0),
        ("Sun, 10 May 2026 12:00:09 GMT", 9.0),
        ("Sun, 10 May 2020 12:00:09 GMT", 0.0),
        ("Fri, 31 Dec 9999 23:59:59 GMT", 86_400.0),
        ("soon", None),
        ("", None),
        ("-5", None),
    ],
)
def test_retry_after_is_seconds_or_a_date_and_a_day_at_most(text, seconds):
    assert Answer(status=503, headers={"retry-after": text}, body=b"").retry_after_s(NOON) == seconds


@pytest.mark.parametrize(
    ("url", "local"),
    [
        ("http://127.0.0.1:80", True),
        ("http://127.9.9.9", True),
        ("http://localhost", True),
        ("http://[::1]:1", True),
        ("https://localhost.example", False),
        ("https://www.zohoapis.eu", False),
    ],
)
def test_loopback_is_known_by_its_host(url, local):
    assert is_loopback(url) is local


@pytest.mark.parametrize(
    ("date", "told"),
    [
        ("Sun, 10 May 2026 12:00:00 GMT", NOON),
        ("Sun, 10 May 2026 12:00:00 -0000", NOON),
        ("Sun, 10 May 2026 17:30:00 +0530", NOON),
        ("noon", None),
        ("", None),
    ],
)
def test_an_answer_tells_the_time_of_the_other_side_where_it_bears_a_date(date, told):
    assert Answer(status=200, headers={"date": date}, body=b"").dated() == told


def test_connections_are_free_again_after_answers_that_were_given_up(stub):
    times = wire.CONNECTIONS + 1
    stub.says("GET /long", *[Said(b" " * (wire.LARGEST_ANSWER + 1))] * times)
    stub.says("GET /late", *[Said(b"", delay_s=0.2)] * times)
    stub.says("GET /x", Said(b"ok"))
    line = Line(read_timeout_s=0.1)
    lost = {line.exchange("GET", stub.url + path) for path in ("/long", "/late") for _ in range(times)}
    told = line.exchange("GET", stub.url + "/x")
    line.close()
    assert lost == {Lost(sent=True, why="AnswerTooLong"), Lost(sent=True, why="ReadTimeout")}
    assert isinstance(told, Answer)
