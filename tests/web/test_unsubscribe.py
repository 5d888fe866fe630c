import sqlite3
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest
from litestar.testing import TestClient

from service.web.site import create_site

from .conftest import Site

ONE_CLICK = {"List-Unsubscribe": "One-Click"}
CYD = "cyd@example.com"
ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"


@pytest.fixture
def token(site: Site) -> str:
    site.subscribe(CYD)
    site.clock.advance(minutes=5)
    return site.token(CYD)


def state(site: Site) -> str:
    return site.history(CYD)["standing_now"][0]["state"]


def withdrawals(site: Site) -> int:
    return site.categories(CYD).count("consent.withdrawn")


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_a_scanner_that_follows_the_link_changes_nothing(site: Site, token: str, method: str):
    size = site.size
    for _ in range(5):
        assert site.client.request(method, f"/u/{token}").status_code == 200
    assert site.size == size
    assert state(site) == "permitted"


def test_one_click_withdraws_without_cookie_log_in_or_redirect(site: Site, token: str):
    answer = site.client.post(f"/u/{token}", data=ONE_CLICK, follow_redirects=False)
    assert answer.status_code == 200
    assert "set-cookie" not in answer.headers
    assert state(site) == "refused"
    records = site.history(CYD)["records"]
    record = next(r for r in records if r["category"] == "consent.withdrawn")
    assert record["purpose"] == "marketing"
    assert record["source"] == "one-click"
    assert record["evidence"]["collection_method"] == "one-click"


BODIES = {
    "multipart": ({"files": {"List-Unsubscribe": (None, "One-Click")}}, "one-click"),
    "the button of the page": ({"data": {"control": "button"}}, "button"),
    "nothing": ({}, "post without the one-click body"),
    "something else": ({"data": {"a": "b"}}, "post without the one-click body"),
    "bytes": ({"content": b"\xff\x00"}, "post without the one-click body"),
    "plain text": (
        {"content": "List-Unsubscribe=One-Click", "headers": {"Content-Type": "text/plain"}},
        "one-click",
    ),
    "a megabyte": ({"content": b"x" * 2**20}, "post whose body was too long or too late"),
}


@pytest.mark.parametrize("what", BODIES)
def test_a_post_withdraws_whatever_its_body(site: Site, token: str, what: str):
    request, how = BODIES[what]
    assert site.client.post(f"/u/{token}", **request).status_code == 200
    record = next(r for r in site.history(CYD)["records"] if r["category"] == "consent.withdrawn")
    assert record["evidence"]["collection_method"] == how


def test_a_mail_client_on_another_site_may_post(site: Site, token: str):
    headers = {"Origin": "https://mail.example", "Sec-Fetch-Site": "cross-site"}
    assert site.client.post(f"/u/{token}", data=ONE_CLICK, headers=headers).status_code == 200
    assert state(site) == "refused"


def test_a_second_click_gets_the_same_answer_and_adds_nothing(site: Site, token: str):
    first = site.client.post(f"/u/{token}", data=ONE_CLICK)
    site.clock.advance(days=30)
    second = site.client.post(f"/u/{token}", data=ONE_CLICK)
    assert (first.status_code, first.content) == (second.status_code, second.content)
    assert withdrawals(site) == 1


def test_two_clicks_at_once_are_one_withdrawal(site: Site, token: str):
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: site.client.post(f"/u/{token}", data=ONE_CLICK), range(8)))
    assert {answer.status_code for answer in answers} == {200}
    assert withdrawals(site) == 1


def test_the_link_of_an_old_mail_withdraws_a_consent_given_since(site: Site, token: str):
    site.client.post(f"/u/{token}", data=ONE_CLICK)
    site.clock.advance(days=1)
    site.subscribe(CYD)
    assert state(site) == "permitted"
    site.clock.advance(days=90)
    site.client.post(f"/u/{token}", data=ONE_CLICK)
    assert state(site) == "refused"
    assert withdrawals(site) == 2


