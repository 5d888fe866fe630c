"""Writes that fail in part, whose answers get lost, or whose records somebody changed since the reading."""

from collections import Counter

import pytest
from msgspec import structs
from sqlalchemy import select

from service.db import change
from service.zoho.bulk_write import CREATE
from service.zoho.estimate import of_next
from tests.faults_zoho.conftest import A_DAY, reconnected
from tests.faults_zoho.doors import disagreements, twice_enforced
from tests.reconciler.conftest import stopped

STEPS = {
    "crm": "PUT /crm/v8/",
    "permission": "POST /api/v1.1/json/listsubscribe",
    "list": "POST /api/v1.1/json/listunsubscribe",
    "do not mail": "POST /api/v1.1/json/contactdonotmail",
}
EVER = 10_000


def outcomes(made, path: str) -> Counter:
    """How the simulator answered the last writes, by status or by what broke."""
    return Counter(row[3] for row in made.sim.world.requests if row[2].startswith(path))


def changes_left(made) -> list:
    with made.db.read() as tx:
        return tx.execute(select(change).where(change.c.state.in_(("planned", "failed")))).all()


def modified(made) -> dict[str, str]:
    """When each record was last written, by whomever."""
    tables = " UNION ALL ".join(f"SELECT id, Modified_Time FROM crm_{name}" for name in ("Contacts", "Leads"))
    return dict(made.doors.db.execute(tables))


def test_what_is_opened_is_seen_and_so_is_what_disagrees(org):
    org.converges()
    (email, *_) = org.emails("opted_out_both")
    org.sim.control("crm/set", {"email": email, "fields": {"Email_Opt_Out": False}})
    with pytest.raises(AssertionError, match="opened by a run"):
        org.doors()
    assert list(disagreements(org, org.doors.db)) == [email]


def test_nothing_goes_wrong_and_everything_agrees(stored):
    result = stored.run()
    assert dict(result.found) == stored.planted()
    stored.converges()


@pytest.mark.parametrize(
    ("step", "how"),
    [*((step, "drop_after") for step in STEPS), ("crm", "drop_before"), ("list", "drop_before")],
)
def test_a_step_whose_answers_all_get_lost_is_settled_by_a_rerun(org, step, how):
    org.breaks(STEPS[step], how, EVER)
    org.attempt()
    lost = outcomes(org, STEPS[step].partition(" ")[2])
    assert lost[how] > 0
    if (step, how) == ("crm", "drop_after"):
        (email, *_) = org.emails("unsubscribed_not_in_crm")
        assert all(record["Email_Opt_Out"] for record in org.person(email)["crm"])
    org.mends()
    org.converges()
    assert twice_enforced(org) == []


def test_writes_that_took_effect_or_are_answered_by_an_error_page_are_settled(org):
    for step in STEPS.values():
        org.breaks(step, "drop_after", 2)
        org.breaks(step, "status", 2, status=502, body="<html>Bad Gateway</html>")
    org.attempt()
    org.mends()
    org.converges()
    assert twice_enforced(org) == []


def test_three_kinds_of_refused_records_hold_nobody_else_up_and_are_done_when_they_can_be(org):
    kinds = ("unsubscribed_not_in_crm", "hard_bounce_not_in_crm", "permission_refused_in_campaigns")
    locked, waiting, gone = (org.emails(kind)[0] for kind in kinds)

    def refuse() -> None:
        org.sim.control("crm/lock", {"email": locked})
        org.sim.control("crm/lock", {"email": waiting, "code": "NOT_APPROVED"})
        org.sim.control("crm/delete", {"email": gone})

    result = org.run(progress=org.at("planned", refuse))
    assert 207 in outcomes(org, "/crm/v8/")
    assert result.changes.proved >= len(result.plan.changes) - 3
    assert sum(result.remaining.values()) == 3
    codes = {row.code for row in changes_left(org)}
    assert codes == {"RECORD_LOCKED", "NOT_APPROVED", "INVALID_DATA"}
    org.later(A_DAY)
    before = modified(org)
    assert sum(org.run().remaining.values()) == 2
    assert modified(org) == before
    assert {row.attempts for row in changes_left(org) if row.run_id > result.run_id} == {1}
    for email in (locked, waiting):
        org.sim.control("crm/lock", {"email": email, "locked": False})
    org.converges()
    assert twice_enforced(org) == []


def deleted(made, email: str) -> None:
    made.sim.control("crm/delete", {"email": email})


def destroyed(made, email: str) -> None:
    made.sim.control("crm/delete", {"email": email, "permanent": True})


def locked(made, email: str) -> None:
    made.sim.control("crm/lock", {"email": email})
    made.sim.control("crm/lock", {"email": email, "locked": False})


def moved(made, email: str) -> None:
    made.sim.control("crm/set", {"email": email, "fields": {"Email": "moved@example.net"}})


def opted_out(made, email: str) -> None:
    made.sim.control("crm/set", {"email": email, "fields": {"Email_Opt_Out": True}})


