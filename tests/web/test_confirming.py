"""The click in a confirmation mail: a page with a button, and one event of its own."""

import re
from concurrent.futures import ThreadPoolExecutor

import pytest

from service.intake.erasures import ErasureList
from service.intake.forgetting import erase
from service.web.auth import HISTORY_READ, LINKS_READ, create_key

from .conftest import Site

CYD = "cyd@example.com"
EVENTS = "/forms/events"
POST = {"email": CYD, "control": "tick", "page_url": "https://acme.example/join"}


@pytest.fixture
def ask(site: Site):
    """Return how a sender asks for the links of confirmation mails."""
    key = create_key(site.edge.db, "sender", [LINKS_READ])

    def post(*emails: str, purpose: str = "events", key: str = key):
        body = {"purpose": purpose, "emails": emails or (CYD,)}
        headers = {"Authorization": f"Bearer {key}"}
        return site.client.post("/api/confirmation-links", json=body, headers=headers)

    return post


@pytest.fixture
def link(site: Site, ask) -> str:
    """Return the path of the link that goes to somebody who has just asked for mail."""
    site.client.post(EVENTS, json=POST)
    site.clock.advance(minutes=5)
    return path(ask())


def path(answer) -> str:
    (told,) = answer.json()["links"]
    return told["link"].removeprefix("http://testserver.local")


def state(site: Site, purpose: str = "events") -> str:
    return {one["purpose"]: one["state"] for one in site.history(CYD)["standing_now"]}[purpose]


def confirmations(site: Site) -> list[dict]:
    return [one for one in site.history(CYD)["records"] if one["category"] == "consent.confirmed"]


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_a_scanner_that_follows_the_link_confirms_nothing(site: Site, link: str, method: str):
    size = site.size
    for _ in range(3):
        assert site.client.request(method, link).status_code == 200
    assert site.size == size
    assert state(site) == "pending"


def test_the_page_shows_the_words_that_were_asked_for_and_a_button(site: Site, link: str):
    shown = site.client.get(link).text
    assert "Yes, invite me." in shown
    assert f'<form method="post" action="{link}">' in shown
    assert CYD not in shown


def test_the_button_confirms_with_the_words_of_the_request_and_the_connection_of_the_click(
    site: Site, link: str
):
    answer = site.client.post(link, headers={"User-Agent": "her own browser"})
    assert answer.status_code == 200
    assert "Confirmed" in answer.text
    assert state(site) == "permitted"
    (found,) = confirmations(site)
    asked = next(one for one in site.history(CYD)["records"] if one["category"] == "consent.requested")
    assert (found["grade"], found["provenance"]) == ("A", "live")
    assert found["evidence"]["notice_sha256"] == asked["evidence"]["notice_sha256"]
    assert found["evidence"]["user_agent"] == "her own browser"
    assert found["evidence"]["confirms"] == asked["index"]
    assert link.rpartition("/")[2] not in str(found)


def test_a_second_click_and_many_at_once_confirm_once(site: Site, link: str):
    with ThreadPoolExecutor(8) as pool:
        answers = list(
            pool.map(lambda turn: site.client.post(link, headers={"User-Agent": f"{turn}"}), range(8))
        )
    assert {answer.status_code for answer in answers} == {200}
    site.clock.advance(minutes=5)
    assert "Confirmed" in site.client.post(link).text
    assert "Confirmed" in site.client.get(link).text
    assert len(confirmations(site)) == 1


def test_the_link_of_an_old_mail_does_not_lift_a_withdrawal_made_since(site: Site, link: str):
    site.client.post(link)
    site.clock.advance(minutes=5)
    site.client.post(f"/u/{site.token(CYD, 'events')}")
    site.clock.advance(minutes=5)
    for answer in (site.client.get(link), site.client.post(link)):
        assert answer.status_code == 410
        assert "<form" not in answer.text
    assert state(site) == "refused"


def test_who_asks_anew_after_a_refusal_gets_a_new_link_that_lifts_it(site: Site, link: str, ask):
    site.client.post(f"/u/{site.token(CYD, 'events')}")
    site.clock.advance(minutes=5)
    site.client.post(EVENTS, json=POST)
    site.clock.advance(minutes=5)
    again = path(ask())
    assert again != link
    assert state(site) == "refused"
    site.client.post(again)
    assert state(site) == "permitted"


def test_a_request_can_be_confirmed_for_as_many_days_as_the_policy_says(site: Site, link: str, ask):
    days = site.edge.policy.purposes["events"].confirm_within_days
    site.clock.advance(days=days - 1)
    assert site.client.get(link).status_code == 200
    site.clock.advance(days=1)
    assert site.client.post(link).status_code == 410
    assert ask().json() == {"links": [None]}
    assert state(site) == "pending"


def test_after_an_erasure_the_link_brings_nobody_back(site: Site, link: str, tmp_path):
    site.edge.intake.erasures = ErasureList(tmp_path / "erasures")
    erase(site.edge.intake, CYD, reason="request")
    size = site.size
    assert site.client.post(link).status_code == 410
    assert site.size == size


def test_a_link_that_is_not_ours_and_one_that_is_over_look_alike(site: Site, link: str):
    cut = site.client.post(link[:-1])
    site.client.post(f"/u/{site.token(CYD, 'events')}")
    assert (cut.status_code, cut.text) == (410, site.client.post(link).text)


def test_a_link_that_stops_does_not_confirm_and_the_other_way_round(site: Site, link: str):
    stop = site.token(CYD, "events")
    assert site.client.post(f"/confirm/{stop}").status_code == 410
    assert state(site) == "pending"
    site.client.post(link.replace("/confirm/", "/u/"))
    assert state(site) == "pending"


def test_only_who_asked_and_waits_has_a_link(site: Site, link: str, ask):
    site.subscribe("other@example.com")
    told = ask("nobody@example.com", "other@example.com", " CYD@Example.com ").json()["links"]
    assert told[:2] == [None, None]
    assert told[2]["link"].endswith(link)
    assert re.fullmatch(r"[\w-]+", link.rpartition("/")[2])
    site.client.post(link)
    assert ask().json() == {"links": [None]}


def test_a_grant_that_waits_for_its_confirmation_has_a_link_too(site: Site, ask):
    shown = {
        "notice_version": "1",
        "notice_sha256": "0" * 64,
        "control": "tick",
        "page_url": POST["page_url"],
    }
    answer = site.event(category="consent.granted", purpose="events", evidence=shown)
    assert answer.status_code == 201, answer.text
    site.clock.advance(minutes=1)
    assert state(site) == "pending"
    site.client.post(path(ask()))
    assert state(site) == "permitted"


def test_links_of_confirmations_need_the_scope_for_links_and_a_declared_purpose(site: Site, ask):
    other = create_key(site.edge.db, "other", [HISTORY_READ])
    assert ask(key=other).status_code == 403
    assert ask(purpose="nothing").json()["field"] == "purpose"
