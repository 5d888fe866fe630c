"""A whole reconciliation against the simulated organisation, whose truth is known."""

from collections import Counter
from dataclasses import dataclass
from datetime import timedelta
from itertools import islice

import msgspec
import pytest
from sqlalchemy import func, select

from service.consent import Category
from service.db import crm_record, drift, member, migrate, task
from service.errors import Unsafe, ZohoError
from service.policy.shapes import WithoutConsent
from service.reconciler.diff import REPORTED, STOPPING
from service.zoho.quota import Limit
from tests.reconciler.conftest import CrashError, fresh_clients, stopped, world
from tests.running import claim, withdrawal


def test_what_was_planted_is_found_and_nothing_else(organisation):
    result = organisation.run(applying=False)
    assert dict(result.found) == organisation.planted()


def test_two_thousand_people_have_exactly_the_drift_that_was_planted(sqlite_url):
    with world(sqlite_url, 2_000) as made:
        result = made.run()
        assert dict(result.found) == made.planted()
        assert not result.remaining


def test_everybody_who_said_stop_is_stopped_in_both_products(organisation):
    result = organisation.run()
    planted = organisation.planted()
    assert dict(result.applied) == {kind: n for kind, n in planted.items() if kind in STOPPING}
    assert not result.failed
    assert not result.remaining
    for kind in set(planted) & set(STOPPING):
        assert all(stopped(organisation, email) for email in organisation.emails(kind)), kind


def test_a_second_run_finds_and_writes_nothing_new(organisation):
    organisation.run()
    writes, size = organisation.writes(), organisation.size()
    result = organisation.run()
    assert set(result.found) == set(REPORTED)
    assert not result.new
    assert not result.news
    assert not result.plan.changes
    assert (organisation.writes(), organisation.size()) == (writes, size)


def test_a_dry_run_writes_to_neither_product_and_records_nothing(organisation):
    size = organisation.size()
    result = organisation.run(applying=False)
    assert result.plan.changes
    assert organisation.writes() == 0
    assert organisation.size() == size


def test_a_dry_run_foretells_the_news_that_an_applied_run_records(small):
    foretold = small.run(applying=False).news
    assert foretold == small.run().news


def test_each_write_is_an_entry_with_the_answer_and_what_was_read_back(organisation):
    result = organisation.run()
    entries = organisation.enforcements()
    assert len(entries) == len(result.plan.changes)
    for fields in entries:
        assert fields["read_back"] == "confirmed"
        assert len(fields["answer_sha256"]) == 64
        assert isinstance(fields["cause"], int)


def test_the_reading_takes_far_fewer_calls_than_people(begun):
    with begun(200) as made:
        result = made.run(applying=False)
    assert sum(result.calls.values()) < 100
    assert result.calls["crm"] <= 4


def test_the_plan_knows_its_cost_before_it_is_applied(begun):
    with begun(200) as made:
        made.run(applying=False)
        read = made.run(applying=False).calls
        result = made.run()
    spent = sum(result.calls.values()) - sum(read.values())
    assert abs(result.plan.calls - spent) <= 0.25 * spent


def test_a_lagging_list_is_listed_and_left_alone(small):
    before = {email: small.person(email) for kind in REPORTED for email in small.emails(kind)}
    result = small.run()
    assert dict(result.plan.reports) == dict.fromkeys(REPORTED, 1)
    assert {email: small.person(email) for email in before} == before


def test_an_opt_out_that_precedes_a_newer_live_consent_is_only_listed(small):
    (email,) = small.emails("opted_out_both")[:1]
    small.intake.record([claim(email)])
    before = small.person(email)
    result = small.run()
    assert result.found["re_permission"] == result.plan.re_permissions == 1
    assert small.standing(email).state == "permitted"
    assert small.person(email) == before
    assert small.run().found["re_permission"] == 1


def test_an_opt_out_that_follows_a_consent_is_recorded_and_carried_to_the_other_product(small):
    (email,) = small.emails("opted_out_by_hand")
    longest_ago = small.clock() - timedelta(days=1_000)
    small.intake.record([claim(email, occurred_at=longest_ago)])
    small.run()
    assert small.events(email)[:3] == ["subject.opened", "consent.granted", "consent.withdrawn"]
    assert stopped(small, email)


