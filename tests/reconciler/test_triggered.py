"""Many withdrawals through a workflow of Campaigns: stopped by one call, proved by the lists alone."""

from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from threading import Timer

import msgspec
import pytest
from sqlalchemy import func, insert, select

from service.consent import Category
from service.db import task, triggering
from service.policy import PolicySet, Workflow
from service.reconciler import tasks
from service.reconciler.enforce import Carried, carry_out
from service.reconciler.seeking import Seeking
from service.reconciler.watch import Watch
from service.reports.audit import mapping_markdown
from service.zoho.mapping import connect
from service.zoho.quota import Limit, Windows
from service.zoho.simulator import names
from tests.reconciler.conftest import CrashError, World, hasty, settings, stopped
from tests.reconciler.test_many import Meanwhile, calls, members, rows, withdraw
from tests.running import claim

WORKFLOW = Workflow(key=names.STOP_WORKFLOW, trigger_key=names.STOP_TRIGGER, from_people=5)
PATIENCE = timedelta(minutes=WORKFLOW.seen_within_minutes)


def naming(policy: PolicySet, workflow: Workflow = WORKFLOW) -> PolicySet:
    """The same rules with a workflow in the mapping."""
    campaigns = msgspec.structs.replace(policy.zoho.campaigns, workflow=workflow)
    return msgspec.structs.replace(policy, zoho=msgspec.structs.replace(policy.zoho, campaigns=campaigns))


@contextmanager
def with_workflow(made: World, workflow: Workflow = WORKFLOW, **more):
    """The same organisation through clients that know a workflow."""
    policy = naming(made.intake.policy, workflow)
    with connect(settings(made.sim.url), policy, pace=hasty(), **more) as zoho:
        parts = {"crm": zoho.crm, "campaigns": zoho.campaigns, "policy": policy}
        yield replace(made, zoho=zoho, context=replace(made.context, **parts))


@pytest.fixture
def drawn(organisation: World):
    """An organisation whose admin has drawn the workflow, once it was read."""
    organisation.run(applying=False)
    with with_workflow(organisation) as made:
        yield made


@pytest.fixture
def few(small: World):
    """The same, small and on SQLite alone."""
    small.run(applying=False)
    with with_workflow(small) as made:
        yield made


def carry(made: World, **parts) -> Carried:
    return carry_out(replace(made.context, **parts), worker="a")


def look(made: World, **parts) -> Carried:
    """Look once, and return how it ended for those who were looked for."""
    ended: list[Carried] = []
    Seeking(context=replace(made.context, **parts), worker="b", found=ended.append).look()
    return Carried(
        done=sum(one.done for one in ended),
        superseded=sum(one.superseded for one in ended),
        postponed=sum(one.postponed for one in ended),
    )


def test_many_are_stopped_by_one_call_and_proved_by_the_list(drawn):
    emails = members(drawn, 12)
    withdraw(drawn, *emails)
    single = calls(drawn, "contactdonotmail") + calls(drawn, "listunsubscribe")
    assert carry(drawn) == Carried(awaited=12)
    assert calls(drawn, "action/trigger") == 1
    assert {row.state for row in rows(drawn)} == {"open"}
    assert all(row.proved_at is None and row.campaigns_at is None for row in rows(drawn))
    assert look(drawn) == Carried(done=12)
    assert calls(drawn, "contactdonotmail") + calls(drawn, "listunsubscribe") == single
    assert all(stopped(drawn, email) for email in emails)
    assert {row.state for row in rows(drawn)} == {"done"}
    assert all(row.stopped_at <= row.proved_at for row in rows(drawn))
    written = [fields for fields in drawn.enforcements() if fields["target"] == "campaigns"]
    assert len(written) == 12
    assert {fields["code"] for fields in written} == {"200"}


def test_few_go_one_by_one(few):
    withdraw(few, *members(few, 4))
    assert carry(few) == Carried(done=4)
    assert calls(few, "action/trigger") == 0


def test_without_a_workflow_in_the_mapping_nothing_is_triggered(small):
    small.run(applying=False)
    withdraw(small, *members(small, 6))
    assert carry(small) == Carried(done=6)
    assert calls(small, "action/trigger") == 0


def test_what_the_workflow_says_proves_nothing(few):
    few.sim.control("campaigns/workflow", {"action": "nothing"})
    withdraw(few, *members(few, 6))
    assert carry(few) == Carried(awaited=6)
    assert look(few) == Carried(postponed=6)
    assert not [fields for fields in few.enforcements() if fields["target"] == "campaigns"]
    assert carry(few).total == 0


def test_who_is_not_seen_in_time_is_stopped_one_by_one(few):
    few.sim.control("campaigns/workflow", {"action": "nothing"})
    emails = members(few, 6)
    withdraw(few, *emails)
    carry(few)
    look(few)
    few.clock.ahead += PATIENCE
    assert carry(few) == Carried(done=6)
    assert all(stopped(few, email) and few.person(email)["campaigns"]["dnm"] for email in emails)
    assert calls(few, "action/trigger") == 1


