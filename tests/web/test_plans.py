import re

import pytest

from service.reconciler import plans
from service.web.auth import PLANS_DECIDE, PLANS_READ, create_account, create_key

from .conftest import PASSWORD, Site, form_token, log_in
from .planned import a_plan

CYD = "cyd@example.com"


def text(page: str) -> str:
    return " ".join(re.sub(r"<[^>]+>", " ", page).split())


@pytest.fixture
def planned(site: Site):
    """A site with one plan that would let Cyd go, and its digest."""
    site.subscribe(CYD)
    return site, a_plan(site.edge, [CYD], stops=3, contested=1)


def as_(site: Site, role: str, name: str = "ana") -> Site:
    create_account(site.edge.db, name, PASSWORD, role)
    log_in(site.client, name, PASSWORD)
    return site


def decide(site: Site, digest: str, decision: str = "approve", **fields: str):
    token = form_token(site.client.get("/plans/1").text)
    body = {"form_token": token, "digest": digest, "decision": decision, **fields}
    return site.client.post("/plans/1/decision", data=body, follow_redirects=False)


def test_an_approver_is_led_to_the_plans_and_sees_what_waits(planned):
    site = as_(planned[0], "approver")
    answer = site.client.get("/")
    assert answer.url.path == "/plans"
    assert "Plan 1 Waits for approval" in text(answer.text)
    assert "0 of 1" in text(answer.text)


def test_a_plan_is_shown_whole_under_pseudonyms(planned):
    site, plan = planned
    page = text(as_(site, "approver").client.get("/plans/1").text)
    assert "1 person could be mailed again: one approver decides" in page
    for words in ("to stop", "writes overdue", "Next deadline", "Consented again, entry", "Petra Lindqvist"):
        assert words in page
    assert plan.digest.hex() in page
    assert CYD not in page


def test_the_page_approves_exactly_what_it_showed(planned):
    site, plan = planned
    as_(site, "approver")
    assert decide(site, plan.digest.hex()).status_code == 303
    page = text(site.client.get("/plans/1").text)
    assert "Approved" in page
    assert "ana approved it on" in page


def test_another_digest_is_refused_by_the_page(planned):
    site, _ = planned
    as_(site, "approver")
    assert decide(site, "00" * 32).status_code == 409


def test_a_form_without_our_token_decides_nothing(planned):
    site, plan = planned
    as_(site, "approver")
    body = {"form_token": "x", "digest": plan.digest.hex(), "decision": "approve"}
    assert site.client.post("/plans/1/decision", data=body).status_code == 403
    assert "0 of 1" in text(site.client.get("/plans").text)


@pytest.mark.parametrize(("role", "status"), [("legal", 403), ("admin", 403), ("auditor", 403)])
def test_others_see_plans_and_decide_nothing(planned, role, status):
    site, plan = planned
    as_(site, role)
    page = site.client.get("/plans/1")
    assert page.status_code == 200
    assert "Your decision" not in page.text
    token = form_token(page.text)
    body = {"form_token": token, "digest": plan.digest.hex(), "decision": "approve"}
    assert site.client.post("/plans/1/decision", data=body).status_code == status


def test_the_privacy_role_sees_no_plan(planned):
    site = as_(planned[0], "privacy")
    assert site.client.get("/plans").status_code == 403


def test_to_refuse_somebody_says_why(planned):
    site, plan = planned
    as_(site, "approver")
    assert decide(site, plan.digest.hex(), "refuse").status_code == 400
    assert decide(site, plan.digest.hex(), "refuse", reason="asked by us").status_code == 303
    assert "Refused by ana: asked by us" in text(site.client.get("/plans/1").text)


def test_names_are_shown_to_who_may_see_them_after_the_look_up_is_recorded(planned):
    site, _ = planned
    as_(site, "legal")
    token, before = form_token(site.client.get("/plans/1").text), site.questions
    body = {"form_token": token, "purpose_of_lookup": "who is this"}
    answer = site.client.post("/plans/1/names", data=body)
    assert CYD in answer.text
    assert site.questions == before + 1
    assert site.client.post("/plans/1/names", data=body | {"purpose_of_lookup": " "}).status_code == 400