def test_somebody_who_opts_out_by_hand_after_a_new_consent_is_stopped(small):
    (email,) = small.emails("opted_out_both")[:1]
    small.intake.record([claim(email)])
    small.run()
    small.sim.control("crm/set", {"email": email, "fields": {"Email_Opt_Out": False}})
    small.sim.control("crm/set", {"email": email, "fields": {"Email_Opt_Out": True}})
    small.run()
    assert small.standing(email).state == "refused"


def test_a_consent_in_the_same_minute_as_a_withdrawal_that_is_known_stands(small):
    email = small.ordinary()
    small.sim.control("campaigns/unsubscribe", {"email": email})
    small.sim.control("crm/set", {"email": email, "fields": {"Email_Opt_Out": True}})
    small.run()
    small.clock.ahead = timedelta(seconds=1)
    small.intake.record([claim(email, received_at=small.clock())])
    assert small.run().found["re_permission"] == 1
    assert small.standing(email).state == "permitted"


def test_somebody_who_leaves_in_campaigns_after_a_consent_is_stopped_in_crm(small):
    email = small.ordinary()
    small.run()
    small.intake.record([claim(email)])
    small.sim.control("campaigns/unsubscribe", {"email": email})
    assert small.run().applied == {"unsubscribed_not_in_crm": 1}
    assert stopped(small, email)


def test_a_withdrawal_that_only_the_ledger_knows_reaches_both_products(small):
    email = small.ordinary()
    small.intake.record([withdrawal(email)])
    result = small.run()
    assert result.applied["withdrawn_not_enforced"] == 1
    assert stopped(small, email)


def test_a_flag_that_somebody_unticks_again_is_set_again_and_recorded_again(small):
    (email,) = small.emails("complaint_not_in_crm")
    small.run()
    before = len(small.enforcements())
    small.sim.control("crm/set", {"email": email, "fields": {"Email_Opt_Out": False}})
    assert small.run().applied == {"complaint_not_in_crm": 1}
    assert stopped(small, email)
    assert len(small.enforcements()) == before + 1


def test_all_records_of_an_address_are_written_not_one_of_them(small):
    emails = [*small.emails("duplicate_contradiction"), *small.emails("duplicate_harmless")]
    small.intake.record([withdrawal(emails[1])])
    small.run()
    for email in emails:
        assert [record["Email_Opt_Out"] for record in small.person(email)["crm"]] == [True, True]


def test_our_own_writes_are_never_taken_for_somebodys_withdrawal(small):
    (email,) = small.emails("hard_bounce_not_in_crm")
    small.run()
    small.run()
    assert "consent.withdrawn" not in small.events(email)


def test_a_policy_that_says_stop_without_consent_stops_and_withdraws_for_nobody(small):
    stop = WithoutConsent(unknown="stop", pending="stop", expired="stop")
    enforcement = msgspec.structs.replace(small.intake.policy.enforcement, without_consent={"default": stop})
    policy = msgspec.structs.replace(small.intake.policy, enforcement=enforcement)
    email = small.ordinary()
    result = small.run(policy=policy)
    assert result.applied["permitted_without_consent"] > 10
    assert stopped(small, email)
    small.run(policy=policy)
    assert small.events(email) == ["subject.opened", *["enforcement"] * 2]


def test_people_without_a_known_consent_are_counted_not_listed(small):
    result = small.run()
    assert sum(result.plan.without_consent.values()) > 10
    with small.db.read() as tx:
        kinds = set(tx.scalars(select(drift.c.kind)))
    assert kinds == set(small.planted())


def test_a_first_reading_of_people_whom_both_products_permit_records_a_consent_of_nobody(small):
    email = small.ordinary()
    for _ in range(2):
        small.run()
    told = {category for category, _, _ in small.ledger()}
    assert Category.WITHDRAWN in told
    assert {Category.GRANTED, Category.CONFIRMED, Category.SUPPRESSION_LIFTED}.isdisjoint(told)
    assert small.events(email) == []


def test_deadlines_run_for_those_who_said_stop_and_for_no_bounce(small):
    result = small.run(applying=False)
    dated = {change.kind: change.due_at for change in result.plan.changes}
    assert dated["unsubscribed_not_in_crm"] is not None
    assert dated["hard_bounce_not_in_crm"] is None
    known = [change.due_at for change in result.plan.changes if change.due_at is not None]
    assert known == sorted(known)