def test_who_entered_the_workflow_before_is_stopped_one_by_one_at_once(few):
    emails = members(few, 6)
    few.zoho.campaigns.trigger(emails[:2])
    for email in emails[:2]:
        few.zoho.campaigns.subscribe(few.context.lists[0], email)
    withdraw(few, *emails)
    assert carry(few) == Carried(done=2, awaited=4)
    assert look(few) == Carried(done=4)
    assert all(stopped(few, email) for email in emails)


def test_whom_the_mirror_does_not_know_on_a_list_is_asked_about(few):
    withdraw(few, *members(few, 6), "nobody@example.org")
    assert carry(few) == Carried(done=1, awaited=6)


def test_a_dead_mailbox_is_not_unsubscribed_as_if_somebody_had_said_so(few):
    withdraw(few, *members(few, 6), category=Category.BOUNCE_HARD)
    carry(few)
    assert calls(few, "action/trigger") == 0


def test_who_would_wait_for_a_window_is_stopped_by_the_workflow(begun):
    with begun(30) as made:
        made.run(applying=False)
        emails = members(made, 4)
        withdraw(made, *emails)
        two = Windows(made.clock, special={"json/contactdonotmail": (Limit(1, 300),)})
        with with_workflow(made, windows=two) as shut:
            shut.zoho.campaigns.do_not_mail("somebody@example.org")
            assert carry(shut) == Carried(awaited=4)
            assert look(shut) == Carried(done=4)
        assert all(stopped(made, email) for email in emails)


def test_an_answer_that_is_lost_is_settled_by_the_lists(few):
    emails = members(few, 6)
    withdraw(few, *emails)
    few.sim.control("break", {"match": "POST /api/v1.1/workflow", "times": 1, "how": "drop_after"})
    assert carry(few) == Carried(postponed=6)
    few.clock.ahead += timedelta(seconds=5)
    assert carry(few) == Carried(awaited=6)
    assert look(few) == Carried(done=6)
    assert all(stopped(few, email) for email in emails)


@pytest.mark.parametrize("how", [{"paused": True}, {"triggerkey": "another"}])
def test_a_workflow_that_refuses_holds_nobody_up(few, how):
    few.sim.control("campaigns/workflow", how)
    emails = members(few, 6)
    withdraw(few, *emails)
    assert carry(few) == Carried(done=6)
    assert all(stopped(few, email) for email in emails)
    with few.db.read() as tx:
        assert tx.scalar(select(func.count()).select_from(triggering)) == 0


def test_a_consent_between_trigger_and_proof_is_not_settled_by_the_stop(few):
    emails = members(few, 6)
    withdraw(few, *emails)
    carry(few)
    few.intake.record([claim(emails[0])])
    assert look(few) == Carried(done=5, superseded=1)
    assert few.standing(emails[0]).state == "permitted"


def test_a_consent_right_before_the_trigger_keeps_that_person_out_of_it(few):
    emails = members(few, 6)
    withdraw(few, *emails)
    with few.db.begin() as tx:  # somebody triggered a moment ago, so that this turn waits with its call
        tx.execute(insert(triggering).values(task_id=-1, at=few.clock()))
    consent = Timer(0.4, lambda: few.intake.record([claim(emails[0])]))
    consent.start()
    carry(few)
    consent.join()
    assert set(few.person(emails[0])["campaigns"]["lists"].values()) == {"active"}
    assert set(few.person(emails[1])["campaigns"]["lists"].values()) == {"unsub"}


def test_the_other_product_is_tried_again_while_campaigns_is_awaited(few):
    emails = members(few, 6)
    withdraw(few, *emails)
    few.sim.control("break", {"match": "PUT /crm", "times": 99, "how": "status", "status": 503})
    assert carry(few) == Carried(postponed=6)
    few.sim.control("reset", {})
    assert look(few) == Carried(postponed=6)
    assert all(row.campaigns_at is not None and row.crm_at is None for row in rows(few))
    few.clock.ahead += timedelta(minutes=3)
    with with_workflow(few) as later:
        assert carry(later) == Carried(done=6)
    assert calls(few, "action/trigger") == 0


def test_a_reading_before_the_proof_takes_none_of_it_for_news(few):
    emails = members(few, 6)
    withdraw(few, *emails)
    carry(few)
    few.run(applying=False)
    assert [few.events(email).count(Category.WITHDRAWN.value) for email in emails] == [1] * 6


def test_nobody_to_look_for_costs_no_call(few):
    before = calls(few, "getlistsubscribers")
    assert Seeking(context=few.context, worker="b").look() > 0
    assert calls(few, "getlistsubscribers") == before


@pytest.fixture
def leaving(few: World):
    """Six who wait for their proof, and somebody who just left in Campaigns itself, as the watch sees it."""
    few.run()
    watch = Watch(context=few.context)
    watch.look()
    *emails, other = members(few, 7)
    withdraw(few, *emails)
    carry(few)
    few.sim.control("campaigns/unsubscribe", {"email": other})
    return few, watch, other


