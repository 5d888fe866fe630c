import re
from datetime import timedelta

import pytest

from service.ledger.verify import State, verify_bundle

from .conftest import PASSWORD, Site, form_token, let_in, log_in

CYD = "cyd@example.com"
HOSTILE = "<script>alert(1)</script><img src=x onerror=alert(1)>\"'>"


def look_up(site: Site, email: str = CYD, **fields: str):
    token = form_token(site.client.get("/").text)
    body = {"email": email, "purpose_of_lookup": "complaint 17", "form_token": token, **fields}
    return site.client.post("/history", data=body, headers={"Accept": "text/html"})


def text(page: str) -> str:
    return " ".join(re.sub(r"<[^>]+>", " ", page).split())


def test_nobody_sees_the_pages_without_logging_in(site: Site):
    answer = site.client.get("/", follow_redirects=False)
    assert (answer.status_code, answer.headers["Location"]) == (303, "/login")
    for path in ("/history", "/bundle", "/logout"):
        assert site.client.post(path, data={"form_token": "x"}).status_code == 401


@pytest.mark.parametrize(
    ("role", "first", "status"), [("auditor", "/", 200), ("legal", "/", 200), ("admin", "/audit", 403)]
)
def test_auditors_and_legal_may_look_people_up_and_admins_may_not(site: Site, role, first, status):
    let_in(site, "ada", role)
    shown = site.client.get("/")
    assert (shown.status_code, shown.url.path) == (200, first)
    token = re.search('name="form_token" value="([^"]+)"', shown.text)[1]
    asked = {"email": CYD, "purpose_of_lookup": "a test", "form_token": token}
    assert site.client.post("/history", data=asked).status_code == status


def test_the_privacy_role_sees_no_page(site: Site):
    let_in(site, "ada", "privacy")
    assert site.client.get("/").status_code == 403


def test_the_history_says_first_whether_the_person_may_be_mailed_and_why(auditor: Site):
    auditor.subscribe(CYD)
    auditor.clock.advance(hours=2)
    auditor.event(email=CYD)
    page = text(look_up(auditor).text)
    assert page.index("Must not be mailed") < page.index("Consent given") < page.index("Consent withdrawn")
    assert "Refused for every purpose" in page
    assert "I can withdraw this consent at any time" in page


def test_each_entry_is_shown_as_verified_against_the_head_of_the_log(auditor: Site):
    auditor.subscribe(CYD)
    page = text(look_up(auditor).text)
    assert page.count("✓ verified") == 3
    assert "✓ Verified just now." in page
    assert auditor.edge.intake.keys.log.vkey in page
    assert f"Entries in the log {auditor.size}" in page


def test_the_look_up_itself_is_in_the_history_with_its_purpose(auditor: Site):
    auditor.subscribe(CYD)
    page = text(look_up(auditor).text)
    assert "Looked up Source: auditor" in page
    assert "Asked by ada" in page
    assert "complaint 17" in page


def test_an_unknown_address_is_said_to_be_unknown_and_the_question_recorded(auditor: Site):
    size = auditor.size
    page = text(look_up(auditor, "nobody@example.com").text)
    assert "The ledger holds nothing about this address" in page
    assert "Do not mail" in page
    assert auditor.size == size + 1


def test_as_of_a_day_shows_how_it_stood_at_its_end(auditor: Site):
    auditor.subscribe(CYD)
    day = auditor.clock().date().isoformat()
    auditor.clock.advance(days=2)
    auditor.event(email=CYD)
    log_in(auditor.client, "ada", PASSWORD)
    page = text(look_up(auditor, as_of=day).text)
    assert (
        page.index("As it stood at the end of")
        < page.index("May be mailed")
        < page.index("Must not be mailed")
    )


