"""A form asks for what the law of the places it serves demands, and says what somebody can do about it."""

import shutil

import pytest

from service import policy as policies
from service.policy import PolicySet
from service.settings import HERE
from tests.policy.switching import switch_on

from .conftest import Site
from .test_pages import look_up, text

FORM = "/forms/newsletter"
EMAIL = "cyd@firma.de"
POST = {"email": EMAIL, "control": "tick", "page_url": "https://acme.example/join"}
RULES = ("de.doi.log_whole", "us.ca.reask_wait", "us.ca.signal", "br.lgpd.consent")


@pytest.fixture(scope="session")
def policy(tmp_path_factory: pytest.TempPathFactory) -> PolicySet:
    """Return policies signed for Germany, California and Brazil, and a form for the first two."""
    folder = shutil.copytree(HERE / "policies", tmp_path_factory.mktemp("signed") / "policies")
    for rule in RULES:
        switch_on(folder, rule)
    file = folder / "purposes.toml"
    own = 'required_evidence = ["page_url", "control"]'
    file.write_text(
        file.read_text().replace(
            own, 'required_evidence = []\nserves = ["DE", "US-CA"]\nown_initiative = true'
        )
    )
    return policies.load(folder)


def standing(site: Site, email: str = EMAIL) -> dict:
    return site.history(email)["standing_now"][0]


@pytest.mark.parametrize("field", ["control", "page_url"])
def test_a_post_without_what_the_law_there_demands_is_refused_with_the_rule_and_what_to_do(site: Site, field):
    size = site.size
    answer = site.client.post(FORM, json={name: value for name, value in POST.items() if name != field})
    assert (answer.status_code, answer.json()["field"]) == (400, field)
    assert "de.doi.log_whole asks for it" in answer.json()["detail"]
    assert site.size == size


def test_a_person_reads_on_a_page_that_nothing_was_recorded_and_what_to_do(site: Site):
    body = {name: value for name, value in POST.items() if name != "control"}
    answer = site.client.post(FORM, data=body, headers={"Accept": "text/html"})
    assert answer.status_code == 400
    assert "Nothing was recorded" in answer.text
    assert "tick the box or press the button" in answer.text
    assert EMAIL not in answer.text


def test_a_post_with_it_permits_and_a_withdrawal_needs_none_of_it(site: Site):
    assert site.client.post(FORM, json=POST).status_code == 201
    assert standing(site)["may_mail"] is True
    assert site.client.post(FORM, json={"email": EMAIL, "action": "withdraw"}).status_code == 201
    assert standing(site)["state"] == "refused"


def test_a_form_to_which_people_come_unasked_says_so_and_they_need_not_wait(site: Site):
    site.event(email="cal@acme.example", country="US-CA", purpose="marketing")
    site.clock.advance(days=30)
    site.client.post(FORM, json=POST | {"email": "cal@acme.example"})
    assert standing(site, "cal@acme.example")["may_mail"] is True


def test_a_browser_that_signals_an_opt_out_is_believed_where_the_law_says_so(site: Site):
    answer = site.client.post(FORM, json=POST | {"email": "cal@acme.example"}, headers={"Sec-GPC": "1"})
    assert answer.status_code == 201
    found = standing(site, "cal@acme.example")  # neither event nor CRM nor domain tells where: the strictest
    assert (found["may_mail"], found["rule"]) == (False, "us.ca.signal")
    site.client.post(FORM, json=POST, headers={"Sec-GPC": "1"})
    assert standing(site)["may_mail"] is True


def test_the_answer_of_a_form_tells_nothing_of_how_a_consent_stands(site: Site):
    spoilt = site.client.post(FORM, json=POST | {"email": "cal@acme.example"}, headers={"Sec-GPC": "1"})
    plain = site.client.post(FORM, json=POST)
    assert spoilt.json().keys() == plain.json().keys()
    assert "us.ca" not in spoilt.text


def test_a_program_is_told_by_which_rule_its_consent_does_not_count_and_readers_see_why(site: Site):
    shown = {"notice_sha256": "0" * 64, "notice_version": "1", "control": "tick"}
    grant = {"category": "consent.granted", "email": EMAIL, "purpose": "marketing", "country": "Germany"}
    answer = site.event(**grant, evidence=shown)
    assert answer.status_code == 201
    assert answer.json()["unmet"] == ["de.doi.log_whole: it came without page url"]
    found = site.history(EMAIL)
    assert found["standing_now"][0]["rule"] == "de.doi.log_whole"
    assert "came without page url" in found["standing_now"][0]["reasons"][0]
    record = next(one for one in found["records"] if one["category"] == "consent.granted")
    assert record["evidence"]["rules_unmet"] == "de.doi.log_whole"


def test_who_may_only_write_is_not_told_that_somebody_opted_out_before(site: Site):
    cal = {"email": "cal@acme.example", "purpose": "marketing", "country": "US-CA"}
    site.event(**cal)
    site.clock.advance(days=1)
    shown = {
        "notice_sha256": "0" * 64,
        "notice_version": "1",
        "control": "tick",
        "page_url": "https://a.example",
    }
    answer = site.event("k2", category="consent.granted", evidence=shown, **cal)
    assert "unmet" not in answer.json()
    assert standing(site, "cal@acme.example")["rule"] == "us.ca.reask_wait"


def test_the_page_of_a_history_says_which_consent_does_not_count_and_why(auditor: Site):
    shown = {"notice_sha256": "0" * 64, "notice_version": "1", "control": "tick"}
    grant = {"category": "consent.granted", "email": EMAIL, "purpose": "marketing", "country": "Germany"}
    auditor.event(**grant, evidence=shown)
    page = text(look_up(auditor, EMAIL).text)
    assert "does not count under de.doi.log_whole: it came without page url" in page
    assert "Rules that it does not meet" in page


def test_the_page_says_nothing_of_rules_that_a_consent_meets(auditor: Site):
    auditor.client.post(FORM, json=POST)
    assert "Rules that it does not meet" not in text(look_up(auditor, EMAIL).text)
