import io
import time
import zipfile
from datetime import timedelta

import pytest

from service.ledger.verify import State, verify_bundle
from service.web.edge import LOOKUP_S

from .conftest import Site

CYD = "cyd@example.com"
PATHS = ["/api/history", "/api/standing", "/api/bundle"]


def accesses(site: Site, email: str) -> list[dict]:
    return [r for r in site.history(email)["records"] if r["category"] == "access"]


def test_a_history_tells_every_event_oldest_first_with_evidence_and_proof(site: Site):
    site.subscribe(CYD)
    site.clock.advance(days=2)
    site.event()
    told = site.history("  CYD@Example.COM ")
    assert [r["category"] for r in told["records"]] == [
        "subject.opened",
        "consent.granted",
        "consent.withdrawn",
        "access",
    ]
    assert told["standing_now"][0]["state"] == "refused"
    assert all(r["entry"] and r["leaf_hash"] for r in told["records"])
    assert told["log"]["checkpoint"].startswith(site.edge.intake.keys.log.name)
    assert told["verified"] is True


def test_as_of_tells_how_it_stood_then(site: Site):
    site.subscribe(CYD)
    then = site.clock().isoformat()
    site.clock.advance(days=2)
    site.event()
    told = site.history(CYD, as_of=then)
    assert told["standing_then"][0]["state"] == "permitted"
    assert told["standing_now"][0]["state"] == "refused"
    standing = site.ask("/api/standing", CYD, as_of=then).json()
    assert standing["standings"][0]["may_mail"] is True


def test_the_question_is_an_entry_before_it_is_answered(site: Site):
    site.subscribe(CYD)
    body = {"email": CYD, "purpose_of_lookup": "complaint 17"}
    told = site.client.post(
        "/api/history", json=body, headers={"Authorization": f"Bearer {site.reader}"}
    ).json()
    last = told["records"][-1]
    assert last["category"] == "access"
    assert last["source"] == "auditor"
    assert last["evidence"]["purpose_of_lookup"] == "complaint 17"


@pytest.mark.parametrize("path", PATHS)
def test_every_question_is_recorded(site: Site, path: str):
    site.subscribe(CYD)
    before = len(accesses(site, CYD))
    assert site.ask(path, CYD).status_code == 200
    assert len(accesses(site, CYD)) == before + 2


@pytest.mark.parametrize("path", PATHS)
def test_a_question_that_cannot_be_recorded_is_not_answered(site: Site, path: str):
    site.subscribe(CYD)
    site.edge.intake.stop()
    answer = site.ask(path, CYD)
    assert answer.status_code == 503
    assert CYD not in answer.text


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("reason", [None, "", "  ", "ab", " a  ", "x" * 501, 1])
def test_a_question_without_a_purpose_is_refused_and_not_recorded(site: Site, path: str, reason: object):
    size = site.size
    body = {"email": CYD, "purpose_of_lookup": reason}
    answer = site.client.post(path, json=body, headers={"Authorization": f"Bearer {site.reader}"})
    assert (answer.status_code, answer.json()["field"]) == (400, "purpose_of_lookup")
    assert site.size == size


@pytest.mark.parametrize("path", PATHS)
def test_an_unknown_address_is_answered_as_a_known_one_is_and_recorded(site: Site, path: str):
    site.subscribe(CYD)
    before = site.questions
    known, unknown = site.ask(path, CYD), site.ask(path, "nobody@example.com")
    assert known.status_code == unknown.status_code == 200
    assert set(known.headers) == set(unknown.headers)
    if path != "/api/bundle":
        assert list(known.json()) == list(unknown.json())
    assert site.questions == before + 2


def test_the_history_of_an_unknown_address_is_empty_and_permits_nothing(site: Site):
    told = site.history("nobody@example.com")
    assert told["records"] == []
    assert told["subject"] is None
    assert not any(one["may_mail"] for one in told["standing_now"])


def test_asking_about_an_unknown_address_does_not_write_it_down(site: Site, tmp_path):
    site.history("nobody-at-all@example.com")
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert any(path.suffix == ".db" for path in files)
    assert not any(b"nobody-at-all" in path.read_bytes() for path in files)


def test_no_answer_about_a_person_is_faster_than_the_floor(site: Site):
    started = time.monotonic()
    site.ask("/api/standing", "nobody@example.com")
    assert time.monotonic() - started >= LOOKUP_S


def test_the_standing_says_who_may_be_mailed_and_why(site: Site):
    site.subscribe(CYD)
    told = site.ask("/api/standing", CYD).json()
    marketing = next(one for one in told["standings"] if one["purpose"] == "marketing")
    assert marketing["may_mail"] is True
    assert marketing["reasons"]
    assert marketing["decided_by"] is not None


@pytest.mark.parametrize("email", [CYD, "nobody@example.com"])
def test_a_bundle_verifies_without_us(site: Site, email: str):
    site.subscribe(CYD)
    answer = site.ask("/api/bundle", email)
    assert answer.headers["Content-Type"] == "application/zip"
    assert "example.com" not in answer.headers["Content-Disposition"]
    verdict = verify_bundle(answer.content, site.edge.intake.keys.log.vkey)
    assert verdict.state is State.GOOD, verdict.report()


@pytest.mark.parametrize(("with_staff", "asked_for"), [(False, "bundle"), (True, "bundle with staff")])
def test_a_bundle_names_staff_on_demand_alone_and_the_look_up_says_so(site: Site, with_staff, asked_for):
    site.subscribe(CYD)
    answer = site.ask("/api/bundle", CYD, purpose_of_lookup="Bo asked for it", with_staff=with_staff)
    assert verify_bundle(answer.content, site.edge.intake.keys.log.vkey).state is State.GOOD
    with zipfile.ZipFile(io.BytesIO(answer.content)) as members:
        told = b"".join(members.read(name) for name in members.namelist())
    assert (b"Bo asked for it" in told) is with_staff
    look_ups = [one for one in site.history(CYD)["records"] if one["category"] == "access"]
    assert look_ups[0]["evidence"]["asked_for"] == asked_for


def test_only_a_bundle_can_be_asked_for_with_staff(site: Site):
    assert site.ask("/api/history", CYD, with_staff=True).status_code == 400


def test_an_address_is_never_asked_for_in_a_url(site: Site):
    assert site.client.get(f"/api/history?email={CYD}").status_code == 405


@pytest.mark.parametrize(("field", "value"), [("as_of", "2026-01-31"), ("as_of", "soon"), ("email", "x")])
def test_a_question_that_makes_no_sense_names_the_field(site: Site, field: str, value: object):
    body = {"email": CYD, "purpose_of_lookup": "a test", field: value}
    answer = site.client.post("/api/history", json=body, headers={"Authorization": f"Bearer {site.reader}"})
    assert (answer.status_code, answer.json()["field"]) == (400, field)


@pytest.mark.parametrize("path", ["/api/history", "/api/standing", "/api/bundle"])
def test_a_moment_that_has_not_come_is_refused_before_the_question_is_recorded(site: Site, path: str):
    tomorrow = (site.clock() + timedelta(days=1)).isoformat()
    answer = site.ask(path, CYD, as_of=tomorrow)
    assert (answer.status_code, answer.json()["field"]) == (400, "as_of")
    assert "has not come yet" in answer.json()["detail"]
    assert site.questions == 0
