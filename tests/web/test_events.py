from datetime import timedelta

import pytest

from service.ledger.proof import decode_proof, verify_receipt
from service.web.auth import EVENTS_WRITE, create_key

from .conftest import Site

GRANT = {
    "category": "consent.granted",
    "purpose": "marketing",
    "evidence": {
        "notice_sha256": "0" * 64,
        "notice_version": "2026-01",
        "control": "tick",
        "page_url": "https://shop.example/join",
    },
}


def without(name: str) -> dict:
    return GRANT | {"evidence": {k: v for k, v in GRANT["evidence"].items() if k != name}}


def test_an_event_gets_a_receipt_that_proves_it(site: Site):
    answer = site.event()
    assert answer.status_code == 201
    told = answer.json()
    assert told["status"] == "recorded"
    verified = verify_receipt(told["receipt"].encode(), [site.edge.intake.keys.log.verifier])
    assert verified.receipt.index == told["index"]
    assert b"example.com" not in verified.receipt.entry


def test_the_same_key_and_event_give_the_same_receipt_byte_for_byte(site: Site):
    first = site.event().json()
    size = site.size
    site.clock.advance(hours=3)
    answer = site.event()
    assert answer.status_code == 200
    assert answer.json() == first | {"status": "duplicate"}
    assert site.size == size


def test_the_same_key_with_another_event_is_a_conflict(site: Site):
    site.event()
    answer = site.event(email="dan@example.com")
    assert answer.status_code == 409
    assert site.categories("dan@example.com") == []


def test_two_programs_may_use_the_same_key(site: Site):
    site.event()
    other = create_key(site.edge.db, "crm", [EVENTS_WRITE])
    body = {"category": "complaint", "email": "cyd@example.com"}
    headers = {"Authorization": f"Bearer {other}", "Idempotency-Key": "k1"}
    assert site.client.post("/api/events", json=body, headers=headers).status_code == 201


def test_a_new_key_of_the_same_name_goes_on_where_the_old_one_stopped(site: Site):
    site.event()
    renewed = create_key(site.edge.db, "shop", [EVENTS_WRITE])
    body = {"category": "consent.withdrawn", "email": "cyd@example.com"}
    headers = {"Authorization": f"Bearer {renewed}", "Idempotency-Key": "k1"}
    assert site.client.post("/api/events", json=body, headers=headers).status_code == 200


def test_a_single_event_needs_an_idempotency_key(site: Site):
    answer = site.event(key=None)
    assert (answer.status_code, answer.json()["field"]) == (400, "Idempotency-Key")


@pytest.mark.parametrize("key", ["", "a b", "x" * 201])
def test_an_idempotency_key_is_visible_ascii(site: Site, key: str):
    assert site.event(key=key).status_code == 400


def test_two_idempotency_keys_are_one_too_many(site: Site):
    headers = [("Authorization", f"Bearer {site.writer}"), ("Idempotency-Key", "a"), ("Idempotency-Key", "b")]
    body = {"category": "complaint", "email": "cyd@example.com"}
    assert site.client.post("/api/events", json=body, headers=headers).status_code == 400


def test_an_array_is_answered_event_by_event_in_order(site: Site):
    values = [{"category": "complaint", "email": f"p{n}@example.com", "key": f"k{n}"} for n in range(5)]
    answer = site.events(values)
    assert answer.status_code == 201
    receipts = [decode_proof(one["receipt"].encode()) for one in answer.json()]
    assert [r.index for r in receipts] == [one["index"] for one in answer.json()]
    for place, one in enumerate(answer.json()):
        records = site.history(f"p{place}@example.com")["records"]
        assert one["index"] in [record["index"] for record in records]


def test_a_bad_event_in_an_array_costs_only_itself(site: Site):
    values = [{"category": "complaint", "email": f"p{n}@example.com", "key": f"k{n}"} for n in range(5)]
    values[3]["email"] = "not an address"
    answer = site.events(values)
    assert answer.status_code == 207
    told = answer.json()
    assert [one["status"] for one in told] == ["recorded"] * 3 + ["refused", "recorded"]
    assert told[3]["problem"]["field"] == "events[3].email"
    assert told[3]["problem"]["status"] == 400


def test_a_reused_key_inside_an_array_is_refused_by_itself(site: Site):
    site.event("k")
    answer = site.events([{"category": "complaint", "email": "dan@example.com", "key": "k"}])
    assert answer.status_code == 207
    assert answer.json()[0]["problem"]["status"] == 409