@pytest.mark.parametrize(
    "fields",
    [{"email": "nobody"}, {"purpose_of_lookup": " "}, {"as_of": "31.01.2026"}, {"as_of": "2026-02-30"}],
)
def test_a_question_that_makes_no_sense_comes_back_to_be_corrected(auditor: Site, fields: dict[str, str]):
    size = auditor.size
    answer = look_up(auditor, **{"email": CYD, **fields})
    assert answer.status_code == 400
    assert 'role="alert"' in answer.text
    assert 'action="/history"' in answer.text
    assert auditor.size == size


@pytest.mark.parametrize("path", ["/history", "/bundle"])
@pytest.mark.parametrize("token", ["", "made up"])
def test_a_question_from_another_page_is_not_asked(auditor: Site, path: str, token: str):
    size = auditor.size
    body = {"email": CYD, "purpose_of_lookup": "complaint 17", "form_token": token}
    assert auditor.client.post(path, data=body).status_code == 403
    assert auditor.size == size


def test_the_bundle_downloads_and_verifies(auditor: Site):
    auditor.subscribe(CYD)
    token = form_token(auditor.client.get("/").text)
    body = {"email": CYD, "purpose_of_lookup": "complaint 17", "form_token": token}
    answer = auditor.client.post("/bundle", data=body)
    assert answer.headers["Content-Disposition"].startswith("attachment")
    assert verify_bundle(answer.content, auditor.edge.intake.keys.log.vkey).state is State.GOOD


def test_an_answer_is_not_given_when_the_question_cannot_be_recorded(auditor: Site):
    auditor.subscribe(CYD)
    token = form_token(auditor.client.get("/").text)
    auditor.edge.intake.stop()
    body = {"email": CYD, "purpose_of_lookup": "complaint 17", "form_token": token}
    answer = auditor.client.post("/history", data=body, headers={"Accept": "text/html"})
    assert answer.status_code == 503
    assert CYD not in answer.text


def test_hostile_evidence_and_questions_are_shown_as_text(auditor: Site):
    headers = {"User-Agent": HOSTILE}
    body = {
        "email": CYD,
        "control": "tick",
        "page_url": f"https://a.example/{HOSTILE.replace(' ', '+')}",
        "language": HOSTILE[:20],
    }
    auditor.client.post("/forms/newsletter", json=body, headers=headers)
    auditor.event(email=CYD, category="bounce.hard", evidence={"diagnostic": HOSTILE})
    page = look_up(auditor, purpose_of_lookup=HOSTILE).text
    assert "<script" not in page
    assert "<img" not in page
    assert page.count("&lt;script&gt;") >= 4
    error = look_up(auditor, email=HOSTILE).text
    assert "<script" not in error


def test_what_is_recorded_later_than_it_happened_shows_both_times(auditor: Site):
    earlier = (auditor.clock() - timedelta(days=40)).isoformat()
    auditor.event(email=CYD, provenance="import", occurred_at=earlier)
    assert "recorded " in text(look_up(auditor).text)


def test_no_page_needs_a_script(auditor: Site):
    auditor.subscribe(CYD)
    for page in (auditor.client.get("/login").text, auditor.client.get("/").text, look_up(auditor).text):
        assert "<script" not in page
        assert " style=" not in page
        assert " onclick" not in page


def test_as_of_today_is_as_of_now_and_tomorrow_is_refused(auditor: Site):
    assert "as we knew it then" in look_up(auditor, as_of=auditor.clock().date().isoformat()).text
    tomorrow = look_up(auditor, as_of=(auditor.clock() + timedelta(days=1)).date().isoformat())
    assert tomorrow.status_code == 400
    assert "has not come yet" in tomorrow.text


@pytest.mark.parametrize("role", ["auditors", "audit", "Auditor", "auditor ", "legal-auditor", ""])
def test_a_role_counts_by_its_exact_name_and_everything_else_is_denied(site: Site, role: str):
    let_in(site, "ada", role)
    size = site.size
    assert site.client.get("/").status_code == 403
    assert site.size == size
