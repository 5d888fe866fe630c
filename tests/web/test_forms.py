import hashlib
import json

import pytest

from service.ledger.proof import verify_receipt

from .conftest import Site

FORM = "/forms/newsletter"
PAGE = "https://acme.example"
URLENCODED = {"email": "cyd@example.com", "control": "tick", "page_url": "https://acme.example/join"}


def event(site: Site, email: str, category: str) -> dict:
    return next(r for r in site.history(email)["records"] if r["category"] == category)


def test_a_program_gets_a_signed_receipt(site: Site):
    answer = site.subscribe("cyd@example.com")
    assert answer.status_code == 201
    told = answer.json()
    verified = verify_receipt(told["receipt"].encode(), [site.edge.intake.keys.log.verifier])
    assert verified.receipt.index == told["index"]
    assert told["notice_sha256"] == site.edge.policy.forms["newsletter"].notice_sha256


def test_what_was_shown_and_done_is_sealed_with_the_consent(site: Site):
    headers = {"User-Agent": "A browser", "Content-Type": "application/json"}
    body = json.dumps(URLENCODED | {"language": "de"})
    site.client.post(FORM, content=body, headers=headers)
    evidence = event(site, "cyd@example.com", "consent.granted")["evidence"]
    notice = site.edge.policy.forms["newsletter"].notice
    assert evidence["notice_sha256"] == hashlib.sha256(notice.encode()).hexdigest()
    assert evidence["notice_copy"] == notice
    assert evidence["notice_version"] == "2026-01"
    assert (evidence["control"], evidence["page_url"]) == ("tick", "https://acme.example/join")
    assert (evidence["language"], evidence["form_id"]) == ("de", "newsletter")
    assert (evidence["ip"], evidence["user_agent"]) == ("testclient", "A browser")


def test_a_consent_through_the_form_permits(site: Site):
    site.subscribe("cyd@example.com")
    assert site.history("cyd@example.com")["standing_now"][0]["may_mail"] is True


def test_the_address_a_caller_claims_to_forward_for_is_not_believed(site: Site):
    headers = {"X-Forwarded-For": "203.0.113.9", "Forwarded": "for=203.0.113.9", "X-Real-IP": "203.0.113.9"}
    site.client.post(FORM, json=URLENCODED, headers=headers)
    assert event(site, "cyd@example.com", "consent.granted")["evidence"]["ip"] == "testclient"


def test_a_browser_posts_the_form_and_is_thanked(site: Site):
    answer = site.client.post(FORM, data=URLENCODED, headers={"Accept": "text/html", "Origin": PAGE})
    assert answer.status_code == 200
    assert site.edge.policy.forms["newsletter"].thanks in answer.text
    assert "cyd@example.com" not in answer.text
    assert site.categories("cyd@example.com") == ["subject.opened", "consent.granted"]


def test_taking_consent_back_is_as_easy_and_needs_no_evidence(site: Site):
    site.subscribe("cyd@example.com")
    answer = site.client.post(FORM, data={"email": "cyd@example.com", "action": "withdraw"})
    assert answer.status_code == 201
    assert site.history("cyd@example.com")["standing_now"][0]["state"] == "refused"


def test_a_form_whose_purpose_needs_confirmation_asks_and_does_not_permit(site: Site):
    answer = site.client.post("/forms/events", json=URLENCODED)
    assert answer.status_code == 201
    assert site.categories("cyd@example.com") == ["subject.opened", "consent.requested"]
    states = {one["purpose"]: one["state"] for one in site.history("cyd@example.com")["standing_now"]}
    assert states["events"] == "pending"


def test_known_and_unknown_addresses_get_the_same_answer(site: Site):
    site.subscribe("known@example.com")
    site.clock.advance(minutes=5)
    answers = [site.subscribe("known@example.com"), site.subscribe("other@example.com")]
    assert len({answer.status_code for answer in answers}) == 1
    assert len({tuple(answer.json()) for answer in answers}) == 1
    headers = [{k: v for k, v in answer.headers.items() if k != "content-length"} for answer in answers]
    assert headers[0] == headers[1]
    said = [
        {k: v for k, v in a.json().items() if k not in {"index", "leaf_hash", "receipt"}} for a in answers
    ]
    assert said[0] == said[1]


def test_known_and_unknown_addresses_get_the_same_page(site: Site):
    site.subscribe("known@example.com")
    site.clock.advance(minutes=5)
    pages = [
        site.client.post(FORM, data=URLENCODED | {"email": email}, headers={"Accept": "text/html"})
        for email in ("known@example.com", "other@example.com")
    ]
    assert pages[0].content == pages[1].content
    assert pages[0].headers == pages[1].headers