def test_an_array_under_one_key_can_be_sent_again(site: Site):
    values = [{"category": "complaint", "email": f"p{n}@example.com"} for n in range(3)]
    headers = {"Idempotency-Key": "batch"}
    first = site.events(values, **headers)
    again = site.events(values, **headers)
    assert (first.status_code, again.status_code) == (201, 200)
    assert [one["receipt"] for one in first.json()] == [one["receipt"] for one in again.json()]


def test_the_key_of_an_array_does_not_collide_with_that_of_an_event(site: Site):
    site.events([{"category": "complaint", "email": "cyd@example.com"}], **{"Idempotency-Key": "a"})
    assert site.event("a").status_code == 201


def test_an_array_without_any_key_is_refused_event_by_event(site: Site):
    answer = site.events([{"category": "complaint", "email": "cyd@example.com"}])
    assert answer.json()[0]["problem"]["field"] == "events[0].key"


def test_a_thousand_events_are_taken_and_one_more_is_not(site: Site):
    values = [{"category": "bounce.soft", "email": f"p{n}@example.com", "key": f"k{n}"} for n in range(1_001)]
    assert site.events(values).status_code == 413
    answer = site.events(values[:1_000])
    assert answer.status_code == 201
    assert len({one["index"] for one in answer.json()}) == 1_000


def test_an_empty_array_is_refused(site: Site):
    assert site.events([]).status_code == 400


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"category": "access"}, "category"),
        ({"category": "enforcement"}, "category"),
        ({"category": "suppression.lifted"}, "category"),
        ({"email": "nobody"}, "email"),
        ({"purpose": "unheard of"}, "purpose"),
        ({**GRANT, "purpose": None}, "purpose"),
        ({"category": "consent.requested"}, "purpose"),
        ({"occurred_at": "2026-01-31T09:30:00"}, "occurred_at"),
        ({"occurred_at": "yesterday"}, "occurred_at"),
        ({"occurred_at": "1970-01-01T00:00:00Z"}, "occurred_at"),
        ({"occurred_at": "9999-01-01T00:00:00Z"}, "occurred_at"),
        ({"provenance": "import"}, "occurred_at"),
        ({"provenance": "observed"}, "provenance"),
        ({"source_number": -1}, "source_number"),
        ({"source_number": 2**53}, "source_number"),
        ({"evidence": {"shoe_size": "44"}}, "evidence"),
        ({"seq": 1}, None),
        ({"at": "2026-01-31T09:30:00Z"}, None),
        ({"hash": "x"}, None),
        (without("notice_sha256"), "evidence.notice_sha256"),
        (without("notice_version"), "evidence.notice_version"),
        (without("control"), "evidence.control"),
        (without("page_url"), "evidence.page_url"),
        ({**GRANT, "evidence": {**GRANT["evidence"], "notice_sha256": "XYZ"}}, "evidence.notice_sha256"),
    ],
)
def test_an_event_that_says_too_little_or_too_much_is_refused_with_its_field(
    site: Site, fields: dict, field: str
):
    answer = site.event(**fields)
    assert (answer.status_code, answer.json().get("field")) == (400, field)
    assert "cyd@example.com" not in answer.text


def test_a_box_that_was_ticked_beforehand_is_recorded_and_lets_nobody_be_mailed(site: Site):
    answer = site.event(**GRANT | {"evidence": GRANT["evidence"] | {"prechecked": True}})
    assert answer.status_code == 201
    assert answer.json()["unmet"] == ["enforcement.forbidden_evidence: it came with prechecked"]
    told = site.ask("/api/standing", "cyd@example.com").json()["standings"]
    marketing = next(one for one in told if one["purpose"] == "marketing")
    assert (marketing["may_mail"], marketing["rule"]) == (False, "enforcement.forbidden_evidence")
    assert "does not count under enforcement.forbidden_evidence" in marketing["reasons"][0]


def test_an_answer_about_a_consent_that_counts_speaks_of_no_rule(site: Site):
    assert "unmet" not in site.event(**GRANT).json()


IMPLIED = {"basis": "implied", "fact": "purchase", "fact_at": "2026-01-31", "conditions": ["refusal_offered"]}


def test_an_implied_consent_brings_its_fact_instead_of_a_notice(site: Site):
    assert site.event(**GRANT | {"evidence": IMPLIED, "country": "Canada"}).status_code == 201
    standings = site.ask("/api/standing", "cyd@example.com").json()["standings"]
    told = next(one for one in standings if one["purpose"] == "marketing")
    assert (told["may_mail"], told["rule"]) == (False, "ca.casl.implied_purchase")
    assert "is not in force" in told["reasons"][0]
    assert told["policy"] == site.edge.policy.digest.hex()


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"fact": None}, "evidence.fact"),
        ({"fact_at": None}, "evidence.fact"),
        ({"fact_at": "in May"}, "evidence.fact_at"),
        ({"basis": "divined"}, "evidence.basis"),
    ],
)
def test_an_implied_consent_without_its_fact_is_refused_with_the_field(site: Site, changes: dict, field: str):
    answer = site.event(**GRANT | {"evidence": IMPLIED | changes})
    assert (answer.status_code, answer.json().get("field")) == (400, field)


