"""Plans that are kept, approved by their digest, and let people go; against the simulated organisation."""

import hashlib
from dataclasses import replace
from datetime import timedelta

import msgspec
import pytest
from sqlalchemy import select, update
from sqlalchemy.exc import DBAPIError

from service.db import approval, change, crm_record, drift, plan
from service.errors import Forbidden, Malformed, NotFound, Stale
from service.ledger.canonical import canonical
from service.policy import PolicySet
from service.reconciler import breakers, enforce, plans, showing
from service.reconciler.breakers import Trip
from service.reconciler.letting import between_runs
from service.reconciler.plan import digest, urgency
from service.reconciler.plans import Person
from tests.reconciler.conftest import CrashError, World, fresh_clients, stopped
from tests.running import claim, withdrawal

ANA = Person(account="ana", role="approver", via="page")
BEN = Person(account="ben", role="approver", via="terminal")


def with_rules(made: World, **rules) -> PolicySet:
    """The shipped rules, at any hour, with others where said."""
    before = made.intake.policy.enforcement
    permissive = msgspec.structs.replace(before.permissive, off_hours=(0, 0), **rules)
    enforcement = msgspec.structs.replace(before, permissive=permissive)
    return msgspec.structs.replace(made.intake.policy, enforcement=enforcement)


def consent_again(made: World, kind: str = "opted_out_both", **more) -> str:
    """Let one person who opted out of both products consent again, through a form of ours."""
    email = made.emails(kind)[0]
    made.intake.record([claim(email, **more)])
    return email


def decide(made: World, run_id: int, approved: bytes, who: Person = ANA, decision="approve", **more):
    policy = more.pop("policy", made.intake.policy)
    return plans.decide(
        made.db, run_id, approved.hex(), who, decision, policy=policy, now=made.clock(), **more
    )


def states(made: World, run_id: int, direction: str) -> dict[str, str]:
    with made.db.read() as tx:
        rows = tx.execute(
            select(change.c.target, change.c.state).where(
                change.c.run_id == run_id, change.c.direction == direction
            )
        )
        return {target.partition(":")[0]: state for target, state in rows}


def state_of(made: World, run_id: int) -> str:
    with made.db.read() as tx:
        return tx.scalar(select(plan.c.state).where(plan.c.run_id == run_id))


def mailed_again(made: World, email: str) -> bool:
    person = made.person(email)
    return "active" in person["campaigns"]["lists"].values() and not any(
        record["Email_Opt_Out"] for record in person["crm"]
    )


def test_what_one_person_approved_is_written_read_back_and_recorded_with_their_name(organisation):
    email = consent_again(organisation)
    policy = with_rules(organisation)
    first = organisation.run(policy=policy)
    assert not mailed_again(organisation, email)
    decided = decide(organisation, first.run_id, first.plan.digest, policy=policy)
    assert (decided.state, decided.approved_by) == ("approved", ("ana",))
    organisation.run(policy=policy)
    assert mailed_again(organisation, email)
    assert organisation.person(email)["campaigns"]["fields"]["Marketing Permission"] == "Granted"
    assert states(organisation, first.run_id, "permit") == {"crm": "proved", "campaigns": "proved"}
    assert state_of(organisation, first.run_id) == "done"
    entries = [fields for fields in organisation.enforcements() if "approved_by" in fields]
    assert {fields["to"] for fields in entries} == {"false", "Granted"}
    assert {fields["approved_by"] for fields in entries} == {"ana"}
    assert {fields["plan"] for fields in entries} == {first.plan.digest.hex()}
    with organisation.db.read() as tx:
        assert set(tx.scalars(select(drift.c.state).where(drift.c.action == "permit"))) == {"repaired"}
    third = organisation.run(policy=policy)
    assert "re_permission" not in third.found
    assert organisation.standing(email).state == "permitted"


def test_stops_are_written_by_the_very_run_that_plans_them_whatever_waits_for_approval(small):
    consent_again(small)
    result = small.run()
    assert result.plan.permits
    assert not result.remaining
    assert state_of(small, result.run_id) == "open"


class Noted:
    """CRM as it is, noting which records are written, in which order."""

    def __init__(self, crm) -> None:
        self._crm, self.written = crm, []

    def __getattr__(self, name: str):
        return getattr(self._crm, name)

    def enforce(self, changes):
        self.written += [f"crm:{one.module}/{one.record_id}" for one in changes]
        return self._crm.enforce(changes)


