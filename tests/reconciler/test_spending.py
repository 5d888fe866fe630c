"""The audit's sixth point says what the shared budget booked, and what Zoho charged, to the credit."""

from datetime import timedelta

import pytest
from sqlalchemy import insert

from service.db import quota_block
from service.reconciler.audit import budget
from service.reconciler.audit.spending import FOREIGN_FOR, spending
from service.zoho import blocks
from service.zoho.mapping import connect
from service.zoho.pace import Pace
from service.zoho.quota import DAY_S, Limit
from service.zoho.shared import SharedQuota
from tests.reconciler.conftest import World, settings


@pytest.fixture
def budgeted(small):
    """The organisation, and its budget after one run of the night that learnt the edition."""
    quota = SharedQuota(small.db, clock=small.clock)
    pace = Pace(sleep=lambda _seconds: None, who="nightly")
    with connect(settings(small.sim.url), small.intake.policy, pace=pace, quota=quota) as zoho:
        quota.learn(zoho.transports["crm"])
        small.run(crm=zoho.crm, campaigns=zoho.campaigns)
        quota.settle()
        yield small, quota


def spent(made: World, **more):
    with made.db.read() as tx:
        return spending(tx, now=made.clock(), **more)


def test_used_is_what_was_booked_and_what_was_charged(budgeted):
    made, quota = budgeted
    found, charged = spent(made), made.sim.control("meter")["credits"]
    assert found.used == quota.used().total == charged > 0
    assert found.by_whom == quota.used().by == {"nightly": charged}
    assert found.by_hour[0] == charged
    point = budget.calls(found, budget.forecast(found, contacts=0, now=made.clock()))
    assert {one.label: one.value for one in point.figures}["used in the last 24 hours"] == charged


def test_the_allowance_is_the_editions_unless_the_rules_say_another(budgeted):
    made, quota = budgeted
    assert spent(made).allowance == quota.allowance == 60_000
    assert spent(made).edition == quota.licence.edition
    assert spent(made, reserve=0.2, own=1_000).reserve == 200


def test_what_others_use_is_believed_as_long_as_the_budget_believes_it(budgeted):
    made, quota = budgeted
    ours = quota.used().total
    with made.db.begin() as tx:
        blocks.note_remaining(tx, "crm", Limit(60_000, DAY_S), 60_000 - ours - 700, made.clock())
    assert spent(made).unknown == quota.used().foreign == 700
    assert spent(made).used == quota.used().total
    made.clock.ahead = FOREIGN_FOR
    assert spent(made).unknown is None
    assert spent(made).used == quota.used().total
    assert FOREIGN_FOR == blocks.FOREIGN_FOR


def test_a_block_counts_by_when_it_was_used_and_not_by_when_it_was_taken(budgeted):
    made, quota = budgeted
    at, ours = made.clock() - timedelta(days=1), quota.used().total
    row = {"account": "crm", "node": "another", "who": "watch", "units": 5, "is_open": 0}
    with made.db.begin() as tx:
        for taken, used in ((-30, 30), (-60, -30)):
            moments = {"taken_at": at + timedelta(seconds=taken), "spent_at": at + timedelta(seconds=used)}
            tx.execute(insert(quota_block).values(row | moments))
    assert spent(made).used == quota.used().total == ours + 5


def test_what_a_node_at_work_holds_is_told_apart_until_its_minute_ends(budgeted):
    """A block of another process counts as used once it died with it, and not while it is at work."""
    made, quota = budgeted
    ours, now = quota.used().total, made.clock()
    row = {"account": "crm", "node": "another", "who": "withdrawals", "units": 42, "is_open": 1}
    with made.db.begin() as tx:
        tx.execute(insert(quota_block).values(**row, taken_at=now, spent_at=now + timedelta(seconds=60)))
    found = spent(made)
    assert (found.used, found.held, found.left) == (ours, 42, 60_000 - ours - 42)
    point = budget.calls(found, budget.forecast(found, contacts=0, now=now))
    assert {one.label: one.value for one in point.figures}["taken in advance by nodes at work, at most"] == 42
    made.clock.ahead = timedelta(seconds=61)
    assert (spent(made).used, spent(made).held) == (ours + 42, 0)
