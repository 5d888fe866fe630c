"""The channel of CRM's notifications: asked for, prolonged, asked for again; and when it can be relied on."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta

import pytest
from msgspec import structs

from service.reconciler import channels
from service.reconciler.watch import Watch
from tests.reconciler.conftest import World
from tests.reconciler.hooked import Hooked, heed, hooks_of, states
from tests.reconciler.test_watch import act, seconds_until


@pytest.fixture
def hooked(small: World) -> Iterator[Hooked]:
    with hooks_of(small) as made:
        yield made


def test_a_channel_is_asked_for_once_and_then_left_alone(hooked):
    hooked.subscription.keep()
    (first,) = {entry["channel_id"] for entry in hooked.living()}
    before = hooked.world.zoho.meter.calls["crm"]
    hooked.subscription.keep()
    assert hooked.world.zoho.meter.calls["crm"] == before
    assert first == hooked.channel().channel_id
    entry = hooked.living()[0]
    assert entry["return_affected_field_values"] is False
    assert 40 <= len(entry["token"]) <= 50
    with hooked.world.db.read() as tx:
        assert channels.vouches(tx, first, entry["token"], now=hooked.world.clock())


def test_a_channel_is_prolonged_every_hour_and_asked_for_again_when_it_died(hooked):
    made = hooked.world
    hooked.subscription.keep()
    ends = hooked.channel().expires_at
    made.clock.ahead += timedelta(hours=2)
    made.sim.control("clock", {"advance_s": 7200})
    hooked.subscription.keep()
    assert hooked.channel().expires_at > ends
    made.clock.ahead += timedelta(days=8)
    made.sim.control("clock", {"advance_s": 8 * 86400})
    assert not hooked.living()
    hooked.subscription.keep()
    assert hooked.living()
    assert hooked.channel().expires_at > made.clock()


def test_a_channel_that_crm_forgot_early_is_asked_for_again(hooked):
    made = hooked.world
    hooked.subscription.keep()
    hooked.subscription.client.disable(hooked.channel().channel_id)
    assert not hooked.living()
    made.clock.ahead += timedelta(hours=2)
    hooked.subscription.keep()
    assert hooked.living()


def test_a_living_channel_is_asked_for_again_when_another_field_counts(hooked):
    made = hooked.world
    hooked.subscription.keep()
    before = hooked.living()[0]
    crm = made.context.policy.zoho.crm
    modules = [structs.replace(module, emails=[*module.emails, "Third_Email"]) for module in crm.modules]
    wider = structs.replace(made.context.policy.zoho, crm=structs.replace(crm, modules=modules))
    changed = replace(hooked.subscription, mapping=wider)
    changed.keep()
    assert hooked.living()[0]["token"] != before["token"]
    after = hooked.living()[0]
    changed.keep()
    assert hooked.living()[0]["token"] == after["token"]


def test_where_a_day_is_the_longest_life_a_day_is_asked_for(hooked):
    hooked.world.sim.control("switches", {"watch.longest_days": 1})
    hooked.subscription.keep()
    lives = hooked.channel().expires_at - hooked.world.clock()
    assert timedelta(hours=20) < lives < timedelta(hours=24)


def test_a_channel_that_cannot_be_had_is_tried_again_a_minute_later(hooked):
    made = hooked.world
    made.sim.control("switches", {"oauth.scopes": "ZohoCRM.modules.ALL ZohoCRM.coql.READ"})
    made.zoho.oauth.renew(made.zoho.oauth.token())
    hooked.subscription.keep()
    assert not hooked.living()
    before = made.zoho.meter.calls["crm"]
    hooked.subscription.keep()
    assert made.zoho.meter.calls["crm"] == before
    made.clock.ahead += timedelta(minutes=2)
    hooked.subscription.keep()
    assert made.zoho.meter.calls["crm"] > before


def quick_looks(hooked: Hooked, looks: int = 4) -> int:
    """How many credits so many looks cost, five seconds apart."""
    made = hooked.world
    watch = Watch(context=made.context, sweep=timedelta(minutes=5))
    watch.look()
    before = made.zoho.meter.credits
    for _ in range(looks):
        made.clock.ahead += timedelta(seconds=5)
        watch.look()
    return made.zoho.meter.credits - before


def test_crm_is_asked_rarely_once_its_channel_was_heard(hooked):
    made = hooked.world
    made.run()
    assert quick_looks(hooked) == 8
    hooked.subscription.keep()
    assert quick_looks(hooked) == 8
    act(made, made.ordinary(), "crm")
    seconds_until(lambda: states(made))
    heed(made).turn()
    assert quick_looks(hooked) == 0
    made.clock.ahead += timedelta(days=8)
    assert quick_looks(hooked) == 8


def test_a_notification_that_was_lost_is_found_by_the_sweep_and_crm_is_asked_often_again(hooked):
    made = hooked.world
    made.run()
    hooked.subscription.keep()
    act(made, made.ordinary(), "crm")
    seconds_until(lambda: states(made))
    heed(made).turn()
    watch = Watch(context=made.context, sweep=timedelta(minutes=5))
    watch.look()
    assert quick_looks(hooked) == 0
    made.sim.control("switches", {"watch.lose_every": 1})
    act(made, made.emails("single_soft_bounce")[0], "crm")
    made.clock.ahead += timedelta(minutes=6)
    made.sim.control("clock", {"advance_s": 360})
    watch.look()
    assert quick_looks(hooked) == 8