def test_stops_are_written_by_deadline_and_those_without_one_last(small):
    crm, begun = Noted(small.zoho.crm), []
    run_id = small.run(crm=crm, progress=lambda name, *_: begun.append(name)).run_id
    with small.db.read() as tx:
        rows = tx.execute(select(change.c.target, change.c.due_at).where(change.c.run_id == run_id)).all()
    due = {}
    for target, at in rows:
        due.setdefault(target.partition("/")[0], {})[target] = (at is None, at.timestamp() if at else 0.0)
    for module in [name for name in due if name != "campaigns"]:
        mine = [due[module][target] for target in crm.written if target in due[module]]
        assert mine == sorted(mine)
    assert len({at for found in due.values() for at in found.values()}) > 2
    first = [name.removeprefix("write ").rstrip("/") for name in begun if name.startswith("write ")]
    heads = {module: min(found.values()) for module, found in due.items()}
    assert list(dict.fromkeys(first)) == sorted(heads, key=lambda one: (heads[one], one == "campaigns"))


def test_of_two_stops_with_one_deadline_the_cheaper_write_comes_first(small):
    dear, *_ = (one for one in small.run(applying=False).plan.changes if one.target == "campaigns")
    cheap = replace(dear, target="crm:Contacts/1")
    earlier = replace(dear, due_at=(dear.due_at or small.clock()) - timedelta(days=400))
    assert sorted([dear, cheap, earlier], key=urgency) == [earlier, cheap, dear]


def test_nobody_is_let_go_without_an_approval(small):
    email = consent_again(small)
    policy = with_rules(small)
    for _ in range(2):
        small.run(policy=policy)
    assert not mailed_again(small, email)


def test_a_plan_that_waits_is_not_planned_again_by_the_next_run(small):
    consent_again(small)
    first, second = small.run(), small.run()
    assert first.plan.permits
    assert not second.plan.permits
    assert second.plan.re_permissions == 1
    assert state_of(small, first.run_id) == "open"


def test_above_the_set_number_two_different_people_approve(small):
    consent_again(small)
    policy = with_rules(small, one_approval_until=0)
    made = small.run(policy=policy)
    shown = made.plan.digest
    assert decide(small, made.run_id, shown, policy=policy).state == "open"
    with pytest.raises(Malformed, match="already"):
        decide(small, made.run_id, shown, policy=policy)
    small.run(policy=policy)
    assert state_of(small, made.run_id) == "open"
    assert decide(small, made.run_id, shown, BEN, policy=policy).state == "approved"


@pytest.mark.parametrize("role", ["auditor", "legal", "admin", "privacy", "approvers"])
def test_only_the_role_approver_decides(small, role):
    consent_again(small)
    made = small.run()
    with pytest.raises(Forbidden):
        decide(small, made.run_id, made.plan.digest, Person(account="ana", role=role, via="api"))


def test_another_digest_than_the_plans_is_refused(small):
    consent_again(small)
    made = small.run()
    with pytest.raises(Stale, match="another digest"):
        decide(small, made.run_id, bytes(32))
    with pytest.raises(NotFound):
        decide(small, 999, made.plan.digest)


def test_a_withdrawal_after_the_plan_was_made_makes_it_stale(small):
    email = consent_again(small)
    made = small.run()
    small.intake.record([withdrawal(email)])
    with pytest.raises(Stale, match="1 of its people"):
        decide(small, made.run_id, made.plan.digest)
    assert state_of(small, made.run_id) == "stale"
    assert set(states(small, made.run_id, "permit").values()) == {"superseded"}


def test_a_withdrawal_after_the_approval_makes_the_plan_stale_and_nobody_is_let_go(small):
    email = consent_again(small)
    policy = with_rules(small)
    made = small.run(policy=policy)
    decide(small, made.run_id, made.plan.digest, policy=policy)
    small.intake.record([withdrawal(email)])
    small.run(policy=policy)
    assert state_of(small, made.run_id) == "stale"
    assert stopped(small, email)


