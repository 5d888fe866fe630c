import pytest
from litestar.testing import TestClient

from service.web.site import create_site

from .conftest import Site

PATHS = [
    "/login",
    "/forms/newsletter",
    "/u/anything",
    "/nothing",
    "/healthz",
    "/static/ledger.css",
    "/openapi.json",
]


@pytest.mark.parametrize("path", PATHS)
def test_every_answer_carries_the_headers_that_protect(site: Site, path: str):
    headers = site.client.get(path).headers
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert "frame-ancestors 'none'" in headers["Content-Security-Policy"]
    assert "default-src 'none'" in headers["Content-Security-Policy"]
    assert "unsafe" not in headers["Content-Security-Policy"]
    assert headers["Referrer-Policy"] == ("same-origin" if path.startswith("/forms") else "no-referrer")


def test_answers_about_people_are_not_kept_by_caches(site: Site):
    assert site.ask("/api/history", "cyd@example.com").headers["Cache-Control"] == "no-store"
    assert site.client.get("/u/anything").headers["Cache-Control"] == "no-store"


def test_style_sheets_may_be_kept(site: Site):
    answer = site.client.get("/static/pico.classless.min.css")
    assert answer.status_code == 200
    assert "max-age" in answer.headers["Cache-Control"]
    assert "Pico CSS" in answer.text[:200]


def test_over_https_browsers_are_told_to_stay_there(make_edge):
    with TestClient(
        create_site(make_edge("https://ledger.example")), base_url="https://ledger.example"
    ) as client:
        assert "max-age" in client.get("/login").headers["Strict-Transport-Security"]