def test_every_person_found_is_one_row_with_a_state(small):
    result = small.run()
    with small.db.read() as tx:
        rows = tx.execute(select(drift.c.kind, drift.c.state, drift.c.sub)).all()
    assert Counter(row.kind for row in rows) == result.found
    assert {row.state for row in rows if row.kind in STOPPING} == {"repaired"}
    assert all(row.sub for row in rows if row.kind in STOPPING)


def test_a_run_keeps_no_address(small):
    small.run()
    assert all("@" not in summary for _, summary in small.runs())


@dataclass
class Short:
    """A CRM whose listing ends early, as after a lost permission or a broken page."""

    crm: object
    rows: int

    def observe(self, **more):
        return islice(self.crm.observe(**more), self.rows)

    def __getattr__(self, name):
        return getattr(self.crm, name)


@pytest.mark.parametrize(("rows", "why"), [(0, "nobody at all"), (20, "fewer than")])
def test_a_read_that_lost_people_leaves_its_product_out_and_the_other_goes_on(small, rows, why):
    small.run(applying=False)
    (email,) = small.emails("permission_refused_in_campaigns")
    small.intake.record([withdrawal(email)])
    with small.db.read() as tx:
        before = tx.scalar(select(func.count()).select_from(crm_record))
    opted_out = small.products()["opted_out"]
    result = small.run(crm=Short(small.zoho.crm, rows))
    (trip,) = result.tripped
    assert (trip.target, trip.name, trip.stops) == ("crm", "shrunken read", "all")
    assert why in trip.reason
    with small.db.read() as tx:
        assert tx.scalar(select(func.count()).select_from(crm_record)) == before
    assert small.products()["opted_out"] == opted_out
    assert {change.target for change in result.plan.changes} == {"campaigns"}
    assert "active" not in small.person(email)["campaigns"]["lists"].values()


def test_what_a_read_lost_is_compared_with_the_last_one_that_was_believed(small):
    small.run(applying=False)
    for _ in range(2):
        assert small.run(crm=Short(small.zoho.crm, 20)).tripped
    assert not small.run().tripped


def test_a_list_that_is_suddenly_empty_stops_campaigns_alone(small):
    small.sim.world.db.execute("DELETE FROM members")
    result = small.run()
    assert [(trip.target, trip.stops) for trip in result.tripped] == [("campaigns", "all")]
    assert "returned nobody" in result.tripped[0].reason
    assert all(change.target.startswith("crm:") for change in result.plan.changes)


def test_nothing_is_believed_where_both_products_lost_everybody(small):
    small.sim.world.db.execute("DELETE FROM members")
    with pytest.raises(Unsafe, match=r"CRM: returned nobody at all.*Campaigns: returned nobody"):
        small.run(crm=Short(small.zoho.crm, 0))
    assert small.writes() == 0
    assert small.runs()[-1][0] == "refused"


def test_a_product_that_does_not_answer_ends_the_run_with_the_reason(small):
    small.sim.control("break", {"match": "POST /crm/v8/coql", "times": 99, "how": "status", "status": 503})
    with pytest.raises(ZohoError):
        small.run()
    assert small.runs()[-1][0] == "refused"
    assert small.writes() == 0


def test_who_left_both_products_leaves_the_mirrors(small):
    small.run(applying=False)
    email = small.ordinary()
    small.sim.world.db.execute("DELETE FROM crm_Contacts WHERE Email = ?", (email,))
    small.sim.world.db.execute("DELETE FROM crm_Leads WHERE Email = ?", (email,))
    small.sim.world.db.execute(
        "DELETE FROM members WHERE contact_id = (SELECT id FROM contacts WHERE email = ?)", (email,)
    )
    with small.db.read() as tx:
        before = tx.scalar(select(func.count()).select_from(member))
    small.run(applying=False)
    with small.db.read() as tx:
        assert tx.scalar(select(func.count()).select_from(member)) == before - 1