def test_rules_that_were_changed_after_the_plan_make_it_stale(small):
    consent_again(small)
    made = small.run()
    other = msgspec.structs.replace(small.intake.policy, digest=bytes(32))
    with pytest.raises(Stale, match="rules were changed"):
        decide(small, made.run_id, made.plan.digest, policy=other)


def test_a_record_that_somebody_touched_after_the_plan_makes_it_stale(small):
    email = consent_again(small)
    made = small.run()
    with small.db.begin() as tx:
        tx.execute(update(crm_record).values(unsubscribed_mode="Consent form"))
    with pytest.raises(Stale):
        decide(small, made.run_id, made.plan.digest)
    assert not mailed_again(small, email)


@pytest.mark.parametrize("edited", ["address_index", "new"])
def test_a_row_of_an_approved_plan_that_somebody_edited_is_never_written(small, edited):
    email = consent_again(small)
    policy = with_rules(small)
    made = small.run(policy=policy)
    decide(small, made.run_id, made.plan.digest, policy=policy)
    victim = small.emails("unsubscribed_not_in_crm")[0]
    values = {"address_index": small.intake.vault.address_index(victim), "new": "Something else"}
    with small.db.begin() as tx:
        tx.execute(
            update(change)
            .where(change.c.target == "campaigns", change.c.direction == "permit")
            .values({edited: values[edited]})
        )
    small.run(policy=policy)
    with small.db.read() as tx:
        ended = tx.execute(select(plan.c.state, plan.c.reason).where(plan.c.run_id == made.run_id)).one()
    assert ended == ("stale", "its rows are not those that were planned")
    assert not mailed_again(small, victim)
    assert not mailed_again(small, email)


def test_what_was_refused_is_not_proposed_again_until_a_newer_consent(small):
    email = consent_again(small)
    made = small.run()
    for said in ("", " a "):
        with pytest.raises(Malformed, match="say why you refuse it"):
            decide(small, made.run_id, made.plan.digest, decision="refuse", reason=said)
    assert state_of(small, made.run_id) == "open"
    decide(small, made.run_id, made.plan.digest, decision="refuse", reason="asked back by us")
    assert state_of(small, made.run_id) == "refused"
    assert not small.run().plan.permits
    small.clock.ahead = timedelta(minutes=1)
    small.intake.record([claim(email, received_at=small.clock())])
    assert small.run().plan.permits


def test_permissive_changes_wait_for_the_off_hours_and_stops_do_not(small):
    email = consent_again(small)
    hour = small.clock().hour
    closed = ((hour + 2) % 24, (hour + 3) % 24)
    enforcement = small.intake.policy.enforcement
    permissive = msgspec.structs.replace(enforcement.permissive, off_hours=closed)
    policy = msgspec.structs.replace(
        small.intake.policy, enforcement=msgspec.structs.replace(enforcement, permissive=permissive)
    )
    made = small.run(policy=policy)
    decide(small, made.run_id, made.plan.digest, policy=policy)
    result = small.run(policy=policy)
    assert not result.remaining
    assert state_of(small, made.run_id) == "approved"
    assert not mailed_again(small, email)


def test_what_was_approved_is_written_between_two_runs_as_well(small):
    email = consent_again(small)
    policy = with_rules(small)
    made = small.run(policy=policy)
    context = replace(small.context, policy=policy)
    assert between_runs(context) == {}
    assert not mailed_again(small, email)
    decide(small, made.run_id, made.plan.digest, policy=policy)
    assert between_runs(context) == {}
    assert mailed_again(small, email)


def test_a_breaker_of_the_newest_run_holds_approved_changes_back_until_one_that_trips_nothing(small):
    email = consent_again(small)
    policy = with_rules(small)
    made = small.run(policy=policy)
    decide(small, made.run_id, made.plan.digest, policy=policy)
    with small.db.begin() as tx:
        trip = Trip(target="crm", name="one actor", stops="permissions", reason="a test")
        breakers.keep(tx, made.run_id, [trip], small.clock())
    between_runs(replace(small.context, policy=policy))
    assert states(small, made.run_id, "permit") == {"crm": "proposed", "campaigns": "proved"}
    small.run(policy=policy)
    assert mailed_again(small, email)
    assert state_of(small, made.run_id) == "done"


