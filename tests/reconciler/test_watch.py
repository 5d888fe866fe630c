"""What happens in either product is seen within seconds, recorded once, and carried to the other."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

import pytest
from sqlalchemy import insert, select

from service.db import channel, task, tick
from service.jobs import Worker
from service.reconciler.enforce import Carried, carry_out
from service.reconciler.watch import Watch
from service.reports.deadlines import Kept, deadlines
from tests.reconciler.conftest import World, stopped
from tests.running import claim, withdrawal


@contextmanager
def working(made: World, name: str = "a", **more) -> Iterator[Worker]:
    """A worker in the background, as the service runs it."""
    stop = threading.Event()
    worker = Worker(
        db=made.db,
        carry_out=lambda: carry_out(made.context, worker=name).total,
        nightly={},
        hour=0,
        now=made.clock,
        name=name,
        look=Watch(context=made.context).look,
        **more,
    )
    thread = threading.Thread(target=worker.run, args=(stop,))
    thread.start()
    try:
        yield worker
    finally:
        stop.set()
        thread.join(20)
    assert not thread.is_alive()


def seconds_until(condition, limit: float = 10.0) -> float:
    began = time.monotonic()
    while not condition():
        assert time.monotonic() - began < limit
        time.sleep(0.1)
    return time.monotonic() - began


def tasks(made: World) -> int:
    with made.db.read() as tx:
        return len(tx.execute(select(task.c.id)).all())


@pytest.mark.parametrize("where", ["crm", "campaigns"])
def test_a_withdrawal_in_one_product_reaches_the_other_within_ten_seconds(organisation, where):
    email = organisation.ordinary()
    organisation.run()
    with working(organisation):
        time.sleep(1)  # the first look is over; the next comes in four seconds
        act(organisation, email, where)
        seconds_until(lambda: stopped(organisation, email) and organisation.person(email)["campaigns"]["dnm"])
    assert organisation.events(email).count("consent.withdrawn") == 1
    assert organisation.standing(email).must_stop


@pytest.mark.parametrize("where", ["crm", "campaigns"])
def test_what_was_seen_at_once_is_no_news_to_the_night_nor_to_the_next_look(organisation, where):
    email = organisation.ordinary()
    organisation.run()
    watch = Watch(context=organisation.context)
    watch.look()
    act(organisation, email, where)
    assert watch.look() == 1
    assert watch.look() == 0
    assert Watch(context=organisation.context).look() == 0
    assert carry_out(organisation.context, worker="a") == Carried(done=1)
    assert stopped(organisation, email)
    assert not organisation.run().news
    assert organisation.events(email).count("consent.withdrawn") == 1


@pytest.mark.parametrize("ahead", [timedelta(hours=1), timedelta(minutes=9), -timedelta(hours=1)])
def test_a_clock_that_differs_from_the_products_hides_nothing(small, ahead):
    email = small.ordinary()
    small.clock.ahead = ahead
    small.run()
    watch = Watch(context=small.context)
    watch.look()
    watch.look()
    act(small, email, "crm")
    assert watch.look() == 1
    assert watch.look() == 0


def test_a_clock_that_is_set_back_lets_the_watch_look_at_once(small):
    email = small.ordinary()
    small.clock.ahead = timedelta(hours=1)
    small.run()
    watch = Watch(context=small.context, sweep=timedelta(minutes=5))
    watch.look()
    with small.db.begin() as tx:
        tx.execute(insert(channel).values(**relied_on(small)))
    act(small, email, "crm")
    assert watch.look() == 0
    small.clock.ahead = timedelta(0)
    assert watch.look() == 1


def relied_on(made: World) -> dict:
    """A channel that lives, was heard, and missed nothing."""
    at = made.clock()
    return {
        "channel_id": "1",
        "notify_url": "https://ledger.example/hooks",
        "events": "Contacts.edit",
        "token_sha256": bytes(32),
        "made_at": at,
        "renewed_at": at,
        "heard_at": at,
        "expires_at": at + timedelta(days=1),
    }


@pytest.mark.parametrize("where", ["crm", "campaigns"])
def test_the_clocks_of_what_is_seen_late_began_when_the_product_was_told(small, where):
    email = small.ordinary()
    small.sim.control("crm/set", {"email": email, "fields": {"Mailing_Country": "Germany"}})
    small.run()
    watch = Watch(context=small.context)
    watch.look()
    told_at = small.clock()
    act(small, email, where)
    small.clock.ahead = timedelta(hours=60)
    assert watch.look() == 1
    carry_out(small.context, worker="a")
    with small.db.read() as tx:
        begun = tx.execute(select(task.c.received_at, task.c.due_at).where(task.c.stopped_at > told_at)).one()
        report = deadlines(
            tx, small.intake.policy, small.intake.vault, since=told_at - timedelta(days=1), now=small.clock()
        )
    assert abs(begun.received_at - told_at) <= timedelta(minutes=1)
    assert begun.due_at - begun.received_at == timedelta(days=2)
    [case] = [one for one in report.breaches if one.received_at == begun.received_at]
    assert (case.received_at, case.clocks[0].stopped) == (begun.received_at, Kept.LATE)
    assert report.overall.stopped.slowest > timedelta(hours=59)


def act(made: World, email: str, where: str) -> None:
    if where == "crm":
        made.sim.control("crm/set", {"email": email, "fields": {"Email_Opt_Out": True}})
    else:
        made.sim.control("campaigns/unsubscribe", {"email": email})


def test_nothing_is_watched_before_a_run_recorded_the_history(small):
    watch = Watch(context=small.context)
    assert watch.look() == 0
    small.run(applying=False)
    assert watch.look() == 0
    assert small.size() == 0 or not tasks(small)


def test_our_own_writes_are_no_news_to_the_watch(small):
    email = small.ordinary()
    small.run()
    watch = Watch(context=small.context)
    watch.look()
    small.intake.record([claim(email)])
    small.intake.record([withdrawal(email)])
    carry_out(small.context, worker="a")
    assert watch.look() == 0
    small.intake.record([claim(email)])
    assert watch.look() == 0
    assert small.standing(email).state == "permitted"


def test_a_quiet_organisation_costs_a_call_or_two_of_each_product_a_look(small):
    small.run()
    watch = Watch(context=small.context)
    watch.look()
    small.clock.ahead += small.clock.ahead.resolution
    before = dict(small.context.crm.meter.calls)
    watch.look()
    spent = {name: calls - before[name] for name, calls in small.context.crm.meter.calls.items()}
    assert spent["crm"] == 2
    assert spent["campaigns"] <= 2


def test_one_of_many_workers_watches(small):
    small.run()
    with working(small, "a", look_s=0.1), working(small, "b", look_s=0.1):
        seconds_until(lambda: watchers(small))
        time.sleep(0.5)
        assert len(watchers(small)) == 1
    assert not watchers(small)


def watchers(made: World) -> list[str]:
    with made.db.read() as tx:
        return list(tx.scalars(select(tick.c.taken_by).where(tick.c.job == "watch")))
