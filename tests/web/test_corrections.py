"""Corrections over the API: a key speaks for the person whose name it has."""

import pytest

from service.web.auth import CORRECTIONS_WRITE, create_key

from .conftest import give_account

EMAIL = "ana@example.com"


@pytest.fixture
def mistaken(site):
    """The site where a consenting person was withdrawn by the desk; the number of that entry."""
    site.subscribe(EMAIL)
    site.clock.advance(minutes=1)
    entry = site.event(email=EMAIL, evidence={"control": "operator"}).json()["index"]
    site.clock.advance(minutes=1)
    return entry


def key_of(site, name, role):
    give_account(site.edge.db, name, role)
    key = create_key(site.edge.db, name, [CORRECTIONS_WRITE], at=site.clock())
    return {"Authorization": f"Bearer {key}"}


def propose(site, key, entry):
    body = {"email": EMAIL, "entry": entry, "reason": "meant another Ana"}
    return site.client.post("/api/corrections", json=body, headers=key)


def may_mail(site):
    [marketing, *_] = site.ask("/api/standing", EMAIL).json()["standings"]
    return marketing["may_mail"]


def test_two_approvers_and_not_one_give_a_permission_back(site, mistaken):
    proposed = propose(site, key_of(site, "lea", "legal"), mistaken)
    assert (proposed.status_code, proposed.json()["made"]) == (202, None)
    at = f"/api/corrections/{proposed.json()['proposal']}/approval"
    first = site.client.post(at, headers=key_of(site, "ada", "approver"))
    assert (first.status_code, first.json()["approved_by"], may_mail(site)) == (202, ["ada"], False)
    second = site.client.post(at, headers=key_of(site, "bea", "approver"))
    assert (second.status_code, second.json()["corrects"]) == (201, mistaken)
    assert may_mail(site)


def test_a_key_that_is_nobodys_or_lacks_the_scope_corrects_nothing(site, mistaken):
    nobody = create_key(site.edge.db, "robot", [CORRECTIONS_WRITE], at=site.clock())
    for key in (nobody, site.writer, site.reader):
        assert propose(site, {"Authorization": f"Bearer {key}"}, mistaken).status_code == 403
    assert not may_mail(site)


def test_what_cannot_be_corrected_is_said_with_the_field(site, mistaken):
    answer = propose(site, key_of(site, "lea", "legal"), mistaken + 40)
    assert answer.status_code == 400
    assert "entry" in answer.text
    assert EMAIL not in answer.text