def test_one_record_that_cannot_be_written_fails_alone(small):
    (email,) = small.emails("permission_refused_in_campaigns")

    def delete(step, _done, _total):
        if step == "planned":
            for module in ("Contacts", "Leads"):
                small.sim.world.db.execute(f"DELETE FROM crm_{module} WHERE Email = ?", (email,))

    result = small.run(progress=delete)
    assert result.failed == {"permission_refused_in_campaigns": 1}
    assert result.changes.failed == 1
    assert result.changes.proved == len(result.plan.changes) - 1
    assert not small.run().remaining


def test_a_write_whose_answer_got_lost_is_settled(small):
    small.sim.control("break", {"match": "PUT /crm/v8/Contacts", "times": 1, "how": "drop_after"})
    result = small.run()
    assert not result.remaining
    assert len(small.enforcements()) == len(result.plan.changes)


def test_what_the_quota_did_not_allow_waits_for_the_next_run(begun):
    with begun(60, campaigns_window=(Limit(70, 300),)) as made:

        def exhaust(step, _done, _total):
            if step == "planned":
                for _ in range(68):
                    made.zoho.campaigns.is_refused("somebody@example.org")

        first = made.run(progress=exhaust)
        assert first.changes.open > 0
        assert first.remaining
        with fresh_clients(made) as later:
            second = later.run()
        assert second.resumed.proved >= first.changes.open
        assert not second.remaining
        assert len(made.enforcements()) == len(first.plan.changes)


STEPS = (
    "observing",
    "read crm",
    "read list active",
    "read outcomes",
    "believed",
    "observed",
    "compared",
    "news",
    "planned",
    "write crm:Contacts/",
    "written crm:Contacts/",
    "write campaigns",
    "written campaigns",
    "read back crm",
    "recorded",
    "proved",
    "read back campaigns",
    "finished",
)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """What both products and the ledger say after a run that nothing disturbed."""
    url = f"sqlite:///{tmp_path_factory.mktemp('undisturbed')}/ledger.db"
    migrate(url)
    with world(url, 30) as made:
        steps: list[str] = []
        made.run(progress=lambda step, _done, _total: steps.append(step))
        return made.products(), made.told(), steps


MORE_THAN_ONCE = ("news", "read back crm", "recorded", "proved")
CRASHES = [*((step, "first") for step in STEPS), *((step, "last") for step in MORE_THAN_ONCE)]


def test_the_crashes_below_are_at_every_step_of_a_run(undisturbed):
    assert {step for step, times in Counter(undisturbed[2]).items() if times > 1} == set(MORE_THAN_ONCE)
    assert {step for step in undisturbed[2] if "permission" not in step} - {"resumed"} <= {
        *STEPS,
        "read list bounce",
        "read list unsub",
        "write crm:Leads/",
        "written crm:Leads/",
    }


@pytest.mark.parametrize(("step", "which"), CRASHES)
def test_a_crash_at_any_step_and_a_rerun_end_in_the_same_state(small, undisturbed, step, which):
    products, told, steps = undisturbed
    times = 1 if which == "first" else steps.count(step)

    def crash(now, _done, _total):
        nonlocal times
        times -= now == step
        if now == step and times == 0:
            raise CrashError

    with pytest.raises(CrashError):
        small.run(progress=crash)
    result = small.run()
    assert not result.remaining
    assert small.products() == products
    assert small.told() == told
    with small.db.read() as tx:
        assert set(tx.scalars(select(drift.c.state).where(drift.c.action == "stop"))) <= {"repaired", "found"}
        assert tx.scalar(select(func.count()).select_from(task)) == 0


def test_a_plan_that_a_crash_left_never_overrides_a_newer_consent(small):
    def crash(step, _done, _total):
        if step == "planned":
            raise CrashError

    with pytest.raises(CrashError):
        small.run(progress=crash)
    (email,) = small.emails("permission_refused_in_campaigns")
    small.intake.record([claim(email)])
    small.run()
    assert small.standing(email).state == "permitted"
    assert not any(record["Email_Opt_Out"] for record in small.person(email)["crm"])


def test_every_news_says_how_its_time_is_known(small):
    small.run()
    for category, _, fields in small.ledger():
        if category in (Category.WITHDRAWN, Category.BOUNCE_HARD, Category.BOUNCE_SOFT, Category.COMPLAINT):
            assert fields["time_known"].startswith(("told", "not told"))
            assert fields["provenance"] == "observed"