def test_an_old_or_weak_consent_lets_nobody_go(small):
    email = consent_again(small)
    assert not small.run(policy=with_rules(small, weakest_grade="B")).plan.permits
    small.clock.ahead = timedelta(days=2)
    assert not small.run(policy=with_rules(small, fresh_days=1)).plan.permits
    assert not mailed_again(small, email)


def test_somebody_who_once_complained_is_never_written_to_campaigns(small):
    (email,) = small.emails("complaint_not_in_crm")[:1]
    small.run()
    small.clock.ahead = timedelta(minutes=30)
    small.intake.record([claim(email, received_at=small.clock())])
    result = small.run()
    assert all(item.target != "campaigns" for item in result.plan.permits)


def test_a_flag_that_stands_for_another_address_too_is_left_alone(small):
    email = consent_again(small)
    other = "second.address@example.com"
    for module in ("Contacts", "Leads"):
        small.sim.world.db.execute(
            f"UPDATE crm_{module} SET Secondary_Email = ? WHERE Email = ?", (other, email)
        )
    result = small.run()
    assert {item.target for item in result.plan.permits} == {"campaigns"}


def test_a_record_that_changes_while_it_is_written_is_not_overwritten_and_says_when_it_is_tried_again(small):
    email = consent_again(small)
    policy = with_rules(small)
    made = small.run(policy=policy)
    decide(small, made.run_id, made.plan.digest, policy=policy)

    def meddle(step, _done, _total):
        if step == "permit crm":
            small.sim.control("clock", {"advance_s": 5})
            small.sim.control("crm/set", {"email": email, "fields": {"Email_Opt_Out": True}})

    small.run(policy=policy, progress=meddle)
    assert all(record["Email_Opt_Out"] for record in small.person(email)["crm"])
    with small.db.read() as tx:
        row = tx.execute(
            select(change).where(change.c.direction == "permit", change.c.error.is_not(None))
        ).one()
    assert (row.state, row.attempts) == ("planned", 1)
    assert row.error
    assert row.next_at > small.clock()
    small.run(policy=policy)
    assert mailed_again(small, email)


def test_somebody_who_withdraws_while_they_are_let_go_is_stopped_again(small):
    email = consent_again(small)
    policy = with_rules(small)
    made = small.run(policy=policy)
    decide(small, made.run_id, made.plan.digest, policy=policy)

    def withdraw(step, _done, _total):
        if step == "permitted crm":
            small.intake.record([withdrawal(email, enforce=False)])

    small.run(policy=policy, progress=withdraw)
    enforce.carry_out(small.context, worker="here")
    assert stopped(small, email)


STEPS = (
    "permit crm",
    "permitted crm",
    "permit campaigns",
    "permitted campaigns",
    "read back permits crm",
    "recorded permits",
    "read back permits campaigns",
)


@pytest.mark.parametrize("step", STEPS)
def test_a_crash_at_any_step_of_letting_go_is_carried_on_by_the_next_run(small, step):
    email = consent_again(small)
    policy = with_rules(small)
    made = small.run(policy=policy)
    decide(small, made.run_id, made.plan.digest, policy=policy)

    def crash(now, _done, _total):
        if now == step:
            raise CrashError

    with pytest.raises(CrashError):
        small.run(policy=policy, progress=crash)
    small.run(policy=policy)
    assert mailed_again(small, email)
    assert set(states(small, made.run_id, "permit").values()) == {"proved"}
    permits = [fields["target"] for fields in small.enforcements() if "approved_by" in fields]
    assert len(permits) == len(set(permits)) == 2


def test_a_product_that_does_not_answer_leaves_its_part_for_the_next_run(small):
    email = consent_again(small)
    policy = with_rules(small)
    made = small.run(policy=policy)
    decide(small, made.run_id, made.plan.digest, policy=policy)
    match = "POST /api/v1.1/json/listsubscribe"
    small.sim.control("break", {"match": match, "times": 99, "how": "status", "status": 503})
    small.run(policy=policy)
    assert states(small, made.run_id, "permit") == {"crm": "proved", "campaigns": "planned"}
    assert state_of(small, made.run_id) == "applying"
    small.sim.control("reset", {})
    with fresh_clients(small) as later:
        later.run(policy=policy)
    assert mailed_again(small, email)


