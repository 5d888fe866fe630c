"""The clocks page: figures for everybody who may see them, names for those who say why."""

import pytest

from .conftest import Site, form_token, let_in

CYD = "cyd@example.com"


@pytest.fixture
def late(site: Site) -> Site:
    """A site with one withdrawal that nobody carried out for three weeks."""
    site.event(email=CYD)
    site.clock.advance(days=21)
    return site


def opened(site: Site, role: str) -> str:
    let_in(site, "kim", role)
    return site.client.get("/deadlines").text


def test_the_page_shows_each_rule_and_the_breach_under_a_pseudonym(late: Site):
    shown = opened(late, "legal")
    assert "until mail was stopped in both products" in shown
    assert "CAN-SPAM" in shown
    assert "not yet" in shown
    assert CYD not in shown


def test_names_are_shown_for_a_purpose_and_every_name_is_recorded_first(late: Site):
    token, before = form_token(opened(late, "legal")), late.questions
    asked = {"purpose_of_lookup": "quarterly report", "form_token": token}
    assert CYD in late.client.post("/deadlines", data=asked).text
    assert late.questions == before + 1


def test_without_a_purpose_there_are_no_names(late: Site):
    token, before = form_token(opened(late, "legal")), late.questions
    answer = late.client.post("/deadlines", data={"purpose_of_lookup": " ", "form_token": token})
    assert answer.status_code == 400
    assert CYD not in answer.text
    assert late.questions == before


def test_an_admin_sees_the_figures_and_may_not_ask_for_names(late: Site):
    shown = opened(late, "admin")
    assert "until mail was stopped in both products" in shown
    assert "Show the names" not in shown
    answer = late.client.post(
        "/deadlines", data={"purpose_of_lookup": "curious", "form_token": form_token(shown)}
    )
    assert answer.status_code == 403


def test_nobody_sees_the_clocks_without_logging_in(site: Site):
    answer = site.client.get("/deadlines", follow_redirects=False)
    assert (answer.status_code, answer.headers["Location"]) == (303, "/login")


def test_without_withdrawals_the_page_says_so(site: Site):
    assert "No withdrawal was received in this time" in opened(site, "auditor")
