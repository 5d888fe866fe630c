"""The worker's short way: one withdrawal to both products, and everything that can get in between."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from threading import Barrier, Thread

import pytest
from sqlalchemy import delete, func, select

from service.consent import Category
from service.db import contact, member, task
from service.reconciler import tasks
from service.reconciler.enforce import Carried, carry_out
from service.zoho.mapping import connect
from service.zoho.quota import Limit, Windows
from tests.reconciler.conftest import CrashError, World, fresh_clients, hasty, settings, stopped
from tests.running import claim, withdrawal


def rows(made: World):
    with made.db.read() as tx:
        return tx.execute(select(task).order_by(task.c.id)).all()


def carry(made: World, **parts) -> Carried:
    return carry_out(replace(made.context, **parts), worker="worker-1")


def withdraw(made: World, email: str, **more) -> None:
    made.intake.record([withdrawal(email, received_at=made.clock(), **more)])


def test_a_withdrawal_reaches_both_products_and_is_proved(organisation):
    email = organisation.ordinary()
    withdraw(organisation, email)
    assert carry(organisation) == Carried(done=1)
    assert stopped(organisation, email)
    assert organisation.person(email)["campaigns"]["dnm"]
    (row,) = rows(organisation)
    assert row.state == "done"
    assert row.received_at <= row.stopped_at <= row.proved_at
    targets = sorted(fields["target"].partition("/")[0] for fields in organisation.enforcements())
    assert targets[0] == "campaigns"
    assert targets[1].startswith("crm:")


def test_marketing_permission_is_refused_where_the_contact_was_active(small):
    email = small.ordinary()
    small.run(applying=False)
    withdraw(small, email)
    carry(small)
    assert small.person(email)["campaigns"]["fields"]["Marketing Permission"] == "Refused"


def test_nothing_waits_means_nothing_is_done(small):
    assert carry(small).total == 0
    assert small.writes() == 0


def test_a_newer_consent_is_never_overridden_by_an_older_withdrawal(small):
    email = small.ordinary()
    withdraw(small, email)
    small.intake.record([claim(email)])
    assert carry(small) == Carried(superseded=1)
    assert small.writes() == 0
    assert not any(record["Email_Opt_Out"] for record in small.person(email)["crm"])
    assert rows(small)[0].state == "superseded"


def test_several_withdrawals_of_one_person_are_carried_out_once(small):
    email = small.ordinary()
    withdraw(small, email)
    withdraw(small, email, source="api:shop")
    assert carry(small) == Carried(done=1)
    assert [row.state for row in rows(small)] == ["done", "done"]
    assert len(small.enforcements()) == 2


def test_every_record_of_the_address_is_opted_out(small):
    (email,) = small.emails("duplicate_harmless")
    withdraw(small, email)
    carry(small)
    assert [record["Email_Opt_Out"] for record in small.person(email)["crm"]] == [True, True]


def test_somebody_whom_neither_product_knows_is_done(small):
    withdraw(small, "nobody@example.org")
    assert carry(small) == Carried(done=1)


def test_a_person_who_complained_is_stopped_too(small):
    email = small.ordinary()
    withdraw(small, email, category=Category.COMPLAINT)
    assert carry(small) == Carried(done=1)
    assert stopped(small, email)


def test_a_product_that_is_down_gives_the_task_back_and_the_other_is_stopped(small):
    email = small.ordinary()
    withdraw(small, email)
    small.sim.control("break", {"match": "POST /api/v1.1", "times": 99, "how": "status", "status": 503})
    assert carry(small) == Carried(postponed=1)
    (row,) = rows(small)
    assert (row.state, row.attempts, row.claimed_by, row.proved_at) == ("open", 1, None, None)
    assert row.not_before > row.received_at
    assert "@" not in row.last_error
    assert email.partition("@")[0] not in row.last_error
    assert all(record["Email_Opt_Out"] for record in small.person(email)["crm"])
    assert carry(small).total == 0
    small.sim.control("reset", {})
    small.clock.ahead = timedelta(minutes=10)
    with fresh_clients(small) as later:
        assert carry(later) == Carried(done=1)
    assert stopped(small, email)


def test_pauses_double_up_to_a_limit_and_are_not_all_alike():
    def after(attempts, number=1):
        return tasks.pause(tasks.Task(id=number, sub=b"", cause_idx=0, attempts=attempts)).total_seconds()

    assert after(3) == pytest.approx(8 * after(0))
    assert after(10_000) <= tasks.LONGEST_PAUSE_S
    assert len({after(2, number) for number in range(50)}) > 40


def test_an_exhausted_quota_leaves_the_task_open_until_the_window_opens(begun):
    with begun(30, campaigns_window=(Limit(1, 300),)) as made:
        withdraw(made, made.ordinary())
        made.zoho.campaigns.is_refused("somebody@example.org")
        assert carry(made) == Carried(postponed=1)
        (row,) = rows(made)
        assert row.state == "open"
        assert row.attempts == 1


def campaigns_calls(made: World) -> int:
    calls = made.sim.control("meter")["by_endpoint"]
    return sum(count for name, count in calls.items() if "/api/v1.1/" in name)


def crm_queries(made: World) -> int:
    calls = made.sim.control("meter")["by_endpoint"]
    return sum(count for name, count in calls.items() if "coql" in name)


def test_a_task_whose_window_is_used_up_rests_until_it_opens_and_repeats_no_half(begun):
    with begun(30, campaigns_window=(Limit(1, 300),)) as made:
        withdraw(made, made.ordinary())
        made.zoho.campaigns.is_refused("somebody@example.org")
        assert carry(made) == Carried(postponed=1)
        (row,) = rows(made)
        assert row.not_before > row.received_at + timedelta(seconds=250)
        assert row.crm_at is not None
        assert row.campaigns_at is None
        asked = crm_queries(made)
        made.clock.ahead = timedelta(minutes=6)
        with fresh_clients(made) as later:
            assert carry(later) == Carried(done=1)
        assert crm_queries(made) == asked
        (row,) = rows(made)
        assert row.stopped_at == row.campaigns_at
        assert len(made.enforcements()) == 2


def test_a_withdrawal_overtakes_a_burst_of_bounces(organisation):
    for number in range(40):
        withdraw(organisation, f"gone{number}@example.org", category=Category.BOUNCE_HARD, country="DE")
    email = organisation.ordinary()
    withdraw(organisation, email, country="US")
    assert carry(organisation) == Carried(done=1)
    assert stopped(organisation, email)
    assert 0 < carry(organisation).done <= 4


def test_whom_a_product_holds_comes_before_strangers(organisation):
    known = organisation.ordinary()
    organisation.run(applying=False)
    withdraw(organisation, "gone@example.org", category=Category.BOUNCE_HARD, country="DE")
    withdraw(organisation, known, category=Category.BOUNCE_HARD, country="US")
    with organisation.db.begin() as tx:
        claimed = tasks.claim(tx, worker="a", now=organisation.clock(), limit=1)
        assert organisation.intake.vault.address_of(tx, next(iter(claimed))) == known


def test_a_stranger_costs_campaigns_one_call_and_a_strangers_bounce_none(small):
    small.sim.control("switches", {"campaigns.dnm_unknown": "2103"})
    small.run(applying=False)
    before = campaigns_calls(small)
    withdraw(small, "bounced@example.org", category=Category.BOUNCE_HARD)
    assert carry(small) == Carried(done=1)
    assert campaigns_calls(small) == before
    withdraw(small, "nobody@example.org")
    assert carry(small) == Carried(done=1)
    assert campaigns_calls(small) == before + 1


def test_somebody_who_joined_since_the_last_read_leaves_every_list(small):
    email = small.ordinary()
    small.run(applying=False)
    index = small.intake.vault.address_index(email)
    with small.db.begin() as tx:
        tx.execute(delete(member).where(member.c.address_index == index))
        tx.execute(delete(contact).where(contact.c.address_index == index))
    withdraw(small, email)
    assert carry(small) == Carried(done=1)
    assert stopped(small, email)
    assert small.person(email)["campaigns"]["dnm"]


def test_a_part_of_each_window_is_kept_for_peoples_own_withdrawals(begun):
    windows = Windows(lambda: datetime.now(UTC), usual=(Limit(5, 300),))
    with begun(30, windows=windows) as made:
        modest = connect(
            settings(made.sim.url), made.intake.policy, pace=replace(hasty(), spare=0.8), windows=windows
        )
        with modest:
            made.zoho.campaigns.do_not_mail("somebody@example.org")
            others = replace(made.context, crm=modest.crm, campaigns=modest.campaigns)
            withdraw(made, "bounced@example.org", category=Category.BOUNCE_HARD)
            assert carry_out(made.context, worker="a", others=others) == Carried(postponed=1)
            withdraw(made, made.ordinary())
            assert carry_out(made.context, worker="a", others=others) == Carried(done=1)


def test_a_leased_task_is_nobody_elses_until_the_lease_ends(organisation):
    withdraw(organisation, organisation.ordinary())
    now = organisation.clock()
    with organisation.db.begin() as tx:
        assert len(tasks.claim(tx, worker="a", now=now, limit=9)) == 1
    with organisation.db.begin() as tx:
        assert not tasks.claim(tx, worker="b", now=now, limit=9)
    with organisation.db.begin() as tx:
        assert len(tasks.claim(tx, worker="b", now=now + tasks.LEASE, limit=9)) == 1
    assert rows(organisation)[0].claimed_by == "b"


def test_the_first_deadline_comes_first(small):
    for email, country in (("us@example.org", "US"), ("eu@example.org", None)):
        withdraw(small, email, country=country)
    with small.db.begin() as tx:
        claimed = tasks.claim(tx, worker="a", now=small.clock(), limit=1)
        first = small.intake.vault.address_of(tx, next(iter(claimed)))
    assert first == "eu@example.org"


def test_workers_at_the_same_time_share_the_tasks_without_overlap(organisation):
    for number in range(20):
        withdraw(organisation, f"person{number}@example.org")
    taken: list[list[bytes]] = [[], []]
    ready = Barrier(2)

    def work(which: int) -> None:
        ready.wait()
        for _ in range(10):
            with organisation.db.begin() as tx:
                taken[which] += tasks.claim(tx, worker=str(which), now=organisation.clock(), limit=3)

    threads = [Thread(target=work, args=(which,)) for which in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(taken[0]) + len(taken[1]) == len({*taken[0], *taken[1]}) == 20


def test_a_record_that_permits_again_when_read_back_is_not_proved(small):
    email = small.ordinary()
    withdraw(small, email)

    def untick(now, _done, _total):
        if now == "crm opted out":
            small.sim.control("crm/set", {"email": email, "fields": {"Email_Opt_Out": False}})

    assert carry(small, progress=untick) == Carried(postponed=1)
    (row,) = rows(small)
    assert row.campaigns_at is not None
    assert (row.state, row.crm_at, row.proved_at) == ("open", None, None)
    assert [fields["target"] for fields in small.enforcements()] == ["campaigns"]
    small.clock.ahead = timedelta(minutes=10)
    assert carry(small) == Carried(done=1)
    assert stopped(small, email)


def test_somebody_whom_do_not_mail_has_lost_when_read_back_is_not_proved(small):
    email = small.ordinary()
    withdraw(small, email)

    def lose(now, _done, _total):
        if now == "campaigns refused":
            small.sim.world.db.execute("UPDATE contacts SET dnm = NULL WHERE email = ?", (email,))

    assert carry(small, progress=lose) == Carried(postponed=1)
    (row,) = rows(small)
    assert row.crm_at is not None
    assert (row.state, row.campaigns_at, row.proved_at) == ("open", None, None)
    assert all(fields["target"].startswith("crm:") for fields in small.enforcements())
    small.clock.ahead = timedelta(minutes=10)
    assert carry(small) == Carried(done=1)


@pytest.mark.parametrize("step", ["campaigns refused", "crm opted out", "enforced"])
def test_a_crash_between_any_two_steps_ends_in_the_same_state(small, step):
    email = small.ordinary()
    withdraw(small, email)

    def crash(now, _done, _total):
        if now == step:
            raise CrashError

    with pytest.raises(CrashError):
        carry(small, progress=crash)
    assert rows(small)[0].state == "open"
    assert carry(small).total == 0
    small.clock.ahead = tasks.LEASE
    assert carry(small) == Carried(done=1)
    assert stopped(small, email)
    assert len(small.enforcements()) == 2


def test_what_the_worker_wrote_is_no_news_to_the_next_reconciliation(small):
    email = small.ordinary()
    small.run()
    withdraw(small, email)
    carry(small)
    small.intake.record([claim(email)])
    result = small.run()
    assert not result.news
    assert result.found["re_permission"] == 1
    assert small.standing(email).state == "permitted"


def test_a_task_is_written_for_each_withdrawal_and_none_for_a_sighting(small):
    small.run()
    with small.db.read() as tx:
        assert tx.scalar(select(func.count()).select_from(task)) == 0
