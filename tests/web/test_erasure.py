"""The privacy role has a person forgotten over the API, and nobody else can."""

import pytest
from sqlalchemy import select

from service.db import payload, subject
from service.intake.erasures import ErasureList
from service.intake.making import NOBODY
from service.ledger.certificate import verify_certificate
from service.web.auth import ERASURE_WRITE, SCOPES, create_key

EMAIL = "ana@example.com"


@pytest.fixture
def forgetful(site, tmp_path):
    site.edge.intake.erasures = ErasureList(tmp_path / "erasures")
    return site


@pytest.fixture
def privacy(forgetful) -> dict[str, str]:
    key = create_key(forgetful.edge.db, "privacy", [ERASURE_WRITE], at=forgetful.clock())
    return {"Authorization": f"Bearer {key}"}


def ask(site, headers, **fields):
    return site.client.post(
        "/api/erasure", json={"email": EMAIL, "reason": "request", **fields}, headers=headers
    )


def test_the_answer_is_the_certificate_and_the_person_is_gone(forgetful, privacy):
    forgetful.subscribe(EMAIL)
    answer = ask(forgetful, privacy)
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/plain")
    verify_certificate(answer.content, [forgetful.edge.intake.keys.log.verifier])
    assert EMAIL not in answer.text
    assert forgetful.history(EMAIL)["records"] == []
    assert forgetful.ask("/api/standing", EMAIL).json()["standings"][0]["must_stop"] is True


def test_the_certificate_can_be_had_again(forgetful, privacy):
    forgetful.subscribe(EMAIL)
    answer = ask(forgetful, privacy)
    forgetful.clock.advance(days=30)
    again = forgetful.client.get(answer.headers["content-location"], headers=privacy)
    assert (again.status_code, again.content) == (200, answer.content)
    assert forgetful.client.get("/api/erasure/0", headers=privacy).status_code == 404


def test_who_is_not_known_and_who_is_erased_already_are_told_apart_to_the_privacy_role(forgetful, privacy):
    assert ask(forgetful, privacy).status_code == 404
    forgetful.subscribe(EMAIL)
    ask(forgetful, privacy)
    second = ask(forgetful, privacy)
    assert second.status_code == 409
    assert EMAIL not in second.text


def test_a_person_is_erased_from_a_frozen_log_and_its_successor_is_named(forgetful, privacy):
    forgetful.subscribe(EMAIL)
    intake = forgetful.edge.intake
    with forgetful.edge.db.begin() as tx:
        intake.announce(tx, "log.frozen", {})
        intake.store.freeze(tx)
        size = intake.store.size(tx)
    answer = ask(forgetful, privacy)
    assert answer.status_code == 202
    assert "erase the person in the successor as well" in answer.text
    assert "content-location" not in answer.headers
    assert len(intake.erasures.read().persons) == 1
    with forgetful.edge.db.read() as tx:
        assert tx.scalars(select(subject.c.sub)).all() == []
        assert tx.scalars(select(payload.c.sub).where(payload.c.sub != NOBODY)).all() == []
        assert intake.store.size(tx) == size
    assert ask(forgetful, privacy).status_code == 409


def test_no_other_scope_erases_anybody(forgetful):
    forgetful.subscribe(EMAIL)
    other = create_key(forgetful.edge.db, "other", sorted(SCOPES - {ERASURE_WRITE}), at=forgetful.clock())
    assert ask(forgetful, {"Authorization": f"Bearer {other}"}).status_code == 403
    assert ask(forgetful, {}).status_code == 401
    assert forgetful.history(EMAIL)["records"]


def test_a_reason_of_ones_own_is_refused(forgetful, privacy):
    answer = ask(forgetful, privacy, reason="Ana Meier asked by phone")
    assert (answer.status_code, answer.json()["field"]) == (400, "reason")


def test_an_import_after_the_erasure_is_refused_and_says_why(forgetful, privacy):
    forgetful.subscribe(EMAIL)
    ask(forgetful, privacy)
    answer = forgetful.event(
        category="consent.granted",
        email=EMAIL,
        purpose="marketing",
        provenance="import",
        occurred_at="2024-01-01T00:00:00Z",
    )
    assert answer.status_code == 409
    assert "kept out" in answer.json()["detail"]
    assert EMAIL not in answer.text


def test_a_form_takes_the_person_back_as_it_takes_anybody(forgetful, privacy):
    forgetful.subscribe(EMAIL)
    ask(forgetful, privacy)
    forgetful.clock.advance(minutes=5)
    back = forgetful.subscribe(EMAIL)
    stranger = forgetful.subscribe("bob@example.com")
    assert back.status_code == stranger.status_code == 201
    assert forgetful.categories(EMAIL)[0] == "subject.opened"


def test_the_unsubscribe_link_of_an_erased_person_answers_as_ever(forgetful, privacy):
    forgetful.subscribe(EMAIL)
    token = forgetful.token(EMAIL)
    ask(forgetful, privacy)
    size = forgetful.size
    answer = forgetful.client.post(f"/u/{token}", content="List-Unsubscribe=One-Click")
    assert answer.status_code == 200
    assert forgetful.size == size