def test_a_grant_with_full_evidence_permits_and_its_evidence_is_sealed(site: Site):
    assert site.event(**GRANT).status_code == 201
    told = site.history("cyd@example.com")
    assert told["standing_now"][0]["may_mail"] is True
    record = next(r for r in told["records"] if r["category"] == "consent.granted")
    assert record["evidence"]["page_url"] == "https://shop.example/join"
    assert record["source"] == "api:shop"


def test_an_imported_grant_may_lack_evidence_and_permits_nothing(site: Site):
    fields = {"category": "consent.granted", "purpose": "marketing", "provenance": "import"}
    assert site.event(**fields, occurred_at="2024-05-01T10:00:00+02:00").status_code == 201
    standing = site.history("cyd@example.com")["standing_now"][0]
    assert standing["may_mail"] is False


def test_an_event_a_little_ahead_of_our_clock_is_taken_and_can_be_read_back(site: Site):
    soon = (site.clock() + timedelta(minutes=4)).isoformat()
    assert site.event(occurred_at=soon).status_code == 201
    assert "consent.withdrawn" in site.categories("cyd@example.com")


def test_an_event_ten_minutes_ahead_of_our_clock_is_not_taken(site: Site):
    soon = (site.clock() + timedelta(minutes=10)).isoformat()
    assert site.event(occurred_at=soon).json()["field"] == "occurred_at"


def test_a_withdrawal_without_a_purpose_is_for_every_purpose(site: Site):
    site.event(purpose=None)
    assert {one["state"] for one in site.history("cyd@example.com")["standing_now"]} == {"refused"}


def test_an_event_is_not_accepted_when_it_cannot_be_recorded(site: Site):
    site.edge.intake.stop()
    answer = site.event()
    assert answer.status_code == 503
    assert int(answer.headers["Retry-After"]) > 0
    assert site.events([{"category": "complaint", "email": "a@example.com", "key": "k"}]).status_code == 503


def test_a_single_event_has_its_key_in_the_header_alone(site: Site):
    body = {"category": "complaint", "email": "cyd@example.com", "key": "k"}
    headers = {"Authorization": f"Bearer {site.writer}", "Idempotency-Key": "k"}
    assert site.client.post("/api/events", json=body, headers=headers).json()["field"] == "key"


@pytest.mark.parametrize(
    ("told", "status", "recorded"),
    [
        ("bounce.hard", "552 5.2.2", "bounce.soft"),
        ("bounce.soft", "550 5.1.1", "bounce.hard"),
        ("bounce.hard", "554 5.7.1", "bounce.unknown"),
        ("bounce.hard", "", "bounce.hard"),
    ],
)
def test_a_bounce_is_recorded_as_what_its_status_says(site: Site, told, status, recorded):
    evidence = {"smtp_status": status} if status else {}
    assert site.event(category=told, evidence=evidence).status_code == 201
    [record] = [r for r in site.history("cyd@example.com")["records"] if "bounce" in r["category"]]
    assert record["category"] == recorded
    assert record["evidence"].get("told_as") == (None if told == recorded else told)


def test_a_bounce_that_says_nothing_about_the_mailbox_suppresses_nobody(site: Site):
    site.subscribe("cyd@example.com")
    site.clock.advance(minutes=1)
    for key in "abcdef":
        site.event(key, category="bounce.hard", evidence={"smtp_status": "5.7.1"})
    site.clock.advance(minutes=1)
    [marketing, *_] = site.ask("/api/standing", "cyd@example.com").json()["standings"]
    assert marketing["may_mail"]


def test_a_vacation_reply_is_no_bounce_and_is_not_recorded(site: Site):
    before = site.size
    answer = site.event(category="bounce.hard", evidence={"diagnostic": "I am out of the office"})
    assert (answer.status_code, site.size) == (400, before)
    assert "evidence.diagnostic" in answer.text


def test_a_dead_mailbox_suppresses_nobody_else_of_the_same_mailing(site: Site):
    emails = [f"p{number}@example.com" for number in range(3)]
    for email in emails:
        site.subscribe(email)
    bounce = {"smtp_status": "5.1.1", "campaign": "spring"}
    site.event(category="bounce.hard", email=emails[0], purpose="marketing", evidence=bounce)
    site.clock.advance(minutes=1)
    mailable = [site.history(email)["standing_now"][0]["may_mail"] for email in emails]
    assert mailable == [False, True, True]
