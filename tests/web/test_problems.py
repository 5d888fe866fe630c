import json

import structlog
from litestar import get
from litestar.testing import TestClient

from service.errors import Busy, Tampered
from service.web.edge import Edge
from service.web.problems import HANDLERS, describe
from service.web.site import create_site

from .conftest import Site

SECRET = "cyd@example.com"


@get("/bug")
async def bug() -> None:
    raise RuntimeError(f"could not bind {SECRET}")


@get("/tampered")
async def tampered() -> None:
    raise Tampered("the row about entry 7 does not say what was signed")


@get("/busy")
async def busy() -> None:
    raise Busy("too much at once; come back", retry_after_s=3)


def broken(edge: Edge) -> TestClient:
    site = create_site(edge)
    for handler in (bug, tampered, busy):
        site.register(handler)
    return TestClient(site)


def test_what_nobody_foresaw_is_a_plain_500_and_a_log_line_without_personal_data(edge: Edge):
    with broken(edge) as client, structlog.testing.capture_logs() as lines:
        answer = client.get("/bug")
    assert answer.status_code == 500
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert SECRET not in answer.text + json.dumps(lines)
    assert lines[0]["error"] == "RuntimeError"
    assert any("test_problems.py" in place for place in lines[0]["where"])


def test_tampering_is_told_without_internals(edge: Edge):
    with broken(edge) as client:
        answer = client.get("/tampered")
    assert answer.status_code == 500
    assert answer.json()["title"] == Tampered.title
    assert "entry 7" not in answer.text


def test_a_full_queue_says_when_to_come_back(edge: Edge):
    with broken(edge) as client:
        answer = client.get("/busy")
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "3")


def test_an_unknown_address_of_ours_is_a_problem_that_does_not_repeat_it(site: Site):
    answer = site.client.get("/nothing/here-i-am")
    assert answer.status_code == 404
    assert answer.json()["status"] == 404
    assert "here-i-am" not in answer.text


def test_a_wrong_method_says_which_are_right(site: Site):
    answer = site.client.get("/api/events")
    assert answer.status_code == 405
    assert "POST" in answer.headers["Allow"]


def test_a_browser_gets_a_page_that_can_be_read(site: Site):
    answer = site.client.get("/nothing", headers={"Accept": "text/html,*/*"})
    assert answer.status_code == 404
    assert answer.headers["Content-Type"].startswith("text/html")
    assert "Not Found" in answer.text


def test_programs_under_api_never_get_a_page(site: Site):
    answer = site.client.post("/api/history", headers={"Accept": "text/html"})
    assert answer.headers["Content-Type"] == "application/problem+json"


def test_a_problem_names_its_type_and_its_field_once():
    problem = describe(Busy("later"), at="events[1]")
    assert problem.type == "urn:consent-ledger:problem:busy"
    assert problem.field == "events[1]"


def test_every_error_has_a_handler():
    assert Exception in HANDLERS