def test_names_are_not_for_approvers(planned):
    site, _ = planned
    as_(site, "approver")
    token = form_token(site.client.get("/plans/1").text)
    body = {"form_token": token, "purpose_of_lookup": "who is this"}
    assert site.client.post("/plans/1/names", data=body).status_code == 403


def test_nobody_sees_plans_without_logging_in(planned):
    site, _ = planned
    for path in ("/plans", "/plans/1"):
        assert site.client.get(path, follow_redirects=False).headers["Location"] == "/login"


def test_a_plan_that_does_not_exist_is_404(planned):
    site = as_(planned[0], "approver")
    assert site.client.get("/plans/99").status_code == 404
    assert site.client.get("/plans/x").status_code == 404


def key(site: Site, name: str, scope: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {create_key(site.edge.db, name, [scope], at=site.clock())}"}


def test_programs_read_plans_as_json_without_addresses(planned):
    site, plan = planned
    headers = key(site, "dashboard", PLANS_READ)
    (listed,) = site.client.get("/api/plans", headers=headers).json()
    assert (listed["plan"], listed["state"], listed["permit"]) == (1, "open", 1)
    answer = site.client.get("/api/plans/1", headers=headers)
    assert answer.json()["digest"] == plan.digest.hex()
    assert answer.json()["size"] == len(answer.json()["lines"])
    assert "@" not in answer.text
    later = site.client.get("/api/plans/1?from=2", headers=headers).json()
    assert later["lines"] == answer.json()["lines"][2:]


def test_a_key_decides_for_the_approver_whose_name_it_has(planned):
    site, plan = planned
    create_account(site.edge.db, "ben", PASSWORD, "approver")
    body = {"digest": plan.digest.hex(), "decision": "approve"}
    answer = site.client.post("/api/plans/1/decision", json=body, headers=key(site, "ben", PLANS_DECIDE))
    assert answer.json() == {"plan": 1, "state": "approved", "approved_by": ["ben"], "needed": 1}


@pytest.mark.parametrize(
    ("name", "role", "scope"),
    [
        ("nobody", None, PLANS_DECIDE),
        ("leo", "legal", PLANS_DECIDE),
        ("ben", "approver", PLANS_READ),
    ],
)
def test_a_key_of_nobody_of_another_role_or_scope_decides_nothing(planned, name, role, scope):
    site, plan = planned
    if role:
        create_account(site.edge.db, name, PASSWORD, role)
    body = {"digest": plan.digest.hex(), "decision": "approve"}
    answer = site.client.post("/api/plans/1/decision", json=body, headers=key(site, name, scope))
    assert answer.status_code == 403
    with site.edge.db.read() as tx:
        assert plans.approvers(tx, 1) == ()


def test_one_person_counts_once_whether_they_speak_by_page_or_by_key(site: Site):
    emails = [f"person{number}@example.com" for number in range(11)]
    for email in emails:
        site.subscribe(email)
    plan = a_plan(site.edge, emails)
    as_(site, "approver", "ben")
    assert decide(site, plan.digest.hex()).status_code == 303
    body = {"digest": plan.digest.hex(), "decision": "approve"}
    headers = key(site, "ben", PLANS_DECIDE)
    answer = site.client.post("/api/plans/1/decision", json=body, headers=headers)
    assert answer.status_code == 400
    assert "1 of 2 approved" in text(site.client.get("/plans/1").text)


def test_each_of_two_approvers_is_told_what_their_approval_does(site: Site):
    emails = [f"person{number}@example.com" for number in range(11)]
    for email in emails:
        site.subscribe(email)
    plan = a_plan(site.edge, emails)
    as_(site, "approver", "ben")
    first = text(site.client.get("/plans/1").text)
    assert "Two different people must approve it. You would be the first" in first
    assert "Approve as the first of two" in first
    assert decide(site, plan.digest.hex()).status_code == 303
    as_(site, "approver", "ana")
    second = text(site.client.get("/plans/1").text)
    assert "You would be the second: with your approval it is written." in second
    assert "Approve: let 11 people be mailed again" in second