def test_while_many_are_looked_for_the_watch_leaves_the_lists_to_their_proof(leaving):
    few, watch, other = leaving
    before = calls(few, "getlistsubscribers")
    watch.look()
    assert calls(few, "getlistsubscribers") == before
    look(few)
    before = calls(few, "getlistsubscribers")
    watch.look()
    assert calls(few, "getlistsubscribers") > before
    assert few.events(other).count(Category.WITHDRAWN.value) == 1


def test_who_leaves_meanwhile_is_found_by_the_reading_that_proves_the_others(leaving):
    few, watch, other = leaving
    Seeking(context=few.context, worker="b", others=watch.shown).look()
    assert few.events(other).count(Category.WITHDRAWN.value) == 1
    assert [row.state for row in rows(few)].count("done") == 6
    assert carry(few).total == 1
    assert stopped(few, other)
    assert watch.look() == 0


def test_after_an_outage_nobody_who_rests_for_the_proof_is_taken_up_again(few):
    emails = members(few, 12)
    withdraw(few, *emails)
    silent = {"match": "POST /api/v1.1/workflow", "times": 9_999, "how": "status", "status": 503}
    few.sim.control("break", silent)
    carry(few)
    few.sim.control("reset", {})
    few.clock.ahead += timedelta(minutes=10)
    assert carry_out(few.context, worker="a", limit=6) == Carried(awaited=6)
    assert carry_out(few.context, worker="a", limit=6) == Carried(awaited=6)
    assert carry_out(few.context, worker="a", limit=6) == Carried()
    assert look(few) == Carried(done=12)


def test_several_workers_trigger_nobody_twice_and_all_are_proved(drawn):
    emails = members(drawn, 24)
    withdraw(drawn, *emails)
    first = carry_out(drawn.context, worker="a", limit=12)
    second = carry_out(drawn.context, worker="b", limit=12)
    assert (first, second) == (Carried(awaited=12), Carried(awaited=12))
    assert calls(drawn, "action/trigger") == 2
    assert look(drawn) == Carried(done=24)
    with drawn.db.read() as tx:
        assert set(tx.scalars(select(task.c.state))) == {"done"}
        assert tx.scalar(select(func.count()).select_from(triggering)) == 0


def test_one_who_follows_many_is_stopped_by_the_workflow_until_five_minutes_have_passed(few):
    *emails, last, later = members(few, 8)
    withdraw(few, *emails)
    carry(few)
    withdraw(few, last)
    assert carry(few) == Carried(awaited=1)
    few.clock.ahead += timedelta(minutes=6)
    withdraw(few, later)
    assert carry(few) == Carried(done=1)


def test_a_worker_that_died_after_the_trigger_leaves_nobody_unproved(few):
    emails = members(few, 6)
    withdraw(few, *emails)

    def die() -> None:
        raise CrashError

    campaigns = Meanwhile(few.zoho.campaigns, "trigger", die)
    with pytest.raises(CrashError):
        carry(few, campaigns=campaigns)
    assert carry(few).total == 0
    assert look(few).total == 0
    few.clock.ahead += tasks.LEASE
    assert carry(few) == Carried(awaited=6)
    assert look(few) == Carried(done=6)
    assert all(stopped(few, email) for email in emails)


def test_the_document_for_the_next_admin_says_what_the_workflow_must_do(small):
    mapping = naming(small.intake.policy).zoho
    told = mapping_markdown(mapping, (), controller="Acme")
    assert f"the workflow {WORKFLOW.key} stops 200 people" in told
    assert "stops 200 people" not in mapping_markdown(small.intake.policy.zoho, (), controller="Acme")


def test_where_many_wait_who_was_just_seen_to_leave_by_themselves_needs_no_call(few):
    few.run()
    watch = Watch(context=few.context)
    watch.look()
    *emails, alone = members(few, 7)
    few.sim.control("campaigns/unsubscribe", {"email": alone})
    watch.look()
    withdraw(few, *emails)
    single = calls(few, "contactdonotmail") + calls(few, "listunsubscribe")
    assert carry(few) == Carried(done=1, awaited=6)
    assert calls(few, "contactdonotmail") + calls(few, "listunsubscribe") == single
    assert stopped(few, alone)
    assert look(few) == Carried(done=6)


def test_where_many_wait_who_left_long_ago_is_stopped_as_anybody(few):
    few.run()
    watch = Watch(context=few.context)
    watch.look()
    *emails, alone = members(few, 7)
    few.sim.control("campaigns/unsubscribe", {"email": alone})
    watch.look()
    few.clock.ahead += timedelta(minutes=11)
    withdraw(few, *emails)
    assert carry(few) == Carried(done=1, awaited=6)
    assert few.person(alone)["campaigns"]["dnm"]