def test_a_withdrawal_is_for_the_purpose_of_the_link_alone(site: Site, token: str):
    site.event(
        "g",
        category="consent.granted",
        email=CYD,
        purpose="events",
        provenance="import",
        occurred_at="2025-01-01T00:00:00Z",
    )
    site.client.post(f"/u/{token}", data=ONE_CLICK)
    states = {one["purpose"]: one["state"] for one in site.history(CYD)["standing_now"]}
    assert states["marketing"] == "refused"
    assert states["events"] != "refused"


def test_a_link_for_a_purpose_that_is_gone_withdraws_everything(site: Site, token: str):
    gone = site.token(CYD, "discontinued")
    assert site.client.post(f"/u/{gone}", data=ONE_CLICK).status_code == 200
    assert {one["state"] for one in site.history(CYD)["standing_now"]} == {"refused"}


def test_no_changed_token_is_accepted(site: Site, token: str):
    size = site.size
    for place, character in enumerate(token):
        other = ALPHABET[(ALPHABET.index(character) + 1) % 64]
        site.client.post(f"/u/{token[:place]}{other}{token[place + 1 :]}", data=ONE_CLICK)
    for forged in (token[:-1], token + "A", token + "=", token.swapcase(), "x", "%00", "ü"):
        site.client.post(f"/u/{forged}", data=ONE_CLICK)
    assert site.size == size


def test_valid_and_invalid_tokens_get_the_same_answer(site: Site, token: str):
    pairs = [
        [site.client.post(f"/u/{t}", data=ONE_CLICK) for t in (token, "made-up")],
        [
            site.client.post(f"/u/{t}", data=ONE_CLICK, headers={"Accept": "text/html"})
            for t in (token, "made-up")
        ],
        [site.client.get(f"/u/{t}") for t in (token, "made-up")],
    ]
    for valid, invalid in pairs:
        assert valid.status_code == invalid.status_code == 200
        assert valid.text.replace(token, "made-up") == invalid.text
        names = [set(answer.headers) for answer in (valid, invalid)]
        assert names[0] == names[1]


def test_a_token_tells_nothing_about_the_address(site: Site, token: str):
    assert "cyd" not in token
    assert "example" not in token
    site.subscribe("dan@example.com")
    assert site.token("dan@example.com") != token


def test_when_we_cannot_record_it_the_sender_is_told_to_try_again(site: Site, token: str):
    site.edge.intake.stop()
    answer = site.client.post(f"/u/{token}", data=ONE_CLICK)
    assert answer.status_code == 503
    assert int(answer.headers["Retry-After"]) > 0


def test_when_the_database_is_broken_the_sender_is_told_to_try_again(site: Site, token: str, tmp_path: Path):
    with closing(sqlite3.connect(tmp_path / "ledger.db")) as other:
        other.execute('ALTER TABLE "event" RENAME TO gone')
    assert site.client.post(f"/u/{token}", data=ONE_CLICK).status_code == 503


def test_the_page_of_the_link_has_a_button_and_needs_no_script(site: Site, token: str):
    page = site.client.get(f"/u/{token}").text
    assert f'action="/u/{token}"' in page
    assert "<button" in page
    assert "<script" not in page


def test_a_token_cannot_carry_a_script_into_the_page(site: Site):
    page = site.client.get('/u/"><script>alert(1)<').text
    assert "<script" not in page


def test_a_logged_in_browser_is_not_needed_and_not_harmed(site: Site, token: str):
    with TestClient(create_site(site.edge), cookies={"session": "anything"}) as client:
        assert client.post(f"/u/{token}", data=ONE_CLICK).status_code == 200
    assert state(site) == "refused"


def test_a_token_of_nobody_gets_the_same_words_and_they_promise_nothing_untrue(site: Site):
    site.subscribe("cyd@example.com")
    said = [site.client.post(f"/u/{token}").text for token in (site.token("cyd@example.com"), "x" * 60)]
    assert said[0] == said[1]
    assert "If this link belongs to you" in said[0]


def test_a_page_names_its_character_set_once(site: Site):
    page = site.client.get("/u/x", headers={"Accept": "text/html"})
    assert page.headers["Content-Type"] == "text/html; charset=utf-8"
    assert site.client.post("/u/x").headers["Content-Type"] == "text/plain; charset=utf-8"