def test_a_double_click_is_one_event(site: Site):
    first, second = site.subscribe("cyd@example.com"), site.subscribe("cyd@example.com")
    assert (first.status_code, second.status_code) == (201, 200)
    assert first.json()["receipt"] == second.json()["receipt"]
    site.clock.advance(minutes=1)
    assert site.subscribe("cyd@example.com").status_code == 201


def test_a_form_may_bring_its_own_idempotency_key(site: Site):
    first = site.subscribe("cyd@example.com", key="post-1")
    site.clock.advance(hours=1)
    again = site.client.post(FORM, json=URLENCODED, headers={"Idempotency-Key": "post-1"})
    assert (first.status_code, again.status_code) == (201, 200)
    assert first.json()["receipt"] == again.json()["receipt"]
    assert site.subscribe("dan@example.com", key="post-1").status_code == 409


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"control": None}, "control"),
        ({"control": ""}, "control"),
        ({"control": "script"}, "control"),
        ({"page_url": None}, "page_url"),
        ({"email": "nobody"}, "email"),
        ({"email": "a@b@example.com"}, "email"),
        ({"action": "maybe"}, "action"),
        ({"name": "Cyd"}, "name"),
        ({"notice_sha256": "0" * 64}, "notice_sha256"),
        ({"key": "a b"}, "key"),
    ],
)
def test_a_post_that_would_prove_little_is_refused_with_its_field(site: Site, fields: dict, field: str):
    size = site.size
    answer = (
        site.subscribe("cyd@example.com", **fields) if "email" not in fields else site.subscribe(**fields)
    )
    assert (answer.status_code, answer.json()["field"]) == (400, field)
    assert site.size == size


def test_a_form_that_is_not_declared_does_not_exist(site: Site):
    for method in ("GET", "POST", "OPTIONS"):
        assert site.client.request(method, "/forms/other", headers={"Origin": PAGE}).status_code == 404


def test_a_preflight_from_an_allowed_page_is_answered(site: Site):
    asked = {
        "Origin": PAGE,
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "content-type",
    }
    answer = site.client.options(FORM, headers=asked)
    assert answer.status_code == 204
    assert answer.headers["Access-Control-Allow-Origin"] == PAGE
    assert "POST" in answer.headers["Access-Control-Allow-Methods"]
    assert "content-type" in answer.headers["Access-Control-Allow-Headers"]
    assert answer.headers["Vary"] == "Origin"
    assert "Access-Control-Allow-Credentials" not in answer.headers


STRANGERS = [
    "null",
    "https://evil.example",
    "https://acme.example.evil.example",
    "https://evilacme.example",
    "https://acme.example:8443",
    "http://acme.example",
    "https://ACME.example.",
    "https://acme.example/",
    "*",
]


@pytest.mark.parametrize("origin", STRANGERS)
def test_pages_of_elsewhere_can_neither_ask_nor_post(site: Site, origin: str):
    size = site.size
    asked = {"Origin": origin, "Access-Control-Request-Method": "POST"}
    for answer in (
        site.client.options(FORM, headers=asked),
        site.client.post(FORM, json=URLENCODED, headers={"Origin": origin}),
        site.client.post(FORM, data=URLENCODED, headers={"Origin": origin, "Sec-Fetch-Site": "cross-site"}),
    ):
        assert answer.status_code == 403
        assert "Access-Control-Allow-Origin" not in answer.headers
    assert site.size == size


def test_an_allowed_page_can_read_the_answer_to_its_post(site: Site):
    answer = site.client.post(FORM, json=URLENCODED, headers={"Origin": PAGE})
    assert answer.status_code == 201
    assert answer.headers["Access-Control-Allow-Origin"] == PAGE


def test_our_own_page_may_post(site: Site):
    assert site.client.post(FORM, data=URLENCODED, headers={"Origin": site.edge.origin}).status_code == 201


def test_the_form_shows_the_notice_and_a_box_that_is_not_ticked(site: Site):
    page = site.client.get(FORM).text
    assert site.edge.policy.forms["newsletter"].notice.split(". ")[0] in page
    assert 'type="checkbox"' in page
    assert "checked" not in page
    assert "<script" not in page


def test_a_body_as_plain_text_does_not_get_past_the_preflight(site: Site):
    headers = {"Content-Type": "text/plain", "Origin": PAGE}
    assert site.client.post(FORM, content=json.dumps(URLENCODED), headers=headers).status_code == 415