def let_go(made, email: str) -> None:
    made.sim.control("crm/set", {"email": email, "fields": {"Email_Opt_Out": True}})
    made.sim.control("crm/set", {"email": email, "fields": {"Email_Opt_Out": False}})


HANDS = {act.__name__: act for act in (deleted, destroyed, locked, moved, opted_out, let_go)}


@pytest.mark.parametrize(
    ("act", "step"),
    [
        *((act, "planned") for act in HANDS),
        ("deleted", "read crm"),
        ("moved", "written crm:Contacts/"),
        ("let_go", "written crm:Contacts/"),
    ],
)
def test_what_a_person_does_to_a_record_between_read_and_write_is_found_by_the_rerun(org, act, step):
    email = org.emails("unsubscribed_not_in_crm")[0]
    org.attempt(progress=org.at(step, lambda: HANDS[act](org, email)))
    org.converges()


@pytest.mark.parametrize("step", ["planned", "write crm:Contacts/"])
def test_a_record_that_went_to_somebody_else_is_theirs_and_nobody_withdraws_for_them(org, step):
    email = org.emails("unsubscribed_not_in_crm")[0]
    ended = org.attempt(progress=org.at(step, lambda: moved(org, email)))
    assert not any(record["Email_Opt_Out"] for record in org.person("moved@example.net")["crm"])
    assert not ended.failed
    org.converges()
    assert not any(record["Email_Opt_Out"] for record in org.person("moved@example.net")["crm"])
    assert "consent.withdrawn" not in org.events("moved@example.net")


def test_a_bulk_write_leaves_out_whose_record_went_to_somebody_else(org):
    email = org.emails("unsubscribed_not_in_crm")[0]
    org.switch(bulk__duration_ms=0)
    policy = org.intake.policy
    zoho = structs.replace(policy.zoho, crm=structs.replace(policy.zoho.crm, bulk_write_from=1))
    with reconnected(org, structs.replace(policy, zoho=zoho, digest=bytes(32))) as made:
        made.attempt(progress=made.at("write crm:Contacts/", lambda: moved(made, email)))
        assert outcomes(made, "/crm/bulk/v8/write")[201]
        assert not any(record["Email_Opt_Out"] for record in made.person("moved@example.net")["crm"])
        made.converges()
        assert "consent.withdrawn" not in made.events("moved@example.net")


@pytest.mark.parametrize("reason_field", [None, "Bounce_Reason"])
def test_a_bulk_write_and_the_reading_before_it_are_estimated_to_the_credit(org, reason_field):
    org.switch(bulk__duration_ms=25_000)  # as long as the estimate believes of a job
    org.run(applying=False)
    crm = structs.replace(org.intake.policy.zoho.crm, bulk_write_from=2, reason_field=reason_field)
    policy = structs.replace(org.intake.policy, zoho=structs.replace(org.intake.policy.zoho, crm=crm))
    with reconnected(org, policy) as made:
        expected = of_next(made.context, made.zoho.quota, applying=True)
        before = org.sim.control("meter")
        assert made.run().applied
        after = org.sim.control("meter")
    assert (expected.crm[CREATE] > 0) == (reason_field is None)
    assert expected.credits == after["credits"] - before["credits"]
    assert expected.calls["crm"] == after["calls"]["crm"] - before["calls"]["crm"]


def test_a_plan_that_waited_while_its_record_went_to_somebody_else_leaves_them_alone(org):
    email = org.emails("unsubscribed_not_in_crm")[0]
    org.breaks(STEPS["crm"], "status", EVER, status=503, body="<html></html>")
    org.attempt()
    org.mends()
    moved(org, email)
    org.later(A_DAY)
    org.converges()
    assert not any(record["Email_Opt_Out"] for record in org.person("moved@example.net")["crm"])
    assert "consent.withdrawn" not in org.events("moved@example.net")


def test_records_that_a_person_touched_meanwhile_are_412_and_stopped_in_the_same_run(org):
    touched = org.emails("unsubscribed_not_in_crm") + org.emails("complaint_not_in_crm")

    def touch() -> None:
        for record in org.doors.db.execute("SELECT DISTINCT Email FROM crm_Contacts").fetchall():
            org.sim.control("crm/set", {"email": record[0], "fields": {"Phone": "+1 555 0100"}})

    result = org.run(progress=org.at("planned", touch))
    assert 412 in outcomes(org, "/crm/v8/Contacts")
    assert not result.remaining
    assert all(stopped(org, email) for email in touched)
    org.converges()
    assert twice_enforced(org) == []


@pytest.mark.parametrize(
    ("listed", "step"),
    [
        ("recycle", "planned"),
        ("permanent", "planned"),
        ("nothing", "planned"),
        ("recycle", "written crm:Contacts/"),
    ],
)
def test_records_that_are_merged_meanwhile_leave_one_that_is_stopped(org, listed, step):
    org.switch(crm__merge_lists=listed)
    email = org.emails("duplicate_contradiction")[0]
    org.attempt(progress=org.at(step, lambda: org.sim.control("crm/merge", {"email": email})))
    org.converges()
    assert [record["Email_Opt_Out"] for record in org.person(email)["crm"]] == [True]