def test_the_database_refuses_to_change_or_delete_an_approval(organisation):
    consent_again(organisation)
    made = organisation.run()
    decide(organisation, made.run_id, made.plan.digest)
    for statement in (update(approval).values(account="eve"), approval.delete()):
        with pytest.raises(DBAPIError, match="append-only"), organisation.db.begin() as tx:
            tx.execute(statement)


def test_the_digest_covers_every_change_and_the_rules(small):
    consent_again(small)
    made = small.run(applying=False).plan
    assert len(made.digest) == 32
    assert replace(made, permits=()).digest != made.digest
    assert replace(made, changes=made.changes[1:]).digest != made.digest
    assert replace(made, policy="00" * 32).digest != made.digest
    assert replace(made, changes=tuple(reversed(made.changes))).digest == made.digest


def test_a_dry_run_keeps_its_plan_and_a_later_run_supersedes_its_stops(small):
    dry = small.run(applying=False)
    assert set(states(small, dry.run_id, "stop").values()) == {"proposed"}
    assert small.writes() == 0
    small.run()
    assert set(states(small, dry.run_id, "stop").values()) == {"superseded"}


def test_a_plan_says_how_many_of_its_writes_wait_past_their_deadline_and_how_many_came_after_it(small):
    planned = small.run(applying=False)
    now = small.clock()
    late = sum(item.due_at is not None and item.due_at < now for item in planned.plan.changes)
    with small.db.read() as tx:
        waiting = showing.show(tx, planned.run_id, now=now)
    assert (waiting.overdue, waiting.late) == (late, 0)
    assert late > 0
    done = small.run()
    with small.db.read() as tx:
        written = showing.show(tx, done.run_id, now=small.clock())
    assert (written.overdue, written.late) == (0, late)


def test_a_plan_is_shown_whole_under_pseudonyms_and_by_name_only_with_the_vault(small):
    email = consent_again(small)
    made = small.run()
    with small.db.read() as tx:
        shown = showing.show(tx, made.run_id, now=small.clock())
        named = showing.show(tx, made.run_id, now=small.clock(), vault=small.intake.vault)
    assert shown.digest == made.plan.digest.hex()
    assert shown.size == len(made.plan.everything) == len(shown.lines)
    assert sum(total.writes for total in shown.totals) == shown.size
    assert "@" not in msgspec.json.encode(showing.to_data(shown)).decode()
    assert email in {line.address for line in named.lines}
    assert shown.lines[0].direction == "permit"


def undo(made: World, email: str) -> None:
    made.sim.control("crm/set", {"email": email, "fields": {"Email_Opt_Out": False}, "by": "Petra Lindqvist"})


def test_a_stop_that_somebody_undid_twice_is_reported_with_who_and_not_fought_a_third_time(organisation):
    (email,) = organisation.emails("complaint_not_in_crm")[:1]
    for _ in range(2):
        organisation.run()
        assert stopped(organisation, email)
        undo(organisation, email)
    result = organisation.run()
    (contested,) = result.plan.contested
    assert contested.undone_by == "Petra Lindqvist"
    assert result.remaining == {"complaint_not_in_crm": 1}
    assert not any(record["Email_Opt_Out"] for record in organisation.person(email)["crm"])
    assert "active" not in organisation.person(email)["campaigns"]["lists"].values()


def test_a_new_word_of_the_person_is_carried_out_whoever_undid_the_last_one(small):
    (email,) = small.emails("complaint_not_in_crm")[:1]
    for _ in range(2):
        small.run()
        undo(small, email)
    small.intake.record([withdrawal(email)])
    assert not small.run().plan.contested
    assert stopped(small, email)


def test_what_was_undone_long_ago_is_forgotten(small):
    (email,) = small.emails("complaint_not_in_crm")[:1]
    for _ in range(2):
        small.run()
        undo(small, email)
    small.clock.ahead = timedelta(days=31)
    assert not small.run().plan.contested
    assert stopped(small, email)


def test_a_plan_is_hashed_change_by_change_to_what_the_canonical_whole_hashes_to(small):
    made = small.run(applying=False).plan
    told = [item.told() for item in made.everything]
    assert len(told) > 3
    whole = {
        "changes": sorted(told, key=lambda one: (one["target"], one["person"])),
        "policy": made.policy,
    }
    expected = hashlib.sha256(canonical(whole)).digest()
    assert made.digest == expected
    assert digest(reversed(told), made.policy) == expected
