"""Putting on a list whom its view selects and the ledger permits: with the permission, and read back."""

from collections.abc import Iterator
from datetime import timedelta

import msgspec
import pytest
from sqlalchemy import select

from service.consent import Category
from service.db import Database, member
from service.errors import ServiceError
from service.policy import CampaignsList, PolicySet
from service.reconciler.context import Context
from service.reconciler.port import Member
from service.reconciler.push import push, push_changed
from service.zoho.mapping import connect
from service.zoho.simulator import names, running
from tests.reconciler.conftest import Clock, World, hasty, settings
from tests.reconciler.test_many import calls
from tests.running import claim, policies, start, withdrawal

LABEL = "Marketing Permission"


def left_out(made: World, count: int = 1) -> list[str]:
    """Some whom the ledger permits and the view selects, and whom the list lost without a word."""
    emails = sorted(m.address for m in made.zoho.campaigns.members(made.context.lists[0], Member.ACTIVE))
    emails = [email for email in emails if email not in made.emails("list_lag_stale")][:count]
    made.intake.record([claim(email, received_at=made.clock()) for email in emails])
    gone = "SELECT id FROM contacts WHERE email = ?"
    for email in emails:
        made.sim.world.db.execute(f"DELETE FROM members WHERE contact_id IN ({gone})", (email,))
    made.run(applying=False)
    return emails


def indexes(made: World, emails: list[str]) -> list[bytes]:
    return [made.intake.vault.address_index(email) for email in emails]


def statuses(made: World, email: str) -> list[str]:
    with made.db.read() as tx:
        (index,) = indexes(made, [email])
        return list(tx.scalars(select(member.c.status).where(member.c.address_index == index)))


def test_who_is_pushed_is_seen_on_the_list_and_has_the_permission(small):
    emails = left_out(small, 2)
    [told] = push(small.context)
    assert (told.pushed, told.awaited, dict(told.refused)) == (2, 0, {})
    for email in emails:
        found = small.person(email)["campaigns"]
        assert list(found["lists"].values()) == ["active"]
        assert found["fields"][LABEL] == "Granted"
        assert statuses(small, email) == ["active"]


def test_an_upsert_never_goes_without_the_permission_field(small):
    (email,) = left_out(small)
    small.sim.world.db.execute("UPDATE contacts SET permission = 'Refused' WHERE email = ?", (email,))
    list(push(small.context))
    assert small.person(email)["campaigns"]["fields"][LABEL] == "Granted"


def test_who_has_to_confirm_first_is_not_called_pushed_and_not_asked_every_time(small):
    (email,) = left_out(small)
    small.sim.world.db.execute("UPDATE lists SET signup_form = 1")
    [told] = push(small.context)
    assert (told.pushed, told.awaited) == (0, 1)
    assert statuses(small, email) == ["awaited"]
    assert [again.total for again in push(small.context)] == [0]
    small.clock.ahead += timedelta(days=1)
    small.run(applying=False)
    assert statuses(small, email) == []


def test_a_list_that_cannot_be_read_back_calls_nobody_pushed(small):
    left_out(small)
    small.sim.control(
        "break", {"match": "GET /api/v1.1/getlistsubscribers", "times": 99, "how": "status", "status": 503}
    )
    [told] = push(small.context)
    assert (told.pushed, told.awaited) == (0, 1)


@pytest.mark.parametrize("category", [Category.WITHDRAWN, Category.COMPLAINT])
def test_whom_the_ledger_stopped_since_the_reading_is_not_pushed(small, category):
    (email,) = left_out(small)
    small.intake.record([withdrawal(email, received_at=small.clock(), category=category)])
    [told] = push(small.context)
    assert told.total == 0
    assert not small.person(email)["campaigns"]["lists"]


def test_one_whom_the_ledger_does_not_know_is_not_pushed(small):
    (unknown, *_) = small.emails("list_lag_missing")
    small.run(applying=False)
    assert [told.total for told in push(small.context)] == [0]
    assert not small.person(unknown)["campaigns"]["lists"]


def test_a_push_after_a_change_is_read_back_among_those_who_joined_lately(small):
    (email,) = left_out(small)
    before = calls(small, "getlistsubscribers")
    assert push_changed(small.context, indexes(small, [email])) == 1
    assert calls(small, "getlistsubscribers") - before <= 2
    assert statuses(small, email) == ["active"]


@pytest.fixture
def two_lists(sqlite_url: str) -> Iterator[World]:
    """An organisation with a second purpose, and a list of it that the same view feeds."""
    policy, database, clock = _with_events(policies()), Database(sqlite_url), Clock()
    with (
        running(contacts=30, seed=1) as sim,
        start(database, now=clock, policy=policy) as intake,
        connect(settings(sim.url), policy, pace=hasty()) as zoho,
    ):
        parts = {"db": database, "intake": intake, "policy": policy}
        context = Context(**parts, crm=zoho.crm, campaigns=zoho.campaigns, now=clock)
        yield World(sim=sim, db=database, intake=intake, zoho=zoho, clock=clock, context=context)
    database.close()


def _with_events(policy: PolicySet) -> PolicySet:
    purposes = policy.purposes | {"events": policy.purposes["marketing"]}
    second = CampaignsList(
        name="events", key=names.SIGNUP_LIST_KEY, purpose="events", view_field="Newsletter"
    )
    campaigns = policy.zoho.campaigns
    campaigns = msgspec.structs.replace(campaigns, lists=(*campaigns.lists, second))
    zoho = msgspec.structs.replace(policy.zoho, campaigns=campaigns)
    return msgspec.structs.replace(policy, purposes=purposes, zoho=zoho)


@pytest.mark.parametrize(("said", "written"), [(Category.WITHDRAWN, "Refused"), (None, "Granted")])
def test_on_a_list_of_another_purpose_the_permission_says_what_the_ledger_does(two_lists, said, written):
    made, email = two_lists, two_lists.ordinary()
    told = [claim(email, purpose="events", received_at=made.clock())]
    if said is not None:
        told.append(withdrawal(email, received_at=made.clock(), category=said, purpose="marketing"))
    assert not [one for one in made.intake.record(told) if isinstance(one, ServiceError)]
    made.run(applying=False)
    made.sim.world.db.execute("UPDATE lists SET signup_form = 0")
    assert [(one.list_name, one.pushed) for one in push(made.context) if one.total] == [("events", 1)]
    found = made.person(email)["campaigns"]
    assert found["lists"][names.SIGNUP_LIST_KEY] == "active"
    assert found["fields"][LABEL] == written
