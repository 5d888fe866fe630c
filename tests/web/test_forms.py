import hashlib
import json
from itertools import pairwise

import pytest

from service.intake.epoch import epoch
from service.ledger.entry import decode
from service.ledger.proof import verify_receipt
from service.ledger.publication import Publisher
from service.ledger.verify import State, verify_bundle
from service.reports.evidence import bundle

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
    assert (evidence["language"], evidence["form_id"]) == ("en", "newsletter")
    assert evidence["browser_language"] == "de"
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


def test_the_click_in_the_confirmation_mail_is_an_event_of_its_own_and_permits(site: Site):
    site.client.post("/forms/events", json=URLENCODED)
    site.clock.advance(minutes=5)
    shown = {"notice_sha256": "0" * 64, "control": "link", "page_url": "https://acme.example/join"}
    click = {"category": "consent.confirmed", "purpose": "events", "evidence": {**shown, "ip": "192.0.2.7"}}
    assert site.event(**click).status_code == 201
    site.clock.advance(minutes=1)
    assert site.categories("cyd@example.com")[1:] == ["consent.requested", "consent.confirmed"]
    found = site.history("cyd@example.com")
    assert {one["purpose"]: one["state"] for one in found["standing_now"]}["events"] == "permitted"
    assert next(one for one in found["records"] if one["category"] == "consent.confirmed")["grade"] == "A"


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


def log_size(site: Site) -> int:
    """Return how many entries the checkpoint counts that is published to everybody."""
    edge = site.edge
    keys = edge.intake.keys
    Publisher(edge.db, edge.intake.store, keys.log, keys.log_pq, site.clock).publish()
    return int(site.client.get("/log/checkpoint").text.splitlines()[1])


@pytest.mark.parametrize("action", ["grant", "withdraw"])
def test_the_log_grows_as_far_for_a_known_address_as_for_an_unknown_one(site: Site, action):
    site.subscribe("known@example.com")
    sizes, indexes = [log_size(site)], []
    for email in ("known@example.com", "other@example.com", "known@example.com", "third@example.com"):
        site.clock.advance(minutes=5)
        answer = site.client.post(FORM, json=URLENCODED | {"email": email, "action": action})
        indexes.append(answer.json()["index"])
        sizes.append(log_size(site))
    assert {after - before for before, after in pairwise(sizes)} == {2}
    assert {after - before for before, after in pairwise(indexes)} == {2}


@pytest.mark.parametrize("email", ["known@example.com", "other@example.com"])
def test_a_retry_adds_nothing_to_the_log_whoever_it_is_about(site: Site, email: str):
    site.subscribe("known@example.com")
    site.subscribe(email, key="post-1")
    before = log_size(site)
    assert site.subscribe(email, key="post-1").status_code == 200
    assert log_size(site) == before


def test_what_a_known_address_adds_to_the_log_looks_like_an_opening_and_belongs_to_nobody(site: Site):
    site.subscribe("known@example.com")
    site.clock.advance(minutes=5)
    index = site.subscribe("known@example.com").json()["index"]
    with site.edge.db.read() as tx:
        lines = [decode(data) for data in site.edge.intake.store.entries(tx, [1, index - 1]).values()]
    assert [(line.category, line.subject, set(line.extra)) for line in lines] == [
        ("subject.opened", None, {"dk", "dv"})
    ] * 2
    assert lines[0].extra["dk"] != lines[1].extra["dk"]
    assert site.categories("known@example.com") == ["subject.opened", "consent.granted", "consent.granted"]


def test_a_bundle_of_an_address_with_such_entries_is_complete_before_and_after_an_epoch(site: Site):
    site.subscribe("known@example.com")
    site.clock.advance(minutes=5)
    site.subscribe("known@example.com")
    key = site.edge.intake.keys
    for _ in range(2):
        data = bundle(site.edge.intake, "known@example.com", at=site.edge.now())
        assert verify_bundle(data, key.log.vkey, key.directory).state is State.GOOD
        epoch(site.edge.intake)


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
        ({"name": "Cyd"}, None),
        ({"notice_sha256": "0" * 64}, None),
        ({"key": "a b"}, "key"),
    ],
)
def test_a_post_that_would_prove_little_is_refused_with_its_field(
    site: Site, fields: dict, field: str | None
):
    size = site.size
    answer = (
        site.subscribe("cyd@example.com", **fields) if "email" not in fields else site.subscribe(**fields)
    )
    assert (answer.status_code, answer.json().get("field")) == (400, field)
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
    ours = URLENCODED | {"page_url": f"{site.edge.origin}/forms/newsletter"}
    assert site.client.post(FORM, data=ours, headers={"Origin": site.edge.origin}).status_code == 201


def test_the_form_shows_the_notice_and_a_box_that_is_not_ticked(site: Site):
    page = site.client.get(FORM).text
    assert site.edge.policy.forms["newsletter"].notice.split(". ")[0] in page
    assert 'type="checkbox"' in page
    assert "checked" not in page
    assert "<script" not in page


def test_a_body_as_plain_text_does_not_get_past_the_preflight(site: Site):
    headers = {"Content-Type": "text/plain", "Origin": PAGE}
    assert site.client.post(FORM, content=json.dumps(URLENCODED), headers=headers).status_code == 415


@pytest.mark.parametrize(
    "page",
    [
        "garbage",
        "/join",
        "javascript:alert(1)",
        "https://",
        "ftp://acme.example/",
        "https://a b/",
        "https://a:b/",
    ],
)
def test_a_page_that_is_no_address_of_the_web_is_refused(site: Site, page: str):
    answer = site.subscribe("cyd@example.com", page_url=page)
    assert answer.status_code == 400
    assert answer.json()["field"] == "page_url"


@pytest.mark.parametrize(
    ("page", "status"),
    [
        ("https://acme.example/join", 201),
        ("https://acme.example:443/", 201),
        ("https://evil.example/join", 400),
    ],
)
def test_a_browser_names_a_page_of_the_origin_that_it_posts_from(site: Site, page: str, status: int):
    body = URLENCODED | {"page_url": page}
    answer = site.client.post(FORM, data=body, headers={"Origin": PAGE})
    assert answer.status_code == status
