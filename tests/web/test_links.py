"""Links for whoever sends mail: one click from the head of each mail ends it."""

import pytest

from service.web.auth import EVENTS_WRITE, HISTORY_READ, LINKS_READ, create_key

from .conftest import Site

CYD = "cyd@example.com"


@pytest.fixture
def ask(site: Site):
    """Return how a sender asks for links."""
    key = create_key(site.edge.db, "sender", [LINKS_READ])

    def post(body, key=key):
        return site.client.post(
            "/api/unsubscribe-links", json=body, headers={"Authorization": f"Bearer {key}"}
        )

    return post


def test_the_link_of_a_person_ends_the_purpose_with_one_click(site: Site, ask):
    site.subscribe(CYD)
    told = ask({"purpose": "marketing", "emails": ["  CYD@Example.com "]}).json()["links"][0]
    assert told["list_unsubscribe"] == f"<{told['link']}>"
    assert told["list_unsubscribe_post"] == "List-Unsubscribe=One-Click"
    path = told["link"].removeprefix(site.edge.public_url)
    assert site.client.post(path, data={"List-Unsubscribe": "One-Click"}).status_code == 200
    assert site.history(CYD)["standing_now"][0]["state"] == "refused"


def test_an_address_that_no_event_named_has_no_link_and_opens_nobody(site: Site, ask):
    site.subscribe(CYD)
    told = ask({"purpose": "marketing", "emails": ["nobody@example.com", CYD]}).json()["links"]
    assert told[0] is None
    assert told[1] is not None
    with site.edge.db.read() as tx:
        assert site.edge.intake.vault.find(tx, "nobody@example.com") is None


def test_no_address_stands_in_a_link(site: Site, ask):
    site.subscribe(CYD)
    assert "cyd" not in ask({"purpose": "marketing", "emails": [CYD]}).json()["links"][0]["link"].lower()


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"purpose": "nothing", "emails": [CYD]}, "purpose"),
        ({"purpose": "marketing", "emails": []}, "emails"),
        ({"purpose": "marketing", "emails": [CYD] * 1001}, "emails"),
    ],
)
def test_a_question_that_cannot_be_answered_names_the_field(ask, body, field):
    answer = ask(body)
    assert answer.status_code == 400
    assert answer.json()["field"] == field


def test_only_the_scope_for_links_gives_links(site: Site, ask):
    other = create_key(site.edge.db, "other", [EVENTS_WRITE, HISTORY_READ])
    assert ask({"purpose": "marketing", "emails": [CYD]}, key=other).status_code == 403
