"""Mass reads stop at the reserve; what a person asked for goes on as long as anything is left."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta

import pytest

from service.errors import QuotaExhausted
from service.reconciler.enforce import Carried, carry_out
from service.zoho.mapping import connect
from service.zoho.pace import Pace
from service.zoho.shared import SharedQuota
from tests.reconciler.conftest import World, settings, stopped
from tests.running import withdrawal

ALLOWANCE = 40
DAY = timedelta(days=1)


@pytest.fixture
def short(small) -> Iterator[tuple[World, World]]:
    """The organisation through clients that leave a reserve of its few credits, and through others."""
    worlds = []
    with (
        connect(settings(small.sim.url), small.intake.policy, pace=hurried(0.2), quota=budget(small)) as mass,
        connect(settings(small.sim.url), small.intake.policy, pace=hurried(0.0), quota=budget(small)) as own,
    ):
        for zoho in (mass, own):
            context = replace(small.context, crm=zoho.crm, campaigns=zoho.campaigns)
            worlds.append(replace(small, zoho=zoho, context=context))
        yield worlds[0], worlds[1]


def budget(made: World, allowance: int = ALLOWANCE) -> SharedQuota:
    return SharedQuota(made.db, clock=made.clock, own_allowance=allowance)


def hurried(spare: float) -> Pace:
    return Pace(sleep=lambda _seconds: None, spare=spare, who="withdrawals" if not spare else "nightly")


def exhaust(made: World, *, applying: bool) -> None:
    for _ in range(ALLOWANCE):
        made.run(applying=applying)


def test_a_withdrawal_is_carried_out_after_mass_reads_used_up_all_that_is_theirs(short):
    mass, own = short
    told = r"nothing left but what is kept for withdrawals .* until \d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC"
    with pytest.raises(QuotaExhausted, match=told):
        exhaust(mass, applying=False)
    spent = mass.sim.control("meter")["credits"]
    assert ALLOWANCE * 0.8 - 3 <= spent <= ALLOWANCE * 0.8
    email = own.ordinary()
    own.intake.record([withdrawal(email, received_at=own.clock())])
    assert carry_out(own.context, worker="worker-1", others=mass.context) == Carried(done=1)
    assert stopped(own, email)
    charged = own.sim.control("meter")["credits"]
    assert spent < charged <= ALLOWANCE
    assert own.zoho.quota.used().total == charged


def test_repairs_stop_at_the_reserve_and_go_on_when_there_is_more(short):
    mass, _ = short
    with pytest.raises(QuotaExhausted):
        exhaust(mass, applying=True)
    mass.clock.ahead += DAY
    mass.sim.control("clock", {"advance_s": int(DAY.total_seconds())})
    assert sum(mass.run().remaining.values()) == 0


def test_the_last_credit_of_a_day_stops_ten_of_those_who_wait_and_the_next_day_the_others(small):
    rows = small.sim.world.db.execute(
        "SELECT email FROM contacts WHERE email NOT IN (SELECT email FROM truth) ORDER BY id LIMIT 15"
    )
    small.intake.record([withdrawal(email, received_at=small.clock()) for (email,) in rows.fetchall()])
    before, clients = small.products()["opted_out"], settings(small.sim.url)
    with connect(clients, small.intake.policy, pace=hurried(0.0), quota=budget(small, 3)) as own:
        context = replace(small.context, crm=own.crm, campaigns=own.campaigns)
        assert carry_out(context, worker="worker-1") == Carried(postponed=15)
        assert own.quota.used().total == small.sim.control("meter")["credits"] == 3
        assert small.products()["opted_out"] == before + 10
        small.clock.ahead += DAY
        small.sim.control("clock", {"advance_s": int(DAY.total_seconds())})
    with connect(clients, small.intake.policy, pace=hurried(0.0), quota=budget(small)) as own:
        context = replace(small.context, crm=own.crm, campaigns=own.campaigns)
        assert carry_out(context, worker="worker-1") == Carried(done=15)
    assert small.products()["opted_out"] == before + 15
